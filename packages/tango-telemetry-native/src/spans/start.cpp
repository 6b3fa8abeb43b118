// SPDX-License-Identifier: LGPL-3.0-or-later
// How a span begins: its parent, its ids, the sampler's word, and what it is given.
#include "arguments.h"
#include "core/clock.h"
#include "core/id_source.h"
#include "objects.h"
#include "span_operations.h"
#include "values.h"

namespace tango_telemetry {
namespace {

struct Parent {
    SpanContextFields fields;  // valid: there is a parent
    Ref context;               // its SpanContext, where there is one already
    const SpanRecord* record = nullptr;  // of a recording span of ours: has the trace state in bytes
};

// The span of a context, as opentelemetry.trace.get_current_span; none: null without an error.
Ref current_span(ModuleState& state, PyObject* context) {
    if (state.context_variable != Py_None) {
        Ref current;
        if (context) {
            current = Ref::borrow(context);
        } else {
            PyObject* value = nullptr;
            if (PyContextVar_Get(state.context_variable, nullptr, &value) < 0) {
                return Ref();
            }
            current = Ref(value);
        }
        if (current && Py_TYPE(current.get()) == reinterpret_cast<PyTypeObject*>(state.context_class)) {
            Ref span = Ref::borrow(PyDict_GetItemWithError(current.get(), state.span_key));
            if (!span || Py_TYPE(span.get()) == reinterpret_cast<PyTypeObject*>(state.span_class) ||
                Py_TYPE(span.get()) == reinterpret_cast<PyTypeObject*>(state.dropped_span_class)) {
                return span;
            }
            const int is_span = PyObject_IsInstance(span.get(), state.span_abc);
            return is_span > 0 ? std::move(span) : Ref();
        }
    }
    return Ref(PyObject_CallFunctionObjArgs(state.get_current_span, context ? context : Py_None, nullptr));
}

// False with an error set, which is the user's: the SDK raises as well.
bool read_parent(ModuleState& state, PyObject* context, Parent& parent) {
    Ref span = current_span(state, context);
    if (!span) {
        return !PyErr_Occurred();
    }
    const bool recording = PyObject_TypeCheck(span.get(), state.span_base);
    if (recording || PyObject_TypeCheck(span.get(), state.dropped_span_base)) {
        auto* const ours = reinterpret_cast<AnySpanObject*>(span.get());
        const Identity& identity = ours->identity;
        if (identity.span_id) {
            parent.fields.trace_id_high = identity.trace_id_high;
            parent.fields.trace_id_low = identity.trace_id_low;
            parent.fields.span_id = identity.span_id;
            parent.fields.flags = identity.flags;
            parent.fields.valid = identity.trace_id_high || identity.trace_id_low;
            parent.fields.trace_state = Ref::borrow(identity.trace_state);
            parent.context = Ref::borrow(identity.context);
            return true;
        }
    }
    parent.context = Ref(PyObject_CallMethodNoArgs(span.get(), state.s_get_span_context));
    if (!parent.context) {
        return false;
    }
    if (parent.context.get() == Py_None) {
        parent.context = Ref();
        return true;
    }
    if (!read_span_context(state, parent.context.get(), parent.fields)) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) || !PyErr_ExceptionMatches(PyExc_Exception)) {
            return false;
        }
        PyErr_Clear();
        parent.fields.valid = false;
    }
    if (parent.fields.trace_state.get() == state.default_trace_state) {
        parent.fields.trace_state = Ref();
    }
    return true;
}

struct Decision {
    bool recording = false;
    bool sampled = false;
    Ref attributes;
    Ref trace_state;
};

