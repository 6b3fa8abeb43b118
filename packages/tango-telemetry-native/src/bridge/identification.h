// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The two strings in Tango's client identification (IDL v6), written and read in cppTango's place.
//
// cppTango asks itself for the strings of each request (Interface::get_trace_context) and would answer with the id of a span
// of its own, which nobody exports where its spans are off. As a server it opens a scope for each request
// (Interface::set_trace_context(name, attributes, ClntIdent)) with one span more. Both are calls through libtango's import
// table, in 10.0.0 to 10.3.3, which idl6_face.cpp redirects to the two functions of idl6_binding.inc; these ask here.
// No std::string in this header: see idl6.h.
#pragma once

#include "../bridge_functions.h"
#include "thread_state.h"

#include <cstddef>
#include <cstdint>
#include <utility>

namespace tango_telemetry::identification {

using Text = IdlFunctions::Text;

// The strings for a request that this thread makes. False: cppTango's own answer holds.
bool answer(Text &traceparent, Text &tracestate) noexcept;

enum class Take : std::uint8_t {
    leave,   // cppTango's business: its function is to be called
    skip,    // its function is not to be called, and there is no scope
    compare, // its function is to be called, and compare() with what it then says
};

// `client`: a Tango::ClntIdent, which the request that this thread serves came with.
Take take(const void *client) noexcept;

// The traceparent by which cppTango goes on, after the same identification. Another trace than the one that was taken: the
// identification has another layout than expected, and none is read from then on.
void compare(Text traceparent) noexcept;

// "Who is believed" (docs/context.md) for the request that this thread serves; null if it came with nothing.
const wire::TraceContext *incoming(const giop::ThreadState &thread) noexcept;

// Whether incoming() says all of the running upcall. Not where cppTango has read the identification (a client in Java), nor in
// a call inside the process.
bool knows_incoming(const giop::ThreadState &thread) noexcept;

// Whether requests get the strings of this thread's outgoing context.
bool writes() noexcept;

// `scopes`: cppTango opens its scopes nevertheless, for the trace ids in its own log records.
void enable(bool scopes) noexcept;
void disable() noexcept;

struct Status {
    bool client;
    bool server;
    const char *reason; // why the server's half was given up; "" if it was not
    std::pair<const char *, std::uint64_t> counters[5];
};

Status status() noexcept;

} // namespace tango_telemetry::identification
