// SPDX-License-Identifier: LGPL-3.0-or-later
#include "giop.h"
#include "python_face.h"

#include "../span_texts.h"
#include "../trace_id.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <string>

namespace py = pybind11;

namespace tango_telemetry {
namespace {

// Steals both references.
PyObject *to_tuple(PyObject *first, PyObject *second) {
    PyObject *tuple = first != nullptr && second != nullptr ? PyTuple_New(2) : nullptr;
    if(tuple == nullptr) {
        Py_XDECREF(first);
        Py_XDECREF(second);
        return nullptr;
    }
    PyTuple_SET_ITEM(tuple, 0, first);
    PyTuple_SET_ITEM(tuple, 1, second);
    return tuple;
}

struct Ascii {
    const char *data;
    std::size_t size;
};

// Anything but ASCII becomes a text that no validation accepts. Raises TypeError where it is no string at all.
bool to_ascii(PyObject *object, Ascii &text) {
    if(!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "a trace context is two strings, not %.100s", Py_TYPE(object)->tp_name);
        return false;
    }
#if PY_VERSION_HEX < 0x030C0000
    if(PyUnicode_READY(object) < 0) {
        return false;
    }
#endif
    if(PyUnicode_IS_ASCII(object)) { // compact or, as an instance of a subclass of str is, not
        text = {static_cast<const char *>(PyUnicode_DATA(object)), static_cast<std::size_t>(PyUnicode_GET_LENGTH(object))};
    } else {
        text = {"\x7f", 1};
    }
    return true;
}

PyObject *outgoing_to_python(const giop::Outgoing &outgoing) {
    switch(outgoing.state) {
    case giop::Outgoing::State::set: {
        const auto [parent, parent_size] = outgoing.traceparent();
        const auto [state, state_size] = outgoing.tracestate();
        return to_tuple(to_python(parent, parent_size), to_python(state, state_size));
    }
    case giop::Outgoing::State::none:
        return to_tuple(to_python("", 0), to_python("", 0));
    case giop::Outgoing::State::unset:
        break;
    }
    Py_RETURN_NONE;
}

PyObject *set_outgoing(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    if(count != 2) {
        PyErr_Format(PyExc_TypeError, "set_outgoing() takes 2 arguments (%zd given)", count);
        return nullptr;
    }
    Ascii parent{};
    Ascii state{};
    if(!to_ascii(arguments[0], parent) || !to_ascii(arguments[1], state)) {
        return nullptr;
    }
    giop::keep_installed();
    giop::Outgoing &outgoing = giop::this_thread().outgoing;
    PyObject *previous = outgoing_to_python(outgoing);
    if(previous != nullptr) {
        giop::set_outgoing(outgoing, parent.data, parent.size, state.data, state.size);
    }
    return previous;
}

void set_texts(giop::Outgoing &outgoing, const SpanTexts &texts) {
    giop::set_outgoing(outgoing, texts.parent, sizeof texts.parent, texts.entry, sizeof texts.entry);
}

// Numbers instead of strings: formatting them in Python takes longer than everything else here together.
PyObject *set_outgoing_span(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    if(count != 3) {
        PyErr_Format(PyExc_TypeError, "set_outgoing_span() takes 3 arguments (%zd given)", count);
        return nullptr;
    }
    SpanNumbers span{};
    if(!read_trace_id(arguments[0], span.trace_id_high, span.trace_id_low)) {
        return nullptr;
    }
    span.span_id = PyLong_AsUnsignedLongLong(arguments[1]);
    const long flags = PyErr_Occurred() == nullptr ? PyLong_AsLong(arguments[2]) : 0;
    if(PyErr_Occurred() != nullptr) {
        return nullptr;
    }
    span.flags = static_cast<std::uint8_t>(flags & 3);
    const SpanTexts texts(span);
    giop::keep_installed();
    giop::Outgoing &outgoing = giop::this_thread().outgoing;
    PyObject *previous = outgoing_to_python(outgoing);
    if(previous != nullptr) {
        set_texts(outgoing, texts);
    }
    return previous;
}

PyObject *restore_outgoing(PyObject *, PyObject *previous) {
    giop::Outgoing &outgoing = giop::this_thread().outgoing;
    if(previous == Py_None) {
        outgoing.state = giop::Outgoing::State::unset;
        Py_RETURN_NONE;
    }
    Ascii parent{};
    Ascii state{};
    if(!PyTuple_Check(previous) || PyTuple_GET_SIZE(previous) != 2) {
        PyErr_SetString(PyExc_TypeError, "restore_outgoing() takes what set_outgoing() returned");
        return nullptr;
    }
    if(!to_ascii(PyTuple_GET_ITEM(previous, 0), parent) || !to_ascii(PyTuple_GET_ITEM(previous, 1), state)) {
        return nullptr;
    }
    giop::set_outgoing(outgoing, parent.data, parent.size, state.data, state.size);
    Py_RETURN_NONE;
}

// A call into the same process runs on the caller's thread and passes no interceptor. That one is under way shows in
// the outgoing context, which is only set while a call is: then the incoming context is what the caller set.
PyObject *get_incoming(PyObject *, PyObject *) {
    giop::keep_installed();
    const giop::ThreadState &thread = giop::this_thread();
    switch(thread.outgoing.state) {
    case giop::Outgoing::State::set:
        return outgoing_to_python(thread.outgoing);
    case giop::Outgoing::State::none:
        Py_RETURN_NONE;
    case giop::Outgoing::State::unset:
        break;
    }
    if(!thread.incoming.present) {
        Py_RETURN_NONE;
    }
    const wire::TraceContext &context = thread.incoming.context;
    return to_tuple(to_python(context.traceparent, wire::traceparent_size),
                    to_python(context.tracestate, context.tracestate_size));
}

// The common case, a context of our own making: version 00, and a tracestate that is our entry for the same span.
// Everything else is judged in Python, from the strings.
bool read_one_span(const wire::TraceContext &context, SpanNumbers &span) {
    SpanNumbers named{};
    return read_parent(context.traceparent, wire::traceparent_size, span) &&
           read_entry(context.tracestate, context.tracestate_size, named) && named.span_id == span.span_id &&
           named.flags == span.flags;
}

int set_span(const SpanNumbers &span) noexcept {
    giop::keep_installed();
    giop::Outgoing &outgoing = giop::this_thread().outgoing;
    if(outgoing.state == giop::Outgoing::State::set) {
        return GiopFunctions::busy;
    }
    const auto previous = static_cast<int>(outgoing.state);
    set_texts(outgoing, SpanTexts(span));
    return previous;
}

void restore(int previous) noexcept { giop::this_thread().outgoing.state = static_cast<giop::Outgoing::State>(previous); }

bool get_span(SpanNumbers &span) noexcept {
    const giop::ThreadState &thread = giop::this_thread();
    if(thread.outgoing.state != giop::Outgoing::State::unset || !thread.incoming.present ||
       !read_one_span(thread.incoming.context, span)) {
        return false;
    }
    giop::keep_installed();
    span.flags &= 3;
    return true;
}

const GiopFunctions giop_functions{set_span, restore, get_span};

PyObject *get_incoming_span(PyObject *, PyObject *) {
    SpanNumbers span;
    if(!get_span(span)) {
        return get_incoming(nullptr, nullptr);
    }
    PyObject *trace_id = make_trace_id(span.trace_id_high, span.trace_id_low);
    PyObject *span_id = PyLong_FromUnsignedLongLong(span.span_id);
    PyObject *flags = PyLong_FromLong(span.flags);
    PyObject *found = trace_id != nullptr && span_id != nullptr && flags != nullptr ? PyTuple_New(3) : nullptr;
    if(found == nullptr) {
        Py_XDECREF(trace_id);
        Py_XDECREF(span_id);
        Py_XDECREF(flags);
        return nullptr;
    }
    PyTuple_SET_ITEM(found, 0, trace_id);
    PyTuple_SET_ITEM(found, 1, span_id);
    PyTuple_SET_ITEM(found, 2, flags);
    return found;
}

py::dict giop_status() {
    const giop::Status status = giop::status();
    py::dict counters;
    for(const auto &[name, value] : status.counters) {
        counters[name] = value;
    }
    py::dict result;
    result["installed"] = status.installed;
    result["client"] = status.client;
    result["server"] = status.server;
    result["asynchronous"] = status.asynchronous;
    result["reason"] = status.reason;
    result["library"] = status.library;
    result["version"] = status.version;
    result["counters"] = counters;
    return result;
}

// For tests: one payload through the parser, as an interceptor would hand it in.
py::object giop_parse(const py::bytes &payload) {
    char *data = nullptr;
    Py_ssize_t size = 0;
    if(PyBytes_AsStringAndSize(payload.ptr(), &data, &size) != 0) {
        throw py::error_already_set();
    }
    wire::TraceContext context{};
    const auto verdict =
        wire::parse(reinterpret_cast<const unsigned char *>(data), static_cast<std::size_t>(size), context);
    if(verdict != wire::Verdict::ok && verdict != wire::Verdict::tracestate_dropped) {
        return py::none();
    }
    return py::reinterpret_steal<py::object>(to_tuple(to_python(context.traceparent, wire::traceparent_size),
                                                      to_python(context.tracestate, context.tracestate_size)));
}

py::object giop_encode(const std::string &traceparent, const std::string &tracestate) {
    unsigned char payload[wire::max_encoded_size];
    const std::size_t size =
        wire::encode(payload, traceparent.data(), traceparent.size(), tracestate.data(), tracestate.size());
    if(size == 0) {
        return py::none();
    }
    return py::bytes(reinterpret_cast<const char *>(payload), size);
}

PyMethodDef hot_functions[] = {
    {"set_outgoing", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(set_outgoing)), METH_FASTCALL,
     "set_outgoing(traceparent, tracestate, /)\n--\n\nSee tango_telemetry_native.giop."},
    {"set_outgoing_span", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(set_outgoing_span)), METH_FASTCALL,
     "set_outgoing_span(trace_id, span_id, flags, /)\n--\n\nSee tango_telemetry_native.giop."},
    {"get_incoming_span", get_incoming_span, METH_NOARGS,
     "get_incoming_span()\n--\n\nSee tango_telemetry_native.giop."},
    {"restore_outgoing", restore_outgoing, METH_O,
     "restore_outgoing(previous, /)\n--\n\nSee tango_telemetry_native.giop."},
    {"get_incoming", get_incoming, METH_NOARGS, "get_incoming()\n--\n\nSee tango_telemetry_native.giop."},
    {nullptr, nullptr, 0, nullptr},
};

} // namespace

void add_giop(py::module_ &m) {
    m.attr("GIOP_CONTEXT_ID") = wire::context_id;
    m.attr("MAX_TRACESTATE_SIZE") = wire::max_tracestate_size;
    m.attr("giop_functions") = py::capsule(static_cast<const void *>(&giop_functions), GiopFunctions::name);
    if(PyModule_AddFunctions(m.ptr(), hot_functions) != 0) {
        throw py::error_already_set();
    }
    m.def("giop_install", &giop::install, py::arg("path"));
    m.def("giop_status", &giop_status);
    m.def("giop_parse", &giop_parse, py::arg("payload"));
    m.def("giop_encode", &giop_encode, py::arg("traceparent"), py::arg("tracestate"));
}

} // namespace tango_telemetry
