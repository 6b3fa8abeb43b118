// SPDX-License-Identifier: LGPL-3.0-or-later
// A span made current together with context variables of the caller's: what two instrumentations do at each call.
//
// The same in Python (tango_telemetry.context.current.CurrentSpan) is six calls into opentelemetry.context and contextvars.
// Between remote calls, with cold caches, those take 5 microseconds and this 1.5.
#include "arguments.h"
#include "current.h"
#include "objects.h"

namespace tango_telemetry {
namespace {

struct CurrentSpanObject {
    PyObject_HEAD
    PyObject* module;  // keeps the state alive
    Current current;
};

CurrentSpanObject* as_current_span(PyObject* object) { return reinterpret_cast<CurrentSpanObject*>(object); }

ModuleState& state_of(CurrentSpanObject* self) { return *static_cast<ModuleState*>(PyModule_GetState(self->module)); }

PyObject* leave(PyObject* self, PyObject*) {
    if (!leave_current(state_of(as_current_span(self)), as_current_span(self)->current)) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* get_context(PyObject* self, void*) { return new_ref(as_current_span(self)->current.context); }

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_current_span(self)->module);
    return traverse_current(as_current_span(self)->current, visit, arg);
}

int clear(PyObject* self) {
    clear_current(as_current_span(self)->current);
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (as_current_span(self)->module) {
        drop_current(state_of(as_current_span(self)), as_current_span(self)->current);
    }
    clear(self);
    Py_CLEAR(as_current_span(self)->module);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
    PyErr_Format(PyExc_TypeError, "%s is made by make_current", type->tp_name);
    return nullptr;
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
    if (count < 2 || count % 2 || (count - 2) / 2 > kMaxVariables) {
        PyErr_Format(PyExc_TypeError, "make_current() takes a span, a context and up to %d pairs of a context variable "
                                      "and its value", kMaxVariables);
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
    self->current.context = context.release();
    return enter_current(state, self->current, args + 2, (count - 2) / 2) ? made.release() : nullptr;
}

PyTypeObject* create_current_span_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
