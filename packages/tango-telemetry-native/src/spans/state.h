// SPDX-License-Identifier: LGPL-3.0-or-later
// What one instance of the module knows: there are no static Python objects.
#pragma once

#include "../bridge_functions.h"
#include "core/span_record.h"
#include "ref.h"

namespace tango_telemetry {

// Objects that tango_telemetry_native.spans passes to configure(), each under its name. Those from the private
// corners of opentelemetry-api may be None; then its public functions are called instead, which costs time only.
#define TANGO_SPANS_CONFIGURED(X) \
    X(span_class)                 \
    X(dropped_span_class)         \
    X(span_abc)                   \
    X(span_context_class)         \
    X(status_class)               \
    X(status_code_class)          \
    X(status_codes)               \
    X(span_kinds)                 \
    X(trace_flags)                \
    X(default_trace_state)        \
    X(context_class)              \
    X(context_variable)           \
    X(span_key)                   \
    X(get_current_span)           \
    X(set_span_in_context)        \
    X(attach)                     \
    X(detach)                     \
    X(sequence_abc)               \
    X(mapping_abc)                \
    X(format_exception)           \
    X(decorate)                   \
    X(warn_attributes)            \
    X(warn_span)                  \
    X(warn_encoder)               \
    X(report_failure)

#define TANGO_SPANS_NAMES(X)   \
    X(attributes)              \
    X(context)                 \
    X(decision)                \
    X(description)             \
    X(end)                     \
    X(end_on_exit)             \
    X(end_time)                \
    X(escaped)                 \
    X(exception)               \
    X(generate_span_id)        \
    X(generate_trace_id)       \
    X(_active)                 \
    X(_name)                   \
    X(f_code)                  \
    X(fail)                    \
    X(f_lasti)                 \
    X(get_abandoned)           \
    X(get_client_ident)        \
    X(get_ident)               \
    X(client_ip)               \
    X(client_pid)              \
    X(enter_span)              \
    X(exit)                    \
    X(get_span_context)        \
    X(traceparent)             \
    X(tracestate)              \
    X(is_recording)            \
    X(is_remote)               \
    X(is_sampled)              \
    X(is_trace_id_random)      \
    X(is_valid)                \
    X(key)                     \
    X(kind)                    \
    X(links)                   \
    X(name)                    \
    X(record)                  \
    X(record_exception)        \
    X(set_status)              \
    X(set_attributes)          \
    X(set_status_on_exception) \
    X(should_sample)           \
    X(span_id)                 \
    X(start_span)              \
    X(start_time)              \
    X(status)                  \
    X(status_code)             \
    X(timestamp)               \
    X(take)                    \
    X(to_header)               \
    X(trace_id)                \
    X(trace_state)             \
    X(value)

// Memory for one operation while it may call into the user's code: what happens there cannot reach it.
struct Scratch {
    Buffer value;
    Buffer key;
    AttributeList attributes;
    Scratch* next = nullptr;
};

struct SpanObject;

struct ModuleState {
#define X(name) PyObject* name;
    TANGO_SPANS_CONFIGURED(X)
#undef X
#define X(name) PyObject* s_##name;
    TANGO_SPANS_NAMES(X)
#undef X
    PyObject* s_dunder_module;
    PyObject* s_dunder_qualname;
    PyObject* s_dunder_name;
    PyObject* s_check_topic;
    PyObject* k_plans;
    PyObject* k_user;
    PyObject* k_owner;
    PyObject* k_thread_id;
    PyObject* k_thread_name;
    PyObject* k_thread;
    PyObject* k_exception_type;
    PyObject* k_exception_message;
    PyObject* k_exception_stacktrace;
    PyObject* k_exception_escaped;
    PyObject* empty_tuple;
    PyObject* empty_context;
    // Of calls in C++: see set_carrier() and configure_calls(). Null until then.
    PyObject* carrier_bridge;
    PyObject* record_failure;
    PyObject* is_omni_thread;
    PyObject* remote_span_class;
    PyObject* epoch;  // core's list of one object, another after each change: plans made under an earlier one do not hold
    PyObject* pass_through;  // the tracer of calls that are not traced
    PyObject* thread_attributes;
    PyObject* thread_name;  // the property of threading.Thread
    PyObject* threading;  // the dict of that module
    PyObject* threads;  // a dict: what thread_attributes() gave for threads of C++, by a number of the thread
    const GiopFunctions* giop;
    const IdlFunctions* idl;
    PyTypeObject* span_base;
    PyTypeObject* dropped_span_base;
    PyTypeObject* tracer_base;
    PyTypeObject* activation_type;
    PyTypeObject* current_span_type;
    PyTypeObject* queue_type;
    PyTypeObject* resource_type;
    PyTypeObject* scope_type;
    PyTypeObject* plan_type;
    PyTypeObject* plans_type;
    PyTypeObject* call_type;
    PyTypeObject* durations_type;
    PyTypeObject* client_beginning_type;
    PyTypeObject* handler_beginning_type;
    SpanObject* newest_open_span;  // borrowed: a span takes itself out when it ends or is forgotten
    bool configured;
    bool span_context_is_tuple;  // (trace_id, span_id, is_remote, trace_flags, trace_state, is_valid), as in 1.x
    SpanRecord* spare_records[64];
    int spare_record_count;
    Scratch* spare_scratch;
    int spare_scratch_count;
};

extern PyModuleDef module_definition;

// The state of the module that defined the type or one of its bases; null with an exception if there is none.
ModuleState* state_of_type(PyTypeObject* type);
// The module itself, borrowed.
PyObject* module_of_type(PyTypeObject* type);

// configure(**objects): see TANGO_SPANS_CONFIGURED.
PyObject* configure(PyObject* module, PyObject* args, PyObject* kwargs);

bool intern_names(ModuleState& state);
int traverse_state(ModuleState& state, visitproc visit, void* arg);
void clear_state(ModuleState& state);
void free_state(ModuleState& state);

SpanRecord* take_record(ModuleState& state);
void give_record(ModuleState& state, SpanRecord* record);

// Scratch for as long as this lives; ok() is false if there is no memory, with MemoryError set.
class ScratchLease {
public:
    explicit ScratchLease(ModuleState& state);
    ~ScratchLease();
    ScratchLease(const ScratchLease&) = delete;
    ScratchLease& operator=(const ScratchLease&) = delete;
    bool ok() const { return scratch_ != nullptr; }
    Scratch& operator*() { return *scratch_; }
    Scratch* operator->() { return scratch_; }

private:
    ModuleState& state_;
    Scratch* scratch_;
};

// To be called with a Python error set. Telemetry never raises into user code: an Exception is taken away and
// reported in the log, once for each `what`; true. KeyboardInterrupt and its like are not ours to keep: false.
bool absorb_error(ModuleState& state, const char* what);

}  // namespace tango_telemetry
