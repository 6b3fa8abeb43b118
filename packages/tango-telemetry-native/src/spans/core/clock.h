// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include <time.h>

#include <cstdint>

namespace tango_telemetry {

inline std::uint64_t read_clock(clockid_t clock) noexcept {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000000000u + static_cast<std::uint64_t>(now.tv_nsec);
}

// Nanoseconds since the epoch.
inline std::uint64_t wall_ns() noexcept { return read_clock(CLOCK_REALTIME); }

// Nanoseconds that never step: a span's duration survives a clock that is being set.
inline std::uint64_t steady_ns() noexcept { return read_clock(CLOCK_MONOTONIC); }

}  // namespace tango_telemetry
