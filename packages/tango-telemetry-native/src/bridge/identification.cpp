// SPDX-License-Identifier: LGPL-3.0-or-later
#include "identification.h"

#include <atomic>
#include <cstring>

namespace tango_telemetry::identification {

namespace {

using giop::Incoming;
using giop::Outgoing;
using giop::ThreadState;

// How many of the first contexts are compared with what cppTango makes of them.
constexpr int comparisons = 8;

std::atomic<bool> client_enabled{false};
std::atomic<bool> server_enabled{false};
std::atomic<bool> keeps_scopes{false};
std::atomic<const char *> refused{nullptr};
std::atomic<int> comparisons_left{comparisons};

struct Counters {
    std::atomic<std::uint64_t> answered{0};
    std::atomic<std::uint64_t> taken{0};
    std::atomic<std::uint64_t> dropped_malformed{0};
    std::atomic<std::uint64_t> compared{0};
    std::atomic<std::uint64_t> failed_checks{0};
};

Counters counters;

void count(std::atomic<std::uint64_t> &counter) noexcept {
    counter.fetch_add(1, std::memory_order_relaxed);
}

// What omniidl 4.2 and 4.3 make of Tango's IDL, on platforms with pointers of 64 bits:
//   union ClntIdent      { int32 discriminator @0; pointer to the member @8 }
//   CppClntIdent_6       { uint64 pid @0; TraceContext trace_context @8 }
//   union TraceContext   { int32 discriminator @0; pointer to W3C's two strings @8 }
// Seen in the machine code of 10.0.2, 10.1.5, 10.3.1 and 10.3.3.
constexpr std::int32_t cpp_6 = 2; // ClntIdent's discriminator for a client of cppTango 10 and later
constexpr std::int32_t w3c = 0;   // TraceContext's only one

template <typename Value>
Value read(const void *base, std::size_t offset) noexcept {
    Value value;
    std::memcpy(&value, static_cast<const char *>(base) + offset, sizeof value);
    return value;
}

// The identification's two strings, or null.
const void *find_texts(const void *client) noexcept {
    if(read<std::int32_t>(client, 0) != cpp_6) {
        return nullptr;
    }
    const auto *const member = read<const char *>(client, 8);
    if(member == nullptr || read<std::int32_t>(member, 8) != w3c) {
        return nullptr;
    }
    return read<const void *>(member, 16);
}

// A peer may have written anything there.
void copy_texts(const void *texts, Incoming &out) noexcept {
    const auto *const parent = read<const char *>(texts, 0);
    const auto *const state = read<const char *>(texts, 8);
    out.present = false;
    if(parent == nullptr || *parent == '\0') {
        return;
    }
    if(!wire::is_valid_traceparent(parent, ::strnlen(parent, wire::max_traceparent_size + 1))) {
        count(counters.dropped_malformed);
        return;
    }
    std::memcpy(out.context.traceparent, parent, wire::traceparent_size);
    out.context.tracestate_size = 0;
    const std::size_t size = state == nullptr ? 0 : ::strnlen(state, wire::max_tracestate_size + 1);
    if(!wire::is_valid_tracestate(state, size)) {
        count(counters.dropped_malformed);
    } else if(size != 0) {
        std::memcpy(out.context.tracestate, state, size);
        out.context.tracestate_size = static_cast<std::uint16_t>(size);
    }
    out.present = true;
    count(counters.taken);
}

bool is_comparable(const Incoming &taken) noexcept {
    return taken.present && std::memcmp(taken.context.traceparent, "00-", 3) == 0 &&
           comparisons_left.load(std::memory_order_relaxed) > 0 &&
           comparisons_left.fetch_sub(1, std::memory_order_relaxed) > 0;
}

// Sampled: the span that traceparent names is recorded. Or our entry came with it, which names the one that is.
bool is_believed(const wire::TraceContext &context) noexcept {
    const char last = context.traceparent[wire::traceparent_size - 1];
    const bool sampled = (last >= 'a' ? last - 'a' + 10 : last - '0') & 1;
    return sampled || ::memmem(context.tracestate, context.tracestate_size, "tango=", 6) != nullptr;
}

Text to_text(std::pair<const char *, std::size_t> text) noexcept { return {text.first, text.second}; }

} // namespace

bool answer(Text &traceparent, Text &tracestate) noexcept {
    if(!client_enabled.load(std::memory_order_relaxed)) {
        return false;
    }
    const ThreadState &thread = giop::this_thread();
    switch(thread.outgoing.state) {
    case Outgoing::State::set:
        traceparent = to_text(thread.outgoing.traceparent());
        tracestate = to_text(thread.outgoing.tracestate());
        break;
    case Outgoing::State::none:
        traceparent = tracestate = {"", 0};
        break;
    case Outgoing::State::unset: {
        // A call that nobody has seen. In an upcall it hands on what came, as cppTango's scope would have made it.
        const wire::TraceContext *const brought = incoming(thread);
        if(brought == nullptr) {
            return false;
        }
        traceparent = {brought->traceparent, wire::traceparent_size};
        tracestate = {brought->tracestate, brought->tracestate_size};
        break;
    }
    }
    count(counters.answered);
    return true;
}

Take take(const void *client) noexcept {
    if(!server_enabled.load(std::memory_order_relaxed)) {
        return Take::leave;
    }
    ThreadState &thread = giop::this_thread();
    const Take skip = keeps_scopes.load(std::memory_order_relaxed) ? Take::leave : Take::skip;
    if(thread.outgoing.state != Outgoing::State::unset) {
        return skip; // a call inside the process, whose context the caller has set on this very thread
    }
    if(!thread.serves) {
        return Take::leave; // one that nobody has seen; or omniORB has forgotten its interceptors
    }
    if(thread.identified) {
        return thread.taken ? skip : Take::leave; // write_read_attributes() calls on, with an empty identification
    }
    thread.identified = true;
    const void *const texts = find_texts(client);
    if(texts == nullptr) {
        return Take::leave;
    }
    thread.taken = true;
    copy_texts(texts, thread.identification);
    return is_comparable(thread.identification) ? Take::compare : skip;
}

void compare(Text traceparent) noexcept {
    constexpr std::size_t id_end = 35;
    if(traceparent.size != wire::traceparent_size) {
        return; // cppTango's telemetry is off here: it says nothing
    }
    count(counters.compared);
    if(std::memcmp(traceparent.data, giop::this_thread().identification.context.traceparent, id_end) != 0) {
        count(counters.failed_checks);
        giop::this_thread().taken = false;
        server_enabled.store(false, std::memory_order_relaxed);
        refused.store("cppTango reads another trace than we do from a client identification", std::memory_order_relaxed);
    }
}

const wire::TraceContext *incoming(const giop::ThreadState &thread) noexcept {
    const bool identified = thread.taken && thread.identification.present;
    if(identified && (!thread.incoming.present || is_believed(thread.identification.context))) {
        return &thread.identification.context;
    }
    return thread.incoming.present ? &thread.incoming.context : nullptr;
}

bool knows_incoming(const giop::ThreadState &thread) noexcept {
    return thread.serves && (thread.taken || !thread.identified) && thread.outgoing.state == Outgoing::State::unset &&
           server_enabled.load(std::memory_order_relaxed);
}

bool writes() noexcept { return client_enabled.load(std::memory_order_relaxed); }

void enable(bool scopes) noexcept {
    keeps_scopes.store(scopes, std::memory_order_relaxed);
    client_enabled.store(true, std::memory_order_relaxed);
    server_enabled.store(refused.load(std::memory_order_relaxed) == nullptr, std::memory_order_relaxed);
}

void disable() noexcept {
    client_enabled.store(false, std::memory_order_relaxed);
    server_enabled.store(false, std::memory_order_relaxed);
}

Status status() noexcept {
    const char *const reason = refused.load(std::memory_order_relaxed);
#define TANGO_TELEMETRY_COUNTER(name) {#name, counters.name.load(std::memory_order_relaxed)}
    return {client_enabled.load(std::memory_order_relaxed),
            server_enabled.load(std::memory_order_relaxed),
            reason == nullptr ? "" : reason,
            {TANGO_TELEMETRY_COUNTER(answered), TANGO_TELEMETRY_COUNTER(taken), TANGO_TELEMETRY_COUNTER(dropped_malformed),
             TANGO_TELEMETRY_COUNTER(compared), TANGO_TELEMETRY_COUNTER(failed_checks)}};
#undef TANGO_TELEMETRY_COUNTER
}

} // namespace tango_telemetry::identification
