// SPDX-License-Identifier: LGPL-3.0-or-later
// SpanBase: the recording span. tango_telemetry_native.spans.NativeSpan derives from it and from trace.Span.
#include "arguments.h"
#include "core/clock.h"
#include "decode.h"
#include "objects.h"
#include "values.h"

namespace tango_spans {
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

// As the SDK's: a warning for whoever goes on with a span that has ended. False with an error set for an
// exception that is not ours to keep.
bool warn_ended(ModuleState& state, const char* text, const char* method = nullptr) {
    Ref format(PyUnicode_FromString(text));
    Ref name(method ? PyUnicode_FromString(method) : nullptr);
    Ref result;
    if (format && (name || !method)) {
        result = Ref(PyObject_CallFunctionObjArgs(state.warn_span, format.get(), name.get(), nullptr));
    }
    return result || absorb_error(state, "a warning could not be logged");
}

constexpr const char* kEndedMethod = "Tried calling %s on an ended span.";
constexpr const char* kEndedAttribute = "Setting attribute on ended span.";

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

bool set_text(ModuleState& state, Buffer& target, PyObject* text) {
    if (PyUnicode_Check(text)) {
        target.clear();
        append_text(target, text);
        return true;
    }
    // str() of something else is user code: the span keeps its text until there is another.
    Ref converted(PyObject_Str(text));
    if (!converted) {
        return absorb_error(state, "a name could not be made a str");
    }
    target.clear();
    append_text(target, converted.get());
    return true;
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

bool truthy(ModuleState& state, PyObject* object, bool& failed) {
    if (!object || object == Py_None) {
        return false;
    }
    if (PyDict_CheckExact(object)) {
        return PyDict_GET_SIZE(object) > 0;
    }
    const int truth = PyObject_IsTrue(object);
    if (truth < 0) {
        failed = !absorb_error(state, "attributes could not be read");
        return false;
    }
    return truth != 0;
}

bool add_event(SpanObject* span, ModuleState& state, PyObject* name, PyObject* attributes, PyObject* timestamp) {
    SpanRecord& record = *span->record;
    const Limits& limits = span->tracer->limits;
    ScratchLease scratch(state);
    if (!scratch.ok()) {
        return absorb_error(state, "an event could not be added");
    }
    scratch->attributes.reset(tag::kEventAttribute);
    bool failed = false;
    if (truthy(state, attributes, failed) &&
        !set_attributes(state, {scratch->attributes, limits.event_attributes, limits.value_length}, attributes)) {
        return false;
    }
    if (failed) {
        return false;
    }
    scratch->key.clear();
    if (!append_any_text(scratch->key, name) && !absorb_error(state, "the name of an event could not be made a str")) {
        return false;
    }
    const std::uint64_t time = time_or(state, timestamp, record.now_ns());
    if (record.ended) {
        return warn_ended(state, kEndedMethod, "_add_event");
    }
    record.add_event(scratch->key.data(), scratch->key.size(), time, scratch->attributes, limits.events);
    return true;
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

constexpr std::uint8_t kUnset = 0;
constexpr std::uint8_t kOk = 1;
constexpr std::uint8_t kError = 2;

// The number of a StatusCode, -1 for anything else.
int status_number(ModuleState& state, PyObject* code) {
    for (int i = 0; i < 3; i++) {
        if (PyTuple_GET_ITEM(state.status_codes, i) == code) {
            return i;
        }
    }
    return -1;
}

void store_status(SpanRecord& record, int code, PyObject* description) {
    record.status = static_cast<std::uint8_t>(code);
    record.status_message.clear();
    record.has_status_message = description && description != Py_None;
    if (record.has_status_message && PyUnicode_Check(description)) {
        append_text(record.status_message, description);
    }
}

// The SDK's rules: OK is final, and UNSET is never set.
bool ignores(const SpanRecord& record, int code) { return record.status == kOk || code == kUnset; }

bool set_status_object(SpanObject* span, ModuleState& state, PyObject* status, PyObject* ignored_description) {
    SpanRecord& record = *span->record;
    Ref code(PyObject_GetAttr(status, state.s_status_code));
    Ref description(code ? PyObject_GetAttr(status, state.s_description) : nullptr);
    if (!description) {
        return absorb_error(state, "a status could not be read");
    }
    const int number = status_number(state, code.get());
    if (number < 0 || record.ended || ignores(record, number)) {
        return true;
    }
    store_status(record, number, description.get());
    if (ignored_description && ignored_description != Py_None) {
        Ref text(PyUnicode_FromString("Description %s ignored. Use either `Status` or `(StatusCode, Description)`"));
        Ref result(text ? PyObject_CallFunctionObjArgs(state.warn_span, text.get(), ignored_description, nullptr)
                        : nullptr);
        return result || absorb_error(state, "a warning could not be logged");
    }
    return true;
}

bool set_status(SpanObject* span, ModuleState& state, PyObject* status, PyObject* description) {
    SpanRecord& record = *span->record;
    const int code = status_number(state, status);
    if (code >= 0) {
        if (ignores(record, code)) {
            return true;
        }
        if (!description || description == Py_None || (code == kError && PyUnicode_CheckExact(description))) {
            store_status(record, code, description);
            return true;
        }
        // Status itself says what is wrong with the description.
        Ref made(PyObject_CallFunctionObjArgs(state.status_class, status, description, nullptr));
        return made ? set_status_object(span, state, made.get(), nullptr)
                    : absorb_error(state, "a status could not be set");
    }
    const int is_status = PyObject_IsInstance(status, state.status_class);
    if (is_status < 0) {
        return absorb_error(state, "a status could not be read");
    }
    return !is_status || set_status_object(span, state, status, description);
}

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

// str() of an exception; a fixed text, which traceback uses too, if its own code fails.
Ref exception_text(ModuleState& state, PyObject* exception) {
    Ref text(PyObject_Str(exception));
    if (!text && absorb_error(state, "the message of an exception could not be read")) {
        text = Ref(PyUnicode_FromString("<exception str() failed>"));
    }
    return text;
}

Ref exception_type(ModuleState& state, PyObject* exception) {
    auto* const type = reinterpret_cast<PyObject*>(Py_TYPE(exception));
    Ref module(PyObject_GetAttr(type, state.s_dunder_module));
    Ref name(module ? PyObject_GetAttr(type, state.s_dunder_qualname) : nullptr);
    if (!name) {
        if (!absorb_error(state, "the type of an exception could not be read")) {
            return Ref();
        }
        return Ref(PyUnicode_FromString(Py_TYPE(exception)->tp_name));
    }
    const bool plain = !PyUnicode_Check(module.get()) || PyUnicode_GET_LENGTH(module.get()) == 0 ||
                       PyUnicode_CompareWithASCIIString(module.get(), "builtins") == 0;
    return plain ? std::move(name) : Ref(PyUnicode_FromFormat("%S.%S", module.get(), name.get()));
}

Ref exception_stacktrace(ModuleState& state, PyObject* exception) {
    Ref text(PyObject_CallFunctionObjArgs(state.format_exception, exception, nullptr));
    if (!text && absorb_error(state, "the traceback of an exception could not be formatted")) {
        text = Ref(PyUnicode_FromString(""));
    }
    return text;
}

// The four attributes of an exception event, in the SDK's order; null with an error set.
Ref exception_attributes(ModuleState& state, PyObject* exception, PyObject* escaped) {
    Ref stacktrace = exception_stacktrace(state, exception);
    Ref type = stacktrace ? exception_type(state, exception) : Ref();
    Ref message = type ? exception_text(state, exception) : Ref();
    Ref escaped_text(message ? PyObject_Str(escaped ? escaped : Py_False) : nullptr);
    Ref attributes(escaped_text ? PyDict_New() : nullptr);
    if (!attributes || PyDict_SetItem(attributes.get(), state.k_exception_type, type.get()) < 0 ||
        PyDict_SetItem(attributes.get(), state.k_exception_message, message.get()) < 0 ||
        PyDict_SetItem(attributes.get(), state.k_exception_stacktrace, stacktrace.get()) < 0 ||
        PyDict_SetItem(attributes.get(), state.k_exception_escaped, escaped_text.get()) < 0) {
        return Ref();
    }
    return attributes;
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

std::uint64_t time_or(ModuleState& state, PyObject* time, std::uint64_t missing) {
    if (!time || time == Py_None) {
        return missing;
    }
    Ref number(PyLong_Check(time) ? new_ref(time) : PyFloat_Check(time) ? PyNumber_Long(time) : nullptr);
    if (!number && !PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "a time must be an int of nanoseconds, not %.200s", Py_TYPE(time)->tp_name);
    }
    const std::uint64_t value = number ? PyLong_AsUnsignedLongLong(number.get()) : 0;
    if (!PyErr_Occurred()) {
        return value;
    }
    // TypeError, ValueError or OverflowError: never one that has to go on.
    if (!absorb_error(state, "a time could not be used")) {
        PyErr_Clear();
    }
    return missing;
}

bool end_span(SpanObject* span, PyObject* end_time) {
    ModuleState& state = *span->tracer->state;
    SpanRecord& record = *span->record;
    if (record.ended) {
        return warn_ended(state, "Calling end() on an ended span.");
    }
    const std::uint64_t now = time_or(state, end_time, end_time && end_time != Py_None ? wall_ns() : record.now_ns());
    if (record.ended) {
        return true;
    }
    record.end_ns = now;
    record.ended = true;
    TracerObject* const tracer = span->tracer;
    // RECORD_ONLY spans are for span processors, not for export: as the SDK's BatchSpanProcessor.
    if (record.flags & 1) {
        const SpanQueue::Push pushed = tracer->queue->queue->push(record.finish(tracer->scope));
        if (pushed == SpanQueue::Push::kQueuedWake) {
            wake_consumer(tracer->queue);
        }
    }
    if (tracer->on_end) {
        Ref hook = Ref::borrow(tracer->on_end);
        Ref result(PyObject_CallFunctionObjArgs(hook.get(), reinterpret_cast<PyObject*>(span), nullptr));
        return result || absorb_error(state, "a span processor failed in on_end");
    }
    return true;
}

bool record_exception(SpanObject* span, PyObject* exception, PyObject* attributes, PyObject* timestamp,
                      PyObject* escaped) {
    ModuleState& state = *span->tracer->state;
    if (span->record->ended) {
        return warn_ended(state, kEndedMethod, "_add_event");
    }
    if (!PyExceptionInstance_Check(exception)) {
        PyErr_Format(PyExc_TypeError, "record_exception() needs an exception, not %.200s",
                     Py_TYPE(exception)->tp_name);
        return absorb_error(state, "an exception could not be recorded");
    }
    Ref own = exception_attributes(state, exception, escaped);
    if (!own) {
        return absorb_error(state, "an exception could not be recorded");
    }
    bool failed = false;
    if (truthy(state, attributes, failed) && PyDict_Update(own.get(), attributes) < 0 &&
        !absorb_error(state, "the attributes of an exception could not be read")) {
        return false;
    }
    return !failed && add_event(span, state, state.s_exception, own.get(), timestamp);
}

bool set_exception_status(SpanObject* span, PyObject* exception) {
    ModuleState& state = *span->tracer->state;
    if (ignores(*span->record, kError)) {
        return true;
    }
    Ref text = exception_text(state, exception);
    if (!text) {
        return absorb_error(state, "the message of an exception could not be read");
    }
    const char* const name = Py_TYPE(exception)->tp_name;
    const char* const dot = std::strrchr(name, '.');
    Ref description(PyUnicode_FromFormat("%s: %S", dot ? dot + 1 : name, text.get()));
    if (!description) {
        return absorb_error(state, "the message of an exception could not be read");
    }
    if (!span->record->ended && !ignores(*span->record, kError)) {
        store_status(*span->record, kError, description.get());
    }
    return true;
}

bool add_span_link(SpanObject* span, PyObject* context, PyObject* attributes) {
    ModuleState& state = *span->tracer->state;
    SpanRecord& record = *span->record;
    const Limits& limits = span->tracer->limits;
    if (!context || context == Py_None) {
        return true;
    }
    SpanContextFields fields;
    bool failed = false;
    if (!read_span_context(state, context, fields)) {
        return absorb_error(state, "a link could not be read");
    }
    const bool has_attributes = truthy(state, attributes, failed);
    // An invalid context is worth a link only if it says something all the same.
    if (!failed && !fields.valid && !has_attributes && !truthy(state, fields.trace_state.get(), failed)) {
        return !failed;
    }
    ScratchLease scratch(state);
    if (failed || !scratch.ok()) {
        return !failed && absorb_error(state, "a link could not be added");
    }
    scratch->attributes.reset(tag::kLinkAttribute);
    if (has_attributes &&
        !set_attributes(state, {scratch->attributes, limits.link_attributes, limits.value_length}, attributes)) {
        return false;
    }
    if (record.ended) {
        return warn_ended(state, kEndedMethod, "_add_link");
    }
    if (!span->link_contexts && !(span->link_contexts = PyList_New(0))) {
        return absorb_error(state, "a link could not be added");
    }
    if (PyList_Append(span->link_contexts, context) < 0) {
        return absorb_error(state, "a link could not be added");
    }
    record.add_link(fields.trace_id_high, fields.trace_id_low, fields.span_id, fields.remote, scratch->attributes,
                    limits.links);
    const auto excess = PyList_GET_SIZE(span->link_contexts) - static_cast<Py_ssize_t>(record.links.count());
    if (excess > 0 && PyList_SetSlice(span->link_contexts, 0, excess, nullptr) < 0) {
        return absorb_error(state, "a link could not be added");
    }
    return true;
}

PyTypeObject* create_span_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_spans