bool ask_python_sampler(TracerObject* tracer, PyObject* const* arguments, const Identity& identity,
                        Decision& decision) {
    ModuleState& state = *tracer->state;
    Ref trace_id(make_trace_id(identity.trace_id_high, identity.trace_id_low));
    if (!trace_id) {
        return false;
    }
    PyObject* const context = arguments[kStartContext] ? arguments[kStartContext] : Py_None;
    PyObject* const kind = arguments[kStartKind] ? arguments[kStartKind] : PyTuple_GET_ITEM(state.span_kinds, 0);
    PyObject* const attributes = arguments[kStartAttributes] ? arguments[kStartAttributes] : Py_None;
    bool failed = false;
    PyObject* const links = truthy(state, arguments[kStartLinks], failed) ? arguments[kStartLinks] : state.empty_tuple;
    if (failed) {
        return false;
    }
    Ref result(PyObject_CallMethodObjArgs(tracer->python_sampler, state.s_should_sample, context, trace_id.get(),
                                          arguments[kStartName], kind, attributes, links, nullptr));
    Ref verdict(result ? PyObject_GetAttr(result.get(), state.s_decision) : nullptr);
    Ref recording(verdict ? PyObject_CallMethodNoArgs(verdict.get(), state.s_is_recording) : nullptr);
    Ref sampled(recording ? PyObject_CallMethodNoArgs(verdict.get(), state.s_is_sampled) : nullptr);
    decision.attributes = Ref(sampled ? PyObject_GetAttr(result.get(), state.s_attributes) : nullptr);
    decision.trace_state = Ref(decision.attributes ? PyObject_GetAttr(result.get(), state.s_trace_state) : nullptr);
    if (!decision.trace_state) {
        return false;
    }
    if (!read_flag(state, recording.get(), false, decision.recording) ||
        !read_flag(state, sampled.get(), false, decision.sampled)) {
        return false;
    }
    if (decision.trace_state.get() == Py_None || decision.trace_state.get() == state.default_trace_state) {
        decision.trace_state = Ref();
    }
    return true;
}

// False with an error set that must go on.
bool ask_sampler(TracerObject* tracer, PyObject* const* arguments, const Parent& parent, const Identity& identity,
                 Decision& decision) {
    if (tracer->python_sampler) {
        if (ask_python_sampler(tracer, arguments, identity, decision)) {
            return true;
        }
        // A sampler that fails costs its span, not the user's call.
        decision = Decision{};
        return absorb_error(*tracer->state, "the sampler failed");
    }
    decision.sampled = decision.recording =
        tracer->sampler.sampled(parent.fields.valid, parent.fields.flags & 1, identity.trace_id_low);
    decision.attributes = Ref::borrow(arguments[kStartAttributes]);
    if (parent.fields.valid) {
        decision.trace_state = Ref::borrow(parent.fields.trace_state.get());
    }
    return true;
}

// A first span beyond the bound of new traces is recorded all the same: it is kept should it fail. False with an error set
// that must go on.
bool decide(TracerObject* tracer, PyObject* const* arguments, const Parent& parent, const Identity& identity,
            Decision& decision) {
    if (!ask_sampler(tracer, arguments, parent, identity, decision)) {
        return false;
    }
    if (!tracer->new_traces || parent.fields.valid || !decision.sampled) {
        return true;
    }
    Ref may_begin(PyObject_CallMethodNoArgs(tracer->new_traces, tracer->state->s_take));
    if (!may_begin) {
        return absorb_error(*tracer->state, "the bound of new traces failed");
    }
    decision.sampled = may_begin.get() == Py_True;
    return true;
}

// An id of the user's own generator; false (and no error) if it gave none that can be used.
bool generate_trace_id(TracerObject* tracer, Identity& identity) {
    ModuleState& state = *tracer->state;
    Ref number(PyObject_CallMethodNoArgs(tracer->id_generator, state.s_generate_trace_id));
    return number && read_trace_id(number.get(), identity.trace_id_high, identity.trace_id_low);
}

bool generate_span_id(TracerObject* tracer, Identity& identity) {
    Ref number(PyObject_CallMethodNoArgs(tracer->id_generator, tracer->state->s_generate_span_id));
    return number && read_span_id(number.get(), identity.span_id);
}

// False with an error set that must go on.
bool generates_random_ids(TracerObject* tracer, bool& random) {
    random = !tracer->id_generator;
    if (random) {
        return true;
    }
    Ref answer(PyObject_CallMethodNoArgs(tracer->id_generator, tracer->state->s_is_trace_id_random));
    if (!answer) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return false;
        }
        PyErr_Clear();  // id generators of older SDKs do not say
    }
    return read_flag(*tracer->state, answer.get(), false, random);
}

bool choose_trace_id(TracerObject* tracer, const Parent& parent, Identity& identity) {
    if (parent.fields.valid) {
        identity.trace_id_high = parent.fields.trace_id_high;
        identity.trace_id_low = parent.fields.trace_id_low;
        return true;
    }
    if (tracer->id_generator) {
        if (generate_trace_id(tracer, identity)) {
            return true;
        }
        if (!absorb_error(*tracer->state, "the id generator failed")) {
            return false;
        }
    }
    identity.trace_id_high = random_id();
    identity.trace_id_low = random_id();
    return true;
}

bool choose_span_id(TracerObject* tracer, Identity& identity) {
    if (tracer->id_generator) {
        if (generate_span_id(tracer, identity)) {
            return true;
        }
        if (!absorb_error(*tracer->state, "the id generator failed")) {
            return false;
        }
    }
    identity.span_id = random_id();
    return true;
}

