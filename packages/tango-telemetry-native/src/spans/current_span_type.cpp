// SPDX-License-Identifier: LGPL-3.0-or-later
// A span made current together with context variables of the caller's: what two instrumentations do at each call.
//
// The same in Python (tango_telemetry._current.CurrentSpan) is six calls into opentelemetry.context and contextvars.
// Between remote calls, with cold caches, those take 5 microseconds and this 1.5.
#include "arguments.h"
#include "objects.h"

namespace tango_spans {
namespace {

constexpr int max_variables = 2;

struct CurrentSpanObject {
    PyObject_HEAD
    PyObject* module;  // keeps the state alive
    PyObject* context;
    PyObject* token;  // null once it was left
    PyObject* variables[max_variables];
    PyObject* tokens[max_variables];
};

CurrentSpanObject* as_current_span(PyObject* object) { return reinterpret_cast<CurrentSpanObject*>(object); }

ModuleState& state_of(CurrentSpanObject* self) { return *static_cast<ModuleState*>(PyModule_GetState(self->module)); }

bool detach(ModuleState& state, PyObject* token) {
    if (state.context_variable != Py_None) {
        if (PyContextVar_Reset(state.context_variable, token) == 0) {
            return true;
        }
        PyErr_Clear();  // left in another context than it was entered in: let the API say so in the log
    }
    Ref result(PyObject_CallFunctionObjArgs(state.detach, token, nullptr));
    return static_cast<bool>(result);
}

// Takes everything back, also where one step fails; false with the last error set.
bool leave_all(CurrentSpanObject* self) {
    bool good = true;
    for (int i = max_variables - 1; i >= 0; i--) {
        Ref variable(std::exchange(self->variables[i], nullptr));
        Ref token(std::exchange(self->tokens[i], nullptr));
        if (token && PyContextVar_Reset(variable.get(), token.get()) < 0) {
            good = false;
        }
    }
    Ref token(std::exchange(self->token, nullptr));
    if (!token) {
        return good;
    }
    PyObject *type = nullptr, *value = nullptr, *traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    if (!detach(state_of(self), token.get())) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        return false;
    }
    PyErr_Restore(type, value, traceback);
    return good;
}

PyObject* leave(PyObject* self, PyObject*) {
    if (!leave_all(as_current_span(self))) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* get_context(PyObject* self, void*) { return new_ref(as_current_span(self)->context); }

int traverse(PyObject* self, visitproc visit, void* arg) {
    CurrentSpanObject* const current = as_current_span(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(current->module);
    Py_VISIT(current->context);
    Py_VISIT(current->token);
    for (int i = 0; i < max_variables; i++) {
        Py_VISIT(current->variables[i]);
        Py_VISIT(current->tokens[i]);
    }
    return 0;
}

int clear(PyObject* self) {
    CurrentSpanObject* const current = as_current_span(self);
    Py_CLEAR(current->context);
    Py_CLEAR(current->token);
    for (int i = 0; i < max_variables; i++) {
        Py_CLEAR(current->variables[i]);
        Py_CLEAR(current->tokens[i]);
    }
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    Py_CLEAR(as_current_span(self)->module);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
    PyErr_Format(PyExc_TypeError, "%s is made by make_current", type->tp_name);
    return nullptr;
}

// Context({**context, span_key: span}). Context refuses changes by its own methods; here it is still being made.
Ref context_with(ModuleState& state, PyObject* span, PyObject* context) {
    auto* const type = reinterpret_cast<PyTypeObject*>(state.context_class);
    if (state.context_variable == Py_None || Py_TYPE(context) != type) {
        return Ref(PyObject_CallFunctionObjArgs(state.set_span_in_context, span, context, nullptr));
    }
    Ref made(PyDict_Type.tp_new(type, state.empty_tuple, nullptr));
    if (!made || (PyDict_GET_SIZE(context) && PyDict_Update(made.get(), context) < 0) ||
        PyDict_SetItem(made.get(), state.span_key, span) < 0) {
        return Ref();
    }
    return made;
}

PyObject* attach(ModuleState& state, PyObject* context) {
    if (state.context_variable != Py_None) {
        return PyContextVar_Set(state.context_variable, context);
    }
    return PyObject_CallFunctionObjArgs(state.attach, context, nullptr);
}

bool enter_all(CurrentSpanObject* self, PyObject* const* pairs, Py_ssize_t count) {
    self->token = attach(state_of(self), self->context);
    if (!self->token) {
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject* const token = PyContextVar_Set(pairs[2 * i], pairs[2 * i + 1]);
        if (!token) {
            return false;
        }
        self->variables[i] = new_ref(pairs[2 * i]);
        self->tokens[i] = token;
    }
    return true;
}

PyMethodDef methods[] = {
    {"leave", leave, METH_NOARGS, "Make what was current before current again. Does nothing the second time."},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"context", get_context, nullptr, "OpenTelemetry's context with the span as the current one.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("A span that was made current, and what was current before; made by make_current.")},
    {Py_tp_new, reinterpret_cast<void*>(refuse_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.CurrentSpan", sizeof(CurrentSpanObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyObject* make_current(PyObject* module, PyObject* const* args, Py_ssize_t count) {
    auto& state = *static_cast<ModuleState*>(PyModule_GetState(module));
    if (!state.configured) {
        PyErr_SetString(PyExc_RuntimeError, "make_current() needs tango_telemetry_native.spans");
        return nullptr;
    }
    if (count < 2 || count % 2 || (count - 2) / 2 > max_variables) {
        PyErr_Format(PyExc_TypeError, "make_current() takes a span, a context and up to %d pairs of a context variable "
                                      "and its value", max_variables);
        return nullptr;
    }
    Ref context = context_with(state, args[0], args[1]);
    if (!context) {
        return nullptr;
    }
    PyTypeObject* const type = state.current_span_type;
    Ref made(type->tp_alloc(type, 0));
    if (!made) {
        return nullptr;
    }
    CurrentSpanObject* const self = as_current_span(made.get());
    self->module = new_ref(module);
    self->context = context.release();
    if (!enter_all(self, args + 2, (count - 2) / 2)) {
        PyObject *kind = nullptr, *value = nullptr, *traceback = nullptr;
        PyErr_Fetch(&kind, &value, &traceback);
        if (!leave_all(self)) {
            PyErr_Clear();
        }
        PyErr_Restore(kind, value, traceback);
        return nullptr;
    }
    return made.release();
}

PyTypeObject* create_current_span_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_spans
