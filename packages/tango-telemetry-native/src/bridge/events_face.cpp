// SPDX-License-Identifier: LGPL-3.0-or-later
#include "event_frame.h"
#include "events.h"
#include "python_face.h"

#include "../trace_id.h"

#include <string>
#include <string_view>

namespace py = pybind11;

namespace tango_telemetry {
namespace {

PyObject *to_span(const SpanNumbers &span) {
    PyObject *const trace_id = make_trace_id(span.trace_id_high, span.trace_id_low);
    return trace_id == nullptr ? nullptr : Py_BuildValue("NKi", trace_id, static_cast<unsigned long long>(span.span_id),
                                                         static_cast<int>(span.flags));
}

bool read_span(PyObject *const *arguments, SpanNumbers &span) {
    if(!read_trace_id(arguments[0], span.trace_id_high, span.trace_id_low)) {
        return false;
    }
    span.span_id = PyLong_AsUnsignedLongLong(arguments[1]);
    const long flags = PyErr_Occurred() == nullptr ? PyLong_AsLong(arguments[2]) : 0;
    span.flags = static_cast<std::uint8_t>(flags & 3);
    return PyErr_Occurred() == nullptr;
}

bool read_text(PyObject *argument, std::string_view &text) {
    Py_ssize_t size = 0;
    const char *const data = PyUnicode_AsUTF8AndSize(argument, &size);
    text = {data, static_cast<std::size_t>(size)};
    return data != nullptr;
}

bool has_count(const char *function, Py_ssize_t found, Py_ssize_t wanted) {
    if(found != wanted) {
        PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", function, wanted, found);
    }
    return found == wanted;
}

PyObject *set_outgoing(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    SpanNumbers span{};
    if(!has_count("event_set_outgoing", count, 3) || !read_span(arguments, span)) {
        return nullptr;
    }
    events::Outgoing &outgoing = events::outgoing();
    PyObject *const previous = outgoing.present ? to_span(outgoing.span) : (Py_INCREF(Py_None), Py_None);
    if(previous != nullptr) {
        outgoing = {true, span};
    }
    return previous;
}

PyObject *restore_outgoing(PyObject *, PyObject *previous) {
    events::Outgoing restored{};
    if(previous != Py_None) {
        restored.present = true;
        if(!PyTuple_Check(previous) || PyTuple_GET_SIZE(previous) != 3) {
            PyErr_SetString(PyExc_TypeError, "event_restore_outgoing() takes what event_set_outgoing() returned");
            return nullptr;
        }
        PyObject *const numbers[] = {PyTuple_GET_ITEM(previous, 0), PyTuple_GET_ITEM(previous, 1),
                                     PyTuple_GET_ITEM(previous, 2)};
        if(!read_span(numbers, restored.span)) {
            return nullptr;
        }
    }
    events::outgoing() = restored;
    Py_RETURN_NONE;
}

PyObject *leave_for_polling(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    std::string_view subject;
    SpanNumbers span{};
    if(!has_count("event_leave_for_polling", count, 4) || !read_text(arguments[0], subject) ||
       !read_span(arguments + 1, span)) {
        return nullptr;
    }
    events::leave_for_polling(subject.data(), subject.size(), span);
    Py_RETURN_NONE;
}

PyObject *forget_polling(PyObject *, PyObject *) {
    events::forget_polling();
    Py_RETURN_NONE;
}

PyObject *find_incoming(PyObject *, PyObject *const *arguments, Py_ssize_t count) {
    std::string_view subject;
    std::string_view type;
    if(!has_count("event_find_incoming", count, 4) || !read_text(arguments[0], subject) ||
       !read_text(arguments[1], type)) {
        return nullptr;
    }
    const long long microseconds = PyLong_AsLongLong(arguments[2]);
    const int elsewhere = PyErr_Occurred() == nullptr ? PyObject_IsTrue(arguments[3]) : -1;
    if(elsewhere < 0) {
        return nullptr;
    }
    SpanNumbers span{};
    if(!events::find_incoming(subject.data(), subject.size(), type.data(), type.size(), microseconds, elsewhere != 0,
                              span)) {
        Py_RETURN_NONE;
    }
    return to_span(span);
}

#define TANGO_TELEMETRY_FAST(function) reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)), METH_FASTCALL
PyMethodDef functions[] = {
    {"event_set_outgoing", TANGO_TELEMETRY_FAST(set_outgoing),
     "event_set_outgoing(trace_id, span_id, flags, /)\n--\n\nSee tango_telemetry_native.events."},
    {"event_restore_outgoing", restore_outgoing, METH_O,
     "event_restore_outgoing(previous, /)\n--\n\nSee tango_telemetry_native.events."},
    {"event_leave_for_polling", TANGO_TELEMETRY_FAST(leave_for_polling),
     "event_leave_for_polling(subject, trace_id, span_id, flags, /)\n--\n\nSee tango_telemetry_native.events."},
    {"event_forget_polling", forget_polling, METH_NOARGS,
     "event_forget_polling()\n--\n\nSee tango_telemetry_native.events."},
    {"event_find_incoming", TANGO_TELEMETRY_FAST(find_incoming),
     "event_find_incoming(subject, event_type, microseconds, elsewhere, /)\n--\n\nSee tango_telemetry_native.events."},
    {nullptr, nullptr, 0, nullptr},
};
#undef TANGO_TELEMETRY_FAST

py::dict event_status() {
    const events::Status status = events::status();
    py::dict counters;
    for(const auto &[name, value] : status.counters) {
        counters[name] = value;
    }
    py::dict result;
    result["installed"] = status.installed;
    result["enabled"] = status.enabled;
    result["reason"] = status.reason;
    result["counters"] = counters;
    return result;
}

} // namespace

void add_events(py::module_ &m) {
    m.attr("EVENT_FRAME_SIZE") = event_frame::size;
    m.def("event_install", &events::install, py::arg("path"));
    m.def("event_status", &event_status);
    m.def("event_release", &events::release);
    if(PyModule_AddFunctions(m.ptr(), functions) != 0) {
        throw py::error_already_set();
    }
    // For tests: one frame through the parser, and one made.
    m.def("event_decode", [](const py::bytes &frame) {
        const auto text = static_cast<std::string_view>(frame);
        SpanNumbers span{};
        const bool found =
            event_frame::decode(reinterpret_cast<const unsigned char *>(text.data()), text.size(), span);
        return found ? py::reinterpret_steal<py::object>(to_span(span)) : py::none();
    });
    m.def("event_encode", [](int byte_order, std::uint64_t high, std::uint64_t low, std::uint64_t span_id, int flags) {
        unsigned char frame[event_frame::size];
        const SpanNumbers span{high, low, span_id, static_cast<std::uint8_t>(flags & 3)};
        event_frame::encode(frame, static_cast<unsigned char>(byte_order), span);
        return py::bytes(reinterpret_cast<const char *>(frame), sizeof frame);
    });
}

} // namespace tango_telemetry
