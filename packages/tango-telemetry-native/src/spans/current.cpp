// SPDX-License-Identifier: LGPL-3.0-or-later
#include "current.h"

#include <utility>

namespace tango_telemetry {
namespace {

bool detach(ModuleState& state, PyObject* token) {
    if (!state.configured) {
        return true;  // the module is being taken apart, and the interpreter with it
    }
    if (state.context_variable != Py_None) {
        if (PyContextVar_Reset(state.context_variable, token) == 0) {
            return true;
        }
        PyErr_Clear();  // left in another context than it was entered in: let the API say so in the log
    }
    Ref result(PyObject_CallFunctionObjArgs(state.detach, token, nullptr));
    return static_cast<bool>(result);
}

PyObject* attach(ModuleState& state, PyObject* context) {
    if (state.context_variable != Py_None) {
        return PyContextVar_Set(state.context_variable, context);
    }
    return PyObject_CallFunctionObjArgs(state.attach, context, nullptr);
}

bool enter_all(ModuleState& state, Current& current, PyObject* const* pairs, Py_ssize_t count) {
    current.token = attach(state, current.context);
    if (!current.token) {
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject* const token = PyContextVar_Set(pairs[2 * i], pairs[2 * i + 1]);
        if (!token) {
            return false;
        }
        current.variables[i] = new_ref(pairs[2 * i]);
        current.tokens[i] = token;
    }
    return true;
}

// Gives the context variables what they had before; false with the last error set.
bool reset_all(Current& current) {
    bool good = true;
    for (int i = kMaxVariables - 1; i >= 0; i--) {
        Ref variable(std::exchange(current.variables[i], nullptr));
        Ref token(std::exchange(current.tokens[i], nullptr));
        if (token && PyContextVar_Reset(variable.get(), token.get()) < 0) {
            good = false;
        }
    }
    return good;
}

}  // namespace

Ref get_current_context(ModuleState& state, bool& failed) {
    PyObject* value = nullptr;
    failed = PyContextVar_Get(state.context_variable, nullptr, &value) < 0;
    return Ref(value);
}

// Context refuses changes by its own methods; here it is still being made.
Ref context_with(ModuleState& state, PyObject* span, PyObject* context) {
    auto* const type = reinterpret_cast<PyTypeObject*>(state.context_class);
    if (state.context_variable == Py_None || (context && Py_TYPE(context) != type)) {
        return Ref(PyObject_CallFunctionObjArgs(state.set_span_in_context, span, context, nullptr));
    }
    Ref made(PyDict_Type.tp_new(type, state.empty_tuple, nullptr));
    if (!made || (context && PyDict_GET_SIZE(context) && PyDict_Update(made.get(), context) < 0) ||
        PyDict_SetItem(made.get(), state.span_key, span) < 0) {
        return Ref();
    }
    return made;
}

bool enter_current(ModuleState& state, Current& current, PyObject* const* pairs, Py_ssize_t count) {
    if (enter_all(state, current, pairs, count)) {
        return true;
    }
    PendingError pending;
    leave_current(state, current);
    return false;
}

bool leave_current(ModuleState& state, Current& current) {
    bool good = reset_all(current);
    if (Ref token(std::exchange(current.token, nullptr)); token && good) {
        good = detach(state, token.get());
    } else if (token) {
        PendingError first;  // what went wrong first is told; the rest is taken back all the same
        detach(state, token.get());
    }
    return good;
}

bool is_still_current(ModuleState& state, const Current& current) {
    if (!current.token || !state.configured || !state.context_variable || state.context_variable == Py_None) {
        return false;
    }
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    bool failed;
    Ref here = get_current_context(state, failed);
    if (failed) {
        PyErr_Clear();
    }
    PyErr_Restore(kind, value, traceback);
    return here && here.get() == current.context;
}

void drop_current(ModuleState& state, Current& current) {
    if (!is_still_current(state, current)) {
        return;
    }
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    if (!reset_all(current) || PyContextVar_Reset(state.context_variable, current.token) < 0) {
        PyErr_Clear();  // the same context in a copy of what it was entered in: whoever made the copy has it
    }
    Py_CLEAR(current.token);
    PyErr_Restore(kind, value, traceback);
}

int traverse_current(const Current& current, visitproc visit, void* arg) {
    Py_VISIT(current.context);
    Py_VISIT(current.token);
    for (int i = 0; i < kMaxVariables; i++) {
        Py_VISIT(current.variables[i]);
        Py_VISIT(current.tokens[i]);
    }
    return 0;
}

void clear_current(Current& current) {
    Py_CLEAR(current.context);
    Py_CLEAR(current.token);
    for (int i = 0; i < kMaxVariables; i++) {
        Py_CLEAR(current.variables[i]);
        Py_CLEAR(current.tokens[i]);
    }
}

}  // namespace tango_telemetry
