// SPDX-License-Identifier: LGPL-3.0-or-later
// What can be done to a recording span, by the rules of opentelemetry.sdk.trace.Span.
#include "span_operations.h"

#include "core/clock.h"
#include "values.h"

namespace tango_telemetry {
namespace {

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

}  // namespace

bool truthy(ModuleState& state, PyObject* object, bool& failed) {
    if (!object || object == Py_None) {
        return false;
    }
    if (PyDict_CheckExact(object)) {
        return PyDict_GET_SIZE(object) > 0;
    }
    const int truth = PyObject_IsTrue(object);
    if (truth < 0) {
        failed = !absorb_error(state, "attributes or links could not be read");
        return false;
    }
    return truth != 0;
}

bool read_flag(ModuleState& state, PyObject* object, bool missing, bool& flag) {
    const int truth = object ? PyObject_IsTrue(object) : missing;
    flag = truth < 0 ? missing : truth != 0;
    return truth >= 0 || absorb_error(state, "a flag could not be read");
}

bool warn_ended(ModuleState& state, const char* text, const char* method) {
    Ref format(PyUnicode_FromString(text));
    Ref name(method ? PyUnicode_FromString(method) : nullptr);
    Ref result;
    if (format && (name || !method)) {
        result = Ref(PyObject_CallFunctionObjArgs(state.warn_span, format.get(), name.get(), nullptr));
    }
    return result || absorb_error(state, "a warning could not be logged");
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

std::uint64_t time_or(ModuleState& state, PyObject* time, std::uint64_t missing) {
    if (!time || time == Py_None) {
        return missing;
    }
    // Not PyNumber_Long: the __int__ of a subclass of float is user code.
    Ref number(PyLong_Check(time)    ? new_ref(time)
               : PyFloat_Check(time) ? PyLong_FromDouble(PyFloat_AS_DOUBLE(time))
                                     : nullptr);
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
    unlink_open_span(state, span);
    TracerObject* const tracer = span->tracer;
    // RECORD_ONLY spans are for span processors, not for export: as the SDK's BatchSpanProcessor. With a bound of new traces
    // those that failed are kept.
    if (record.flags & 1 || (tracer->new_traces && record.status == kError)) {
        const SpanQueue::Push pushed = tracer->queue->queue->push(record.finish(tracer->scope));
        if (pushed == SpanQueue::Push::kQueuedWake && !wake_consumer(tracer->queue)) {
            return false;
        }
    }
    if (tracer->on_end) {
        Ref hook = Ref::borrow(tracer->on_end);
        Ref result(PyObject_CallFunctionObjArgs(hook.get(), reinterpret_cast<PyObject*>(span), nullptr));
        return result || absorb_error(state, "a span processor failed in on_end");
    }
    return true;
}

void link_open_span(ModuleState& state, SpanObject* span) {
    span->older = state.newest_open_span;
    if (span->older) {
        span->older->newer = span;
    }
    state.newest_open_span = span;
}

void unlink_open_span(ModuleState& state, SpanObject* span) {
    if (state.newest_open_span == span) {
        state.newest_open_span = span->older;
    }
    if (span->newer) {
        span->newer->older = span->older;
    }
    if (span->older) {
        span->older->newer = span->newer;
    }
    span->older = span->newer = nullptr;
}

PyObject* open_spans(PyObject* module, PyObject* most) {
    const long long limit = PyLong_AsLongLong(most);
    if (limit == -1 && PyErr_Occurred()) {
        return nullptr;
    }
    const auto& state = *static_cast<ModuleState*>(PyModule_GetState(module));
    Ref found(PyList_New(0));
    SpanObject* span = found ? state.newest_open_span : nullptr;
    for (; span && PyList_GET_SIZE(found.get()) < limit; span = span->older) {
        if (PyList_Append(found.get(), reinterpret_cast<PyObject*>(span)) < 0) {
            return nullptr;
        }
    }
    return found.release();
}

PyObject* forget_open_spans(PyObject* module, PyObject*) {
    auto& state = *static_cast<ModuleState*>(PyModule_GetState(module));
    while (state.newest_open_span) {
        unlink_open_span(state, state.newest_open_span);
    }
    Py_RETURN_NONE;
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
    Ref name(PyObject_GetAttr(reinterpret_cast<PyObject*>(Py_TYPE(exception)), state.s_dunder_name));
    Ref text = name ? exception_text(state, exception) : Ref();
    Ref description(text ? PyUnicode_FromFormat("%S: %S", name.get(), text.get()) : nullptr);
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

}  // namespace tango_telemetry
