// SPDX-License-Identifier: LGPL-3.0-or-later
#include "id_source.h"

#include <sys/random.h>
#include <unistd.h>

#include <atomic>

#include "clock.h"

namespace tango_telemetry {
namespace {

std::atomic<unsigned> fork_generation{1};

struct Generator {
    std::uint64_t state[4] = {0, 0, 0, 0};
    unsigned generation = 0;

    void seed() noexcept {
        std::uint64_t fresh[4] = {0, 0, 0, 0};
        if (getrandom(fresh, sizeof fresh, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof fresh)) {
            // An entropy pool that is not ready (early boot) must not block a device server.
            fresh[0] = wall_ns();
            fresh[1] = steady_ns();
            fresh[2] = reinterpret_cast<std::uintptr_t>(this);
            fresh[3] = static_cast<std::uint64_t>(getpid());
        }
        for (int i = 0; i < 4; i++) {
            state[i] = fresh[i];
        }
        state[0] |= 1;  // the one state xoshiro cannot leave is all zero
    }

    static std::uint64_t rotate(std::uint64_t value, int count) noexcept {
        return (value << count) | (value >> (64 - count));
    }

    std::uint64_t next() noexcept {
        const unsigned current = fork_generation.load(std::memory_order_relaxed);
        if (__builtin_expect(generation != current, 0)) {
            seed();
            generation = current;
        }
        const std::uint64_t result = rotate(state[0] + state[3], 23) + state[0];
        const std::uint64_t shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = rotate(state[3], 45);
        return result;
    }
};

thread_local Generator generator;

}  // namespace

std::uint64_t random_id() noexcept {
    std::uint64_t id;
    do {
        id = generator.next();
    } while (id == 0);
    return id;
}

void reseed_after_fork() noexcept { fork_generation.fetch_add(1, std::memory_order_relaxed); }

}  // namespace tango_telemetry
