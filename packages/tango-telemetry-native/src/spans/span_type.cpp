// SPDX-License-Identifier: LGPL-3.0-or-later
// SpanBase: the recording span. tango_telemetry_native.spans.NativeSpan derives from it and from trace.Span.
#include "arguments.h"
#include "decode.h"
#include "span_operations.h"
#include "values.h"

namespace tango_telemetry {
namespace {

SpanObject* as_span(PyObject* object) { return reinterpret_cast<SpanObject*>(object); }

// The state, if the span was made by a tracer and the module is still whole; else null with an error set.
ModuleState* state_of(SpanObject* span) {
    if (span->record && span->tracer && span->tracer->state->configured) {
        return span->tracer->state;
    }
    PyErr_SetString(PyExc_RuntimeError, "this span has no tracer any more");
    return nullptr;
}

PyObject* none_or_error(bool ok) {
    if (!ok) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

AttributeTarget own_attributes(SpanObject* span) {
    const Limits& limits = span->tracer->limits;
    return {span->record->attributes, limits.attributes, limits.span_value_length, &span->record->ended};
}

// --- recording ---------------------------------------------------------------------------------------------

PyObject* span_set_attribute(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_key, state->s_value};
    PyObject* bound[2];
    if (!bind_arguments("set_attribute", names, 2, 2, args, count, keywords, bound)) {
        return nullptr;
    }
    if (span->record->ended) {
        return none_or_error(warn_ended(*state, kEndedAttribute));
    }
    return none_or_error(set_attribute(*state, own_attributes(span), bound[0], bound[1]));
}

PyObject* span_set_attributes(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_attributes};
    PyObject* bound[1];
    if (!bind_arguments("set_attributes", names, 1, 1, args, count, keywords, bound)) {
        return nullptr;
    }
    if (span->record->ended) {
        return none_or_error(warn_ended(*state, kEndedAttribute));
    }
    return none_or_error(set_attributes(*state, own_attributes(span), bound[0]));
}

PyObject* span_add_event(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_name, state->s_attributes, state->s_timestamp};
    PyObject* bound[3];
    if (!bind_arguments("add_event", names, 3, 1, args, count, keywords, bound)) {
        return nullptr;
    }
    return none_or_error(add_event(span, *state, bound[0], bound[1], bound[2]));
}

PyObject* span_add_link(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_context, state->s_attributes};
    PyObject* bound[2];
    if (!bind_arguments("add_link", names, 2, 1, args, count, keywords, bound)) {
        return nullptr;
    }
    return none_or_error(add_span_link(span, bound[0], bound[1]));
}

PyObject* span_update_name(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_name};
    PyObject* bound[1];
    if (!bind_arguments("update_name", names, 1, 1, args, count, keywords, bound)) {
        return nullptr;
    }
    if (span->record->ended) {
        return none_or_error(warn_ended(*state, kEndedMethod, "update_name"));
    }
    return none_or_error(set_text(*state, span->record->name, bound[0]));
}

// --- status --------------------------------------------------------------------------------------------------

PyObject* span_set_status(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_status, state->s_description};
    PyObject* bound[2];
    if (!bind_arguments("set_status", names, 2, 1, args, count, keywords, bound)) {
        return nullptr;
    }
    if (span->record->ended) {
        return none_or_error(warn_ended(*state, kEndedMethod, "set_status"));
    }
    return none_or_error(set_status(span, *state, bound[0], bound[1]));
}

// --- exceptions ----------------------------------------------------------------------------------------------

PyObject* span_record_exception(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_exception, state->s_attributes, state->s_timestamp, state->s_escaped};
    PyObject* bound[4];
    if (!bind_arguments("record_exception", names, 4, 1, args, count, keywords, bound)) {
        return nullptr;
    }
    return none_or_error(record_exception(span, bound[0], bound[1], bound[2], bound[3]));
}

// --- end, and use as a context manager -------------------------------------------------------------------------

PyObject* span_end(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    PyObject* const names[] = {state->s_end_time};
    PyObject* bound[1];
    if (!bind_arguments("end", names, 1, 0, args, count, keywords, bound)) {
        return nullptr;
    }
    return none_or_error(end_span(span, bound[0]));
}

