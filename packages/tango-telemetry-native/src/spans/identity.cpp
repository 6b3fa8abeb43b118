// SPDX-License-Identifier: LGPL-3.0-or-later
#include "identity.h"

#include "text.h"

namespace tango_telemetry {

void clear_identity(Identity& identity) {
    Py_CLEAR(identity.trace_state);
    Py_CLEAR(identity.context);
}

int traverse_identity(const Identity& identity, visitproc visit, void* arg) {
    Py_VISIT(identity.trace_state);
    Py_VISIT(identity.context);
    return 0;
}

bool read_span_id(PyObject* number, std::uint64_t& id) {
    if (!PyLong_Check(number)) {
        PyErr_SetString(PyExc_TypeError, "a span id must be an int");
        return false;
    }
    id = PyLong_AsUnsignedLongLong(number);
    return !(id == static_cast<std::uint64_t>(-1) && PyErr_Occurred());
}

PyObject* make_span_context(ModuleState& state, std::uint64_t high, std::uint64_t low, std::uint64_t span_id,
                            bool remote, std::uint8_t flags, PyObject* trace_state) {
    Ref trace_number(make_trace_id(high, low));
    Ref span_number(PyLong_FromUnsignedLongLong(span_id));
    if (!trace_number || !span_number) {
        return nullptr;
    }
    PyObject* const remote_object = remote ? Py_True : Py_False;
    PyObject* const flags_object = PyTuple_GET_ITEM(state.trace_flags, flags);
    PyObject* const trace_state_object = trace_state ? trace_state : state.default_trace_state;
    if (!state.span_context_is_tuple) {
        return PyObject_CallFunctionObjArgs(state.span_context_class, trace_number.get(), span_number.get(),
                                            remote_object, flags_object, trace_state_object, nullptr);
    }
    const bool valid = (high || low) && span_id;
    Ref fields(PyTuple_Pack(6, trace_number.get(), span_number.get(), remote_object, flags_object,
                            trace_state_object, valid ? Py_True : Py_False));
    if (!fields) {
        return nullptr;
    }
    Ref arguments(PyTuple_Pack(1, fields.get()));
    if (!arguments) {
        return nullptr;
    }
    // tuple.__new__(SpanContext, fields): what SpanContext.__new__ ends with.
    return PyTuple_Type.tp_new(reinterpret_cast<PyTypeObject*>(state.span_context_class), arguments.get(), nullptr);
}

PyObject* span_context_of(ModuleState& state, Identity& identity) {
    if (!identity.context) {
        PyObject* const context = make_span_context(state, identity.trace_id_high, identity.trace_id_low,
                                                    identity.span_id, false, identity.flags, identity.trace_state);
        if (!context) {
            return nullptr;
        }
        if (identity.context) {
            Py_DECREF(context);  // the call above ran Python code that made it first
        } else {
            identity.context = context;
        }
    }
    return new_ref(identity.context);
}

namespace {

bool read_flags(PyObject* flags, std::uint8_t& out) {
    const long number = PyLong_AsLong(flags);
    if (number == -1 && PyErr_Occurred()) {
        return false;
    }
    out = static_cast<std::uint8_t>(number & 0xFF);
    return true;
}

bool read_by_name(ModuleState& state, PyObject* context, SpanContextFields& fields) {
    Ref trace_id(PyObject_GetAttr(context, state.s_trace_id));
    Ref span_id(trace_id ? PyObject_GetAttr(context, state.s_span_id) : nullptr);
    Ref remote(span_id ? PyObject_GetAttr(context, state.s_is_remote) : nullptr);
    Ref flags(remote ? PyObject_GetAttrString(context, "trace_flags") : nullptr);
    Ref valid(flags ? PyObject_GetAttr(context, state.s_is_valid) : nullptr);
    fields.trace_state = Ref(valid ? PyObject_GetAttr(context, state.s_trace_state) : nullptr);
    if (!fields.trace_state) {
        return false;
    }
    const int is_valid = PyObject_IsTrue(valid.get());
    const int is_remote = PyObject_IsTrue(remote.get());
    if (is_valid < 0 || is_remote < 0) {
        return false;
    }
    fields.valid = is_valid;
    fields.remote = is_remote;
    return read_trace_id(trace_id.get(), fields.trace_id_high, fields.trace_id_low) &&
           read_span_id(span_id.get(), fields.span_id) && read_flags(flags.get(), fields.flags);
}

}  // namespace

bool read_span_context(ModuleState& state, PyObject* context, SpanContextFields& fields) {
    if (!PyObject_TypeCheck(context, reinterpret_cast<PyTypeObject*>(state.span_context_class))) {
        PyErr_SetString(PyExc_TypeError, "parent_span_context must be a SpanContext or None.");
        return false;
    }
    if (!state.span_context_is_tuple || !PyTuple_Check(context) || PyTuple_GET_SIZE(context) != 6) {
        return read_by_name(state, context, fields);
    }
    const int remote = PyObject_IsTrue(PyTuple_GET_ITEM(context, 2));
    if (remote < 0) {
        return false;
    }
    fields.remote = remote;
    fields.valid = PyTuple_GET_ITEM(context, 5) == Py_True;
    fields.trace_state = Ref::borrow(PyTuple_GET_ITEM(context, 4));
    return read_trace_id(PyTuple_GET_ITEM(context, 0), fields.trace_id_high, fields.trace_id_low) &&
           read_span_id(PyTuple_GET_ITEM(context, 1), fields.span_id) &&
           read_flags(PyTuple_GET_ITEM(context, 3), fields.flags);
}

bool append_trace_state(ModuleState& state, PyObject* trace_state, Buffer& out) {
    if (!trace_state || trace_state == state.default_trace_state || trace_state == Py_None) {
        return true;
    }
    Ref header(PyObject_CallMethodNoArgs(trace_state, state.s_to_header));
    return header && append_any_text(out, header.get());
}

}  // namespace tango_telemetry
