// SPDX-License-Identifier: LGPL-3.0-or-later
// The objects behind the module's types.
#pragma once

#include "../bridge_functions.h"
#include "core/sampler.h"
#include "identity.h"

namespace tango_telemetry {

struct QueueObject {
    PyObject_HEAD
    SpanQueue* queue;
    PyObject* wake;  // owned; null or what set_wake() was given
    ModuleState* state;
};

struct ResourceObject {
    PyObject_HEAD
    Resource* resource;
};

struct ScopeObject {
    PyObject_HEAD
    Scope* scope;
};

struct TracerObject {
    PyObject_HEAD
    ModuleState* state;
    PyObject* module;  // keeps the state alive
    QueueObject* queue;
    Scope* scope;
    Limits limits;
    Sampler sampler;
    bool enabled;
    bool starts_itself;  // false for a subclass with a start_span of its own
    PyObject* python_sampler;  // null: `sampler` decides
    PyObject* id_generator;    // null: ids are made here
    PyObject* new_traces;      // null, or asked whether one more trace may begin: a TokenBucket of core's
    PyObject* on_start;        // null or called with (span, parent context)
    PyObject* on_end;          // null or called with (span)
};

// Both kinds of span begin alike, so that either can be read as a parent.
struct AnySpanObject {
    PyObject_HEAD
    TracerObject* tracer;
    Identity identity;
};

// Not recorded: a subclass of opentelemetry.trace.NonRecordingSpan.
using DroppedSpanObject = AnySpanObject;

struct SpanObject {
    PyObject_HEAD
    TracerObject* tracer;
    Identity identity;
    SpanRecord* record;
    PyObject* parent;              // owned; null or the parent's SpanContext
    PyObject* parent_trace_state;  // owned; null or the parent's trace state, where `parent` is still to be made
    PyObject* link_contexts;       // owned; null or a list of the SpanContext of each link
    // The neighbours among the spans that have not ended, which the module's state knows without keeping them.
    SpanObject* older;
    SpanObject* newer;
};

// What the end of a process asks for: see open_spans() of the module.
void link_open_span(ModuleState& state, SpanObject* span);
void unlink_open_span(ModuleState& state, SpanObject* span);
PyObject* open_spans(PyObject* module, PyObject* most);
PyObject* forget_open_spans(PyObject* module, PyObject*);

PyObject* start_span(TracerObject* tracer, PyObject* const* arguments);

// What the spans of one place in a program have in common. All references are borrowed from its owner.
struct PreparedSpan {
    PyObject* title;
    PyObject* kind;
    PyObject* attributes;
    AttributeList encoded;  // what the attributes come to
    bool is_encoded;
    std::int64_t limit;  // the limits that they were encoded under
    std::int64_t value_length;
};

// start_span() with an encoded copy of its attributes at hand. The parent is `remote` or, without that, the span in
// `context`, which is a Context or null. Only for a tracer without a sampler and hooks in Python, which see neither.
PyObject* start_prepared_span(TracerObject* tracer, const PreparedSpan& prepared, PyObject* title, PyObject* context,
                              const SpanNumbers* remote, PyObject* links);

// start_span() of a span that the sampler drops whatever else is known of it; null, without an error, for any other.
// Only for a tracer without a sampler in Python.
PyObject* start_dropped_span(TracerObject* tracer, PyObject* context);

// Positions in the arguments of start_span and start_as_current_span.
enum StartArgument {
    kStartName,
    kStartContext,
    kStartKind,
    kStartAttributes,
    kStartLinks,
    kStartTime,
    kStartRecordException,
    kStartSetStatus,
    kStartEndOnExit,
    kStartArguments,
};

// make_current(span, context, [variable, value, [variable, value]]), a function of the module.
PyObject* make_current(PyObject* module, PyObject* const* args, Py_ssize_t count);

PyObject* create_activation(TracerObject* tracer, PyObject* const* arguments);
// False with an error set that must go on.
bool wake_consumer(QueueObject* queue);

PyTypeObject* create_span_type(PyObject* module);
PyTypeObject* create_dropped_span_type(PyObject* module);
PyTypeObject* create_tracer_type(PyObject* module);
PyTypeObject* create_activation_type(PyObject* module);
PyTypeObject* create_current_span_type(PyObject* module);
PyTypeObject* create_queue_type(PyObject* module);
PyTypeObject* create_resource_type(PyObject* module);
PyTypeObject* create_scope_type(PyObject* module);

}  // namespace tango_telemetry