template <typename Object>
Object* allocate_span(PyObject* type, TracerObject* tracer, const Identity& identity) {
    auto* const span_type = reinterpret_cast<PyTypeObject*>(type);
    auto* const span = reinterpret_cast<Object*>(span_type->tp_alloc(span_type, 0));
    if (span) {
        Py_INCREF(tracer);
        span->tracer = tracer;
        span->identity = identity;
        span->identity.context = nullptr;
        Py_XINCREF(identity.trace_state);
    }
    return span;
}

// Not through the sampler: a tracer that is switched off hands the parent on.
PyObject* pass_parent_on(TracerObject* tracer, Parent& parent) {
    ModuleState& state = *tracer->state;
    Identity identity{};
    if (!parent.context && parent.fields.valid) {
        identity = {parent.fields.trace_id_high, parent.fields.trace_id_low, parent.fields.span_id,
                    parent.fields.flags, parent.fields.trace_state.get(), nullptr};
    }
    auto* const span = allocate_span<DroppedSpanObject>(state.dropped_span_class, tracer, identity);
    if (span) {
        span->identity.context = parent.context.release();
    }
    return reinterpret_cast<PyObject*>(span);
}

bool add_links(SpanObject* span, PyObject* links) {
    ModuleState& state = *span->tracer->state;
    bool failed = false;
    if (!truthy(state, links, failed)) {
        return !failed;
    }
    Ref iterator(PyObject_GetIter(links));
    while (iterator) {
        Ref link(PyIter_Next(iterator.get()));
        if (!link) {
            break;
        }
        if (!truthy(state, link.get(), failed)) {
            if (failed) {
                return false;
            }
            continue;
        }
        Ref context(PyObject_GetAttr(link.get(), state.s_context));
        Ref attributes(context ? PyObject_GetAttr(link.get(), state.s_attributes) : nullptr);
        if (!attributes) {
            if (!absorb_error(state, "a link could not be read")) {
                return false;
            }
        } else if (!add_span_link(span, context.get(), attributes.get())) {
            return false;
        }
    }
    return !PyErr_Occurred() || absorb_error(state, "links could not be read");
}

bool give_attributes(SpanObject* span, PyObject* attributes) {
    ModuleState& state = *span->tracer->state;
    bool failed = false;
    if (!truthy(state, attributes, failed)) {
        return !failed;
    }
    const Limits& limits = span->tracer->limits;
    SpanRecord& record = *span->record;
    return set_attributes(state, {record.attributes, limits.attributes, limits.span_value_length, &record.ended},
                          attributes);
}

std::uint8_t kind_number(ModuleState& state, PyObject* kind) {
    for (std::uint8_t i = 0; kind && i < 5; i++) {
        if (PyTuple_GET_ITEM(state.span_kinds, i) == kind) {
            return i;
        }
    }
    return 0;
}

bool fill_record(SpanObject* span, PyObject* const* arguments, Parent& parent) {
    ModuleState& state = *span->tracer->state;
    SpanRecord& record = *span->record;
    const Identity& identity = span->identity;
    record.trace_id_high = identity.trace_id_high;
    record.trace_id_low = identity.trace_id_low;
    record.span_id = identity.span_id;
    record.flags = identity.flags;
    record.kind = kind_number(state, arguments[kStartKind]);
    if (!read_flag(state, arguments[kStartRecordException], true, record.record_exception) ||
        !read_flag(state, arguments[kStartSetStatus], true, record.set_status_on_exception)) {
        return false;
    }
    if (parent.fields.valid) {
        record.parent_span_id = parent.fields.span_id;
        record.parent_remote = parent.fields.remote;
        record.parent_flags = parent.fields.flags;
        span->parent = parent.context.release();
        span->parent_trace_state = parent.fields.trace_state.release();
    }
    if (identity.trace_state && !append_trace_state(state, identity.trace_state, record.trace_state) &&
        !absorb_error(state, "a trace state could not be read")) {
        return false;
    }
    return append_any_text(record.name, arguments[kStartName]) ||
           absorb_error(state, "the name of a span could not be made a str");
}

