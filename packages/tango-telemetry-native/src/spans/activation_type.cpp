// SPDX-License-Identifier: LGPL-3.0-or-later
// Activation: what start_as_current_span gives, with the meaning of opentelemetry.trace.use_span.
#include "arguments.h"
#include "objects.h"
#include "span_operations.h"

namespace tango_telemetry {
namespace {

struct ActivationObject {
    PyObject_HEAD
    TracerObject* tracer;
    PyObject* arguments[kStartArguments];
    PyObject* span;   // while it is entered
    PyObject* token;  // to detach with
    bool is_entering;  // attributes of the span may be user code, which may try to enter this again
};

ActivationObject* as_activation(PyObject* object) { return reinterpret_cast<ActivationObject*>(object); }

// Context({**current, span_key: span}). Context refuses changes by its own methods; here it is still being made.
Ref context_with(ModuleState& state, PyObject* span) {
    PyObject* found = nullptr;
    if (PyContextVar_Get(state.context_variable, nullptr, &found) < 0) {
        return Ref();
    }
    Ref current(found ? found : new_ref(state.empty_context));
    auto* const type = reinterpret_cast<PyTypeObject*>(state.context_class);
    if (Py_TYPE(current.get()) != type) {
        return Ref(PyObject_CallFunctionObjArgs(state.set_span_in_context, span, nullptr));
    }
    Ref context(PyDict_Type.tp_new(type, state.empty_tuple, nullptr));
    if (!context || (PyDict_GET_SIZE(current.get()) && PyDict_Update(context.get(), current.get()) < 0) ||
        PyDict_SetItem(context.get(), state.span_key, span) < 0) {
        return Ref();
    }
    return context;
}

PyObject* attach(ModuleState& state, PyObject* span) {
    if (state.context_variable != Py_None) {
        Ref context = context_with(state, span);
        return context ? PyContextVar_Set(state.context_variable, context.get()) : nullptr;
    }
    Ref context(PyObject_CallFunctionObjArgs(state.set_span_in_context, span, nullptr));
    return context ? PyObject_CallFunctionObjArgs(state.attach, context.get(), nullptr) : nullptr;
}

bool detach(ModuleState& state, PyObject* token) {
    if (state.context_variable != Py_None) {
        if (PyContextVar_Reset(state.context_variable, token) == 0) {
            return true;
        }
        PyErr_Clear();  // left in another context than it was entered in: let the API say so in the log
    }
    Ref result(PyObject_CallFunctionObjArgs(state.detach, token, nullptr));
    return result || absorb_error(state, "a context could not be detached");
}

PyObject* activation_enter(PyObject* self, PyObject*) {
    ActivationObject* const activation = as_activation(self);
    if (activation->span || activation->is_entering) {
        PyErr_SetString(PyExc_RuntimeError, "a span can be entered once at a time");
        return nullptr;
    }
    activation->is_entering = true;
    Ref span(start_span(activation->tracer, activation->arguments));
    PyObject* const token = span ? attach(*activation->tracer->state, span.get()) : nullptr;
    activation->is_entering = false;
    if (!token) {
        return nullptr;
    }
    activation->token = token;
    activation->span = new_ref(span.get());
    return span.release();
}

bool note_exception(ActivationObject* activation, SpanObject* span, PyObject* exception) {
    // Only what inherits Exception: GeneratorExit and its like are no errors, as in use_span.
    if (span->record->ended || !PyObject_TypeCheck(exception, reinterpret_cast<PyTypeObject*>(PyExc_Exception))) {
        return true;
    }
    ModuleState& state = *activation->tracer->state;
    bool records, sets_status;
    return read_flag(state, activation->arguments[kStartRecordException], true, records) &&
           (!records || record_exception(span, exception, nullptr, nullptr, Py_False)) &&
           read_flag(state, activation->arguments[kStartSetStatus], true, sets_status) &&
           (!sets_status || set_exception_status(span, exception));
}

PyObject* activation_exit(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    ActivationObject* const activation = as_activation(self);
    if (!activation->span || !activation->tracer->state->configured) {
        Py_RETURN_FALSE;
    }
    ModuleState& state = *activation->tracer->state;
    Ref span(std::exchange(activation->span, nullptr));
    Ref token(std::exchange(activation->token, nullptr));
    if (!detach(state, token.get())) {
        return nullptr;
    }
    if (!PyObject_TypeCheck(span.get(), state.span_base)) {
        Py_RETURN_FALSE;  // not recorded: there is nothing to end
    }
    auto* const recorded = reinterpret_cast<SpanObject*>(span.get());
    PyObject* const exception = count >= 2 ? value_or_null(args[1]) : nullptr;
    if (exception && !note_exception(activation, recorded, exception)) {
        return nullptr;
    }
    bool ends;
    if (!read_flag(state, activation->arguments[kStartEndOnExit], true, ends) || (ends && !end_span(recorded, nullptr))) {
        return nullptr;
    }
    Py_RETURN_FALSE;
}

PyObject* activation_recreate(PyObject* self, PyObject*) {
    return create_activation(as_activation(self)->tracer, as_activation(self)->arguments);
}

PyObject* activation_call(PyObject* self, PyObject* args, PyObject* kwargs) {
    PyObject* function;
    static const char* names[] = {"func", nullptr};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", const_cast<char**>(names), &function)) {
        return nullptr;
    }
    ModuleState& state = *as_activation(self)->tracer->state;
    if (!state.configured) {
        PyErr_SetString(PyExc_RuntimeError, "this tracer is not usable any more");
        return nullptr;
    }
    return PyObject_CallFunctionObjArgs(state.decorate, self, function, nullptr);
}

int activation_traverse(PyObject* self, visitproc visit, void* arg) {
    ActivationObject* const activation = as_activation(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(activation->tracer);
    for (PyObject* const argument : activation->arguments) {
        Py_VISIT(argument);
    }
    Py_VISIT(activation->span);
    Py_VISIT(activation->token);
    return 0;
}

int activation_clear(PyObject* self) {
    ActivationObject* const activation = as_activation(self);
    for (PyObject*& argument : activation->arguments) {
        Py_CLEAR(argument);
    }
    Py_CLEAR(activation->span);
    Py_CLEAR(activation->token);
    return 0;
}

void activation_dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    activation_clear(self);
    Py_CLEAR(as_activation(self)->tracer);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
    PyErr_Format(PyExc_TypeError, "%s is made by start_as_current_span", type->tp_name);
    return nullptr;
}

PyMethodDef methods[] = {
    {"__enter__", activation_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(activation_exit)), METH_FASTCALL, nullptr},
    {"_recreate", activation_recreate, METH_NOARGS, "The same again, for one call of a decorated function."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("Context manager and decorator; made by start_as_current_span.")},
    {Py_tp_new, reinterpret_cast<void*>(refuse_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(activation_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(activation_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(activation_clear)},
    {Py_tp_call, reinterpret_cast<void*>(activation_call)},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.Activation", sizeof(ActivationObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyObject* create_activation(TracerObject* tracer, PyObject* const* arguments) {
    PyTypeObject* const type = tracer->state->activation_type;
    auto* const activation = reinterpret_cast<ActivationObject*>(type->tp_alloc(type, 0));
    if (!activation) {
        return nullptr;
    }
    Py_INCREF(tracer);
    activation->tracer = tracer;
    for (int i = 0; i < kStartArguments; i++) {
        Py_XINCREF(arguments[i]);
        activation->arguments[i] = arguments[i];
    }
    return reinterpret_cast<PyObject*>(activation);
}

PyTypeObject* create_activation_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
