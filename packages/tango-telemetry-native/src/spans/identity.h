// SPDX-License-Identifier: LGPL-3.0-or-later
// Ids, flags and trace state of a span, and opentelemetry.trace.SpanContext made from and read into them.
#pragma once

#include "../trace_id.h"
#include "state.h"

namespace tango_telemetry {

struct Identity {
    std::uint64_t trace_id_high;
    std::uint64_t trace_id_low;
    std::uint64_t span_id;
    std::uint8_t flags;
    PyObject* trace_state;  // owned; null: the default, which is empty
    PyObject* context;      // owned; the SpanContext once somebody has asked for it
};

void clear_identity(Identity& identity);
int traverse_identity(const Identity& identity, visitproc visit, void* arg);

// The SpanContext of a local span, made on first use. A new reference.
PyObject* span_context_of(ModuleState& state, Identity& identity);

PyObject* make_span_context(ModuleState& state, std::uint64_t high, std::uint64_t low, std::uint64_t span_id,
                            bool remote, std::uint8_t flags, PyObject* trace_state);

// A SpanContext of whatever make, read.
struct SpanContextFields {
    std::uint64_t trace_id_high = 0;
    std::uint64_t trace_id_low = 0;
    std::uint64_t span_id = 0;
    bool remote = false;
    bool valid = false;
    std::uint8_t flags = 0;
    Ref trace_state;
};

// False with a Python error set if it is no SpanContext or one whose ids do not fit.
bool read_span_context(ModuleState& state, PyObject* context, SpanContextFields& fields);

bool read_span_id(PyObject* number, std::uint64_t& id);

// Appends `key=value,…` of a TraceState; nothing for the default one. False with a Python error set.
bool append_trace_state(ModuleState& state, PyObject* trace_state, Buffer& out);

}  // namespace tango_telemetry