PyObject* span_enter(PyObject* self, PyObject*) { return new_ref(self); }

PyObject* span_exit(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    SpanObject* const span = as_span(self);
    if (!state_of(span)) {
        return nullptr;
    }
    PyObject* const exception = count >= 2 ? value_or_null(args[1]) : nullptr;
    SpanRecord& record = *span->record;
    if (exception && !record.ended) {
        if (record.record_exception && !record_exception(span, exception, nullptr, nullptr, Py_True)) {
            return nullptr;
        }
        if (record.set_status_on_exception && !set_exception_status(span, exception)) {
            return nullptr;
        }
    }
    return none_or_error(end_span(span, nullptr));
}

// --- reading ---------------------------------------------------------------------------------------------------

PyObject* span_get_span_context(PyObject* self, PyObject*) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    return state ? span_context_of(*state, span->identity) : nullptr;
}

PyObject* span_is_recording(PyObject* self, PyObject*) {
    const SpanObject* const span = as_span(self);
    return new_bool(span->record && !span->record->ended);
}

PyObject* text_of(const Buffer& text) {
    return PyUnicode_DecodeUTF8(text.empty() ? "" : text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

PyObject* get_name(PyObject* self, void*) {
    SpanObject* const span = as_span(self);
    return state_of(span) ? text_of(span->record->name) : nullptr;
}

PyObject* get_context(PyObject* self, void*) { return span_get_span_context(self, nullptr); }

PyObject* get_kind(PyObject* self, void*) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    return state ? new_ref(PyTuple_GET_ITEM(state->span_kinds, span->record->kind)) : nullptr;
}

PyObject* get_parent(PyObject* self, void*) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    const SpanRecord& record = *span->record;
    if (record.parent_span_id == 0) {
        Py_RETURN_NONE;
    }
    if (!span->parent) {
        PyObject* const parent =
            make_span_context(*state, record.trace_id_high, record.trace_id_low, record.parent_span_id,
                              record.parent_remote, record.parent_flags, span->parent_trace_state);
        if (!parent) {
            return nullptr;
        }
        PyObject* const old = span->parent;
        span->parent = parent;
        Py_XDECREF(old);
    }
    return new_ref(span->parent);
}

PyObject* get_start_time(PyObject* self, void*) {
    SpanObject* const span = as_span(self);
    return state_of(span) ? PyLong_FromUnsignedLongLong(span->record->start_ns) : nullptr;
}

PyObject* get_end_time(PyObject* self, void*) {
    SpanObject* const span = as_span(self);
    if (!state_of(span)) {
        return nullptr;
    }
    if (!span->record->ended) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLongLong(span->record->end_ns);
}

PyObject* get_status(PyObject* self, void*) {
    SpanObject* const span = as_span(self);
    ModuleState* const state = state_of(span);
    if (!state) {
        return nullptr;
    }
    const SpanRecord& record = *span->record;
    PyObject* const code = PyTuple_GET_ITEM(state->status_codes, record.status);
    Ref description(record.has_status_message ? text_of(record.status_message) : new_ref(Py_None));
    return description ? PyObject_CallFunctionObjArgs(state->status_class, code, description.get(), nullptr) : nullptr;
}

PyObject* get_tracer(PyObject* self, void*) {
    SpanObject* const span = as_span(self);
    return state_of(span) ? new_ref(reinterpret_cast<PyObject*>(span->tracer)) : nullptr;
}

PyObject* span_decode_attributes(PyObject* self, PyObject*) {
    SpanObject* const span = as_span(self);
    return state_of(span) ? decode_attributes(*span->record) : nullptr;
}

PyObject* span_decode_events(PyObject* self, PyObject*) {
    SpanObject* const span = as_span(self);
    return state_of(span) ? decode_events(*span->record) : nullptr;
}

PyObject* span_decode_links(PyObject* self, PyObject*) {
    SpanObject* const span = as_span(self);
    return state_of(span) ? decode_links(span) : nullptr;
}