// `prepared`: null or what `attributes` come to when they are encoded.
PyObject* start_recording(TracerObject* tracer, PyObject* const* arguments, Parent& parent, const Identity& identity,
                          PyObject* attributes, const AttributeList* prepared) {
    ModuleState& state = *tracer->state;
    auto* const span = allocate_span<SpanObject>(state.span_class, tracer, identity);
    Ref owned(reinterpret_cast<PyObject*>(span));
    if (!span || !(span->record = take_record(state))) {
        return nullptr;
    }
    if (!fill_record(span, arguments, parent) ||
        !((prepared && span->record->attributes.copy(*prepared)) || give_attributes(span, attributes)) ||
        !add_links(span, arguments[kStartLinks])) {
        return nullptr;
    }
    SpanRecord& record = *span->record;
    if (arguments[kStartTime] && arguments[kStartTime] != Py_None) {
        record.start_ns = time_or(state, arguments[kStartTime], wall_ns());
    } else {
        record.start_ns = wall_ns();
        record.steady_start_ns = steady_ns();
    }
    link_open_span(state, span);
    if (tracer->on_start) {
        Ref hook = Ref::borrow(tracer->on_start);
        PyObject* const context = arguments[kStartContext] ? arguments[kStartContext] : Py_None;
        Ref result(PyObject_CallFunctionObjArgs(hook.get(), owned.get(), context, nullptr));
        if (!result && !absorb_error(state, "a span processor failed in on_start")) {
            return nullptr;
        }
    }
    return owned.release();
}

PyObject* start_with_parent(TracerObject* tracer, PyObject* const* arguments, Parent& parent,
                            const AttributeList* prepared) {
    ModuleState& state = *tracer->state;
    if (!tracer->enabled) {
        return pass_parent_on(tracer, parent);
    }
    Identity identity{};
    Decision decision;
    if (!choose_trace_id(tracer, parent, identity) || !decide(tracer, arguments, parent, identity, decision)) {
        return nullptr;
    }
    bool random = (parent.fields.flags & 2) != 0;
    if (!parent.fields.valid && !generates_random_ids(tracer, random)) {
        return nullptr;
    }
    identity.flags = static_cast<std::uint8_t>((decision.sampled ? 1 : 0) | (random ? 2 : 0));
    if (!choose_span_id(tracer, identity)) {
        return nullptr;
    }
    identity.trace_state = decision.trace_state.get();
    if (!decision.recording) {
        return reinterpret_cast<PyObject*>(
            allocate_span<DroppedSpanObject>(state.dropped_span_class, tracer, identity));
    }
    return start_recording(tracer, arguments, parent, identity, decision.attributes.get(), prepared);
}

bool check_usable(const TracerObject* tracer) {
    if (tracer->state->configured && tracer->queue) {
        return true;
    }
    PyErr_SetString(PyExc_RuntimeError, "this tracer is not usable any more");
    return false;
}

}  // namespace

PyObject* start_span(TracerObject* tracer, PyObject* const* arguments) {
    Parent parent;
    PyObject* const context = arguments[kStartContext] ? value_or_null(arguments[kStartContext]) : nullptr;
    if (!check_usable(tracer) || !read_parent(*tracer->state, context, parent)) {
        return nullptr;
    }
    return start_with_parent(tracer, arguments, parent, nullptr);
}

PyObject* start_dropped_span(TracerObject* tracer, PyObject* context) {
    Parent parent;
    if (!check_usable(tracer) || (context && !read_parent(*tracer->state, context, parent)) ||
        !tracer->sampler.drops(parent.fields.valid, parent.fields.flags & 1)) {
        return nullptr;
    }
    PyObject* const arguments[kStartArguments] = {};
    return start_with_parent(tracer, arguments, parent, nullptr);
}

PyObject* start_prepared_span(TracerObject* tracer, const PreparedSpan& prepared, PyObject* title, PyObject* context,
                              const SpanNumbers* remote, PyObject* links) {
    Parent parent;
    if (!check_usable(tracer) || (context && !read_parent(*tracer->state, context, parent))) {
        return nullptr;
    }
    if (remote) {
        parent.fields.trace_id_high = remote->trace_id_high;
        parent.fields.trace_id_low = remote->trace_id_low;
        parent.fields.span_id = remote->span_id;
        parent.fields.flags = remote->flags;
        parent.fields.remote = parent.fields.valid = true;
    }
    PyObject* arguments[kStartArguments] = {};
    arguments[kStartName] = title;
    arguments[kStartKind] = prepared.kind;
    arguments[kStartAttributes] = prepared.attributes;
    arguments[kStartLinks] = links;
    const bool fits = prepared.is_encoded && prepared.limit == tracer->limits.attributes &&
                      prepared.value_length == tracer->limits.span_value_length;
    return start_with_parent(tracer, arguments, parent, fits ? &prepared.encoded : nullptr);
}

}  // namespace tango_telemetry
