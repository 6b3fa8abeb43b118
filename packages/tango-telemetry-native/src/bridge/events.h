// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The span context of Tango events, on their way out of and into this process: libtango's imports of zmq_msg_send and
// zmq_msg_recv go through functions of ours. Nothing here knows Python. Nothing here ever throws into ZeroMQ.
#pragma once

#include "../bridge_functions.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tango_telemetry::events {

// What the events carry that this thread sends from now on: `span`, or nothing where its ids are zeros. Not `present`: what
// the thread has from elsewhere, of the polled attribute, of the event or of the request that it works on.
struct Outgoing {
    bool present;
    SpanNumbers span;
};

Outgoing &outgoing() noexcept;

// The context of the events of one attribute that this thread sends from now on, until it reads that attribute again:
// cppTango's polling thread reads an attribute and then sends what has changed. `subject` is "device/attribute" in lower
// case; a span of zeros takes it back. Nothing is done on a thread that serves requests.
void leave_for_polling(const char *subject, std::size_t length, const SpanNumbers &span) noexcept;
void forget_polling() noexcept;

// The span that an event of `subject` and `type` ("change") names: the event whose callback this thread runs, if it is of
// that kind; else, if `elsewhere`, the last that arrived in this process not after `microseconds` since the epoch, and at
// most a second before. False if that event names none.
bool find_incoming(const char *subject, std::size_t length, const char *type, std::size_t type_length,
                   std::int64_t microseconds, bool elsewhere, SpanNumbers &span) noexcept;

// Patches the imports of the libtango that `path` (PyTango's extension module) depends on. Idempotent; never undone,
// because a thread may be inside: after release() events are sent as they were, until install() is called again.
bool install(const std::string &path) noexcept;
void release() noexcept;

void after_fork_in_child() noexcept;

struct Status {
    bool installed;
    bool enabled;
    std::string reason;
    std::vector<std::pair<const char *, std::uint64_t>> counters;
};

Status status();

} // namespace tango_telemetry::events
