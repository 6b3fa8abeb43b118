// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The trace contexts of a thread: of its next requests, and of the request that it serves. Both carriers share them. No
// std::string here: the code that includes this is compiled for both of its binary interfaces.
#pragma once

#include "wire.h"

#include <cstdint>
#include <utility>

namespace tango_telemetry::giop {

// What this thread's next requests carry. `none` is a call that was explicitly given no context; it differs from
// `unset` in what a call into the same process sees (incoming()).
struct Outgoing {
    enum class State : std::uint8_t { unset, none, set };

    State state;
    std::uint16_t size;
    unsigned char payload[wire::max_encoded_size];

    std::pair<const char *, std::size_t> traceparent() const noexcept {
        return {reinterpret_cast<const char *>(payload) + wire::traceparent_offset, wire::traceparent_size};
    }

    std::pair<const char *, std::size_t> tracestate() const noexcept {
        return {reinterpret_cast<const char *>(payload) + wire::tracestate_offset,
                static_cast<std::size_t>(size) - wire::tracestate_offset - 1};
    }
};

struct Incoming {
    bool present;
    wire::TraceContext context;
};

// Trivial on purpose: no destructor runs at thread exit, when omniORB may still use the thread.
struct ThreadState {
    Outgoing outgoing;
    Incoming incoming;       // in the GIOP service context
    Incoming identification; // in Tango's client identification; see identification.h
    bool serves;             // omniORB has received a request on this thread
    bool identified;         // ... and its client identification was looked at
    bool taken;              // ... and `identification` is what it says
    bool sends_for_others;   // omniORB's worker that sends asynchronous requests

    // A new task for this thread of omniORB's: nothing of the task before it counts.
    void begin(bool request) noexcept {
        outgoing.state = Outgoing::State::unset;
        incoming.present = false;
        serves = request;
        identified = taken = false;
    }
};

ThreadState &this_thread() noexcept;

} // namespace tango_telemetry::giop