PyObject* span_repr(PyObject* self) {
    SpanObject* const span = as_span(self);
    if (!span->record || !span->tracer->state->configured) {
        return PyUnicode_FromFormat("<%s without a tracer>", Py_TYPE(self)->tp_name);
    }
    Ref name(get_name(self, nullptr));
    Ref context(name ? span_get_span_context(self, nullptr) : nullptr);
    return context ? PyUnicode_FromFormat("%s(name=\"%S\", context=%S)", Py_TYPE(self)->tp_name, name.get(),
                                          context.get())
                   : nullptr;
}

// --- the type ----------------------------------------------------------------------------------------------------

PyObject* span_new(PyTypeObject*, PyObject*, PyObject*) {
    PyErr_SetString(PyExc_TypeError, "Span must be instantiated via a tracer.");
    return nullptr;
}

int span_traverse(PyObject* self, visitproc visit, void* arg) {
    SpanObject* const span = as_span(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(span->tracer);
    Py_VISIT(span->parent);
    Py_VISIT(span->parent_trace_state);
    Py_VISIT(span->link_contexts);
    return traverse_identity(span->identity, visit, arg);
}

// The tracer stays until the end: the span's memory goes back to its module.
int span_clear(PyObject* self) {
    SpanObject* const span = as_span(self);
    clear_identity(span->identity);
    Py_CLEAR(span->parent);
    Py_CLEAR(span->parent_trace_state);
    Py_CLEAR(span->link_contexts);
    return 0;
}

void span_dealloc(PyObject* self) {
    SpanObject* const span = as_span(self);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (span->tracer) {
        unlink_open_span(*span->tracer->state, span);
    }
    if (span->record) {
        give_record(*span->tracer->state, span->record);
        span->record = nullptr;
    }
    span_clear(self);
    Py_CLEAR(span->tracer);
    type->tp_free(self);
    Py_DECREF(type);
}

PyCFunction with_keywords(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*)) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

constexpr int kKeywords = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef methods[] = {
    {"set_attribute", with_keywords(span_set_attribute), kKeywords, "set_attribute(key, value)"},
    {"set_attributes", with_keywords(span_set_attributes), kKeywords, "set_attributes(attributes)"},
    {"add_event", with_keywords(span_add_event), kKeywords, "add_event(name, attributes=None, timestamp=None)"},
    {"add_link", with_keywords(span_add_link), kKeywords, "add_link(context, attributes=None)"},
    {"update_name", with_keywords(span_update_name), kKeywords, "update_name(name)"},
    {"set_status", with_keywords(span_set_status), kKeywords, "set_status(status, description=None)"},
    {"record_exception", with_keywords(span_record_exception), kKeywords,
     "record_exception(exception, attributes=None, timestamp=None, escaped=False)"},
    {"end", with_keywords(span_end), kKeywords, "end(end_time=None)"},
    {"get_span_context", span_get_span_context, METH_NOARGS, "The SpanContext to propagate."},
    {"is_recording", span_is_recording, METH_NOARGS, "Whether the span has not ended."},
    {"__enter__", span_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(span_exit)), METH_FASTCALL, nullptr},
    {"_decode_attributes", span_decode_attributes, METH_NOARGS, "(attributes, number dropped)"},
    {"_decode_events", span_decode_events, METH_NOARGS, "([(name, timestamp, attributes, dropped)], dropped)"},
    {"_decode_links", span_decode_links, METH_NOARGS, "([(context, attributes, dropped)], dropped)"},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"name", get_name, nullptr, "The name.", nullptr},
    {"context", get_context, nullptr, "The SpanContext.", nullptr},
    {"kind", get_kind, nullptr, "The SpanKind.", nullptr},
    {"parent", get_parent, nullptr, "The parent's SpanContext, None for a root.", nullptr},
    {"start_time", get_start_time, nullptr, "Nanoseconds since the epoch.", nullptr},
    {"end_time", get_end_time, nullptr, "Nanoseconds since the epoch, None before the end.", nullptr},
    {"status", get_status, nullptr, "The Status.", nullptr},
    {"_tracer", get_tracer, nullptr, "The tracer that made it.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("A recording span; made by a tracer only.")},
    {Py_tp_new, reinterpret_cast<void*>(span_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(span_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(span_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(span_clear)},
    {Py_tp_repr, reinterpret_cast<void*>(span_repr)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.SpanBase", sizeof(SpanObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyTypeObject* create_span_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
