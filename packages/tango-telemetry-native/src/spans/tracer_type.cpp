// SPDX-License-Identifier: LGPL-3.0-or-later
// TracerBase: tango_telemetry_native.spans.NativeTracer derives from it and from trace.Tracer.
#include "arguments.h"
#include "objects.h"

namespace tango_telemetry {
namespace {

TracerObject* as_tracer(PyObject* object) { return reinterpret_cast<TracerObject*>(object); }

bool bind_start(TracerObject* tracer, const char* function, int count, PyObject* const* args, Py_ssize_t positional,
                PyObject* keywords, PyObject** bound) {
    if (!tracer->state || !tracer->state->configured) {
        PyErr_SetString(PyExc_RuntimeError, "this tracer is not usable");
        return false;
    }
    const ModuleState& state = *tracer->state;
    PyObject* const names[kStartArguments] = {
        state.s_name,       state.s_context,          state.s_kind,
        state.s_attributes, state.s_links,            state.s_start_time,
        state.s_record_exception, state.s_set_status_on_exception, state.s_end_on_exit,
    };
    return bind_arguments(function, names, count, 1, args, positional, keywords, bound);
}

PyObject* tracer_start_span(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    PyObject* bound[kStartArguments] = {};
    if (!bind_start(as_tracer(self), "start_span", kStartEndOnExit, args, count, keywords, bound)) {
        return nullptr;
    }
    return start_span(as_tracer(self), bound);
}

PyObject* tracer_start_as_current_span(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* keywords) {
    PyObject* bound[kStartArguments] = {};
    if (!bind_start(as_tracer(self), "start_as_current_span", kStartArguments, args, count, keywords, bound)) {
        return nullptr;
    }
    return create_activation(as_tracer(self), bound);
}

void replace(PyObject*& field, PyObject* object) {
    PyObject* const old = field;
    field = object == Py_None ? nullptr : new_ref(object);
    Py_XDECREF(old);
}

void replace_scope(TracerObject* tracer, PyObject* scope) {
    Scope* const old = tracer->scope;
    tracer->scope = reinterpret_cast<ScopeObject*>(scope)->scope;
    tracer->scope->retain();
    if (old) {
        old->release();
    }
}

int tracer_init(PyObject* self, PyObject* args, PyObject* kwargs) {
    TracerObject* const tracer = as_tracer(self);
    PyObject* const module = module_of_type(Py_TYPE(self));
    if (!module) {
        return -1;
    }
    auto* const state = static_cast<ModuleState*>(PyModule_GetState(module));
    if (!state->configured) {
        PyErr_SetString(PyExc_RuntimeError, "import tango_telemetry_native.spans first");
        return -1;
    }
    static const char* names[] = {"queue", "scope", "limits", "root", "parent_based", "bound", "sampler",
                                  "id_generator", "new_traces", nullptr};
    PyObject *queue, *scope, *limits, *sampler, *id_generator, *new_traces;
    int root, parent_based;
    unsigned long long bound;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!O!ipKOOO", const_cast<char**>(names), state->queue_type, &queue,
                                     state->scope_type, &scope, &PyTuple_Type, &limits, &root, &parent_based, &bound,
                                     &sampler, &id_generator, &new_traces)) {
        return -1;
    }
    long long parsed[7];
    if (!PyArg_ParseTuple(limits, "LLLLLLL", parsed, parsed + 1, parsed + 2, parsed + 3, parsed + 4, parsed + 5,
                          parsed + 6)) {
        return -1;
    }
    if (tracer->queue) {
        PyErr_SetString(PyExc_RuntimeError, "a tracer is initialised once");
        return -1;
    }
    Ref start(PyObject_GetAttr(reinterpret_cast<PyObject*>(Py_TYPE(self)), state->s_start_span));
    Ref own_start(PyObject_GetAttr(reinterpret_cast<PyObject*>(state->tracer_base), state->s_start_span));
    if (!start || !own_start) {
        return -1;
    }
    tracer->state = state;
    tracer->module = new_ref(module);
    tracer->queue = reinterpret_cast<QueueObject*>(new_ref(queue));
    tracer->limits = {parsed[0], parsed[1], parsed[2], parsed[3], parsed[4], parsed[5], parsed[6]};
    tracer->sampler = {static_cast<RootRule>(root), parent_based != 0, bound};
    tracer->enabled = true;
    tracer->starts_itself = start.get() == own_start.get();
    replace_scope(tracer, scope);
    replace(tracer->python_sampler, sampler);
    replace(tracer->id_generator, id_generator);
    replace(tracer->new_traces, new_traces);
    return 0;
}

PyObject* tracer_set_hooks(PyObject* self, PyObject* args) {
    PyObject *on_start, *on_end;
    if (!PyArg_ParseTuple(args, "OO", &on_start, &on_end)) {
        return nullptr;
    }
    replace(as_tracer(self)->on_start, on_start);
    replace(as_tracer(self)->on_end, on_end);
    Py_RETURN_NONE;
}

PyObject* tracer_set_enabled(PyObject* self, PyObject* enabled) {
    const int truth = PyObject_IsTrue(enabled);
    if (truth < 0) {
        return nullptr;
    }
    as_tracer(self)->enabled = truth;
    Py_RETURN_NONE;
}

PyObject* tracer_set_scope(PyObject* self, PyObject* scope) {
    TracerObject* const tracer = as_tracer(self);
    if (!tracer->state || !PyObject_TypeCheck(scope, tracer->state->scope_type)) {
        PyErr_SetString(PyExc_TypeError, "_set_scope() needs a Scope");
        return nullptr;
    }
    replace_scope(tracer, scope);
    Py_RETURN_NONE;
}

int tracer_traverse(PyObject* self, visitproc visit, void* arg) {
    TracerObject* const tracer = as_tracer(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(tracer->module);
    Py_VISIT(tracer->queue);
    Py_VISIT(tracer->python_sampler);
    Py_VISIT(tracer->id_generator);
    Py_VISIT(tracer->new_traces);
    Py_VISIT(tracer->on_start);
    Py_VISIT(tracer->on_end);
    return 0;
}

// The module and the queue stay: a span that outlives the collection still ends into them.
int tracer_clear(PyObject* self) {
    TracerObject* const tracer = as_tracer(self);
    Py_CLEAR(tracer->python_sampler);
    Py_CLEAR(tracer->id_generator);
    Py_CLEAR(tracer->new_traces);
    Py_CLEAR(tracer->on_start);
    Py_CLEAR(tracer->on_end);
    return 0;
}

void tracer_dealloc(PyObject* self) {
    TracerObject* const tracer = as_tracer(self);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    tracer_clear(self);
    Py_CLEAR(tracer->queue);
    Py_CLEAR(tracer->module);
    if (tracer->scope) {
        tracer->scope->release();
    }
    type->tp_free(self);
    Py_DECREF(type);
}

PyCFunction with_keywords(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*)) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"start_span", with_keywords(tracer_start_span), METH_FASTCALL | METH_KEYWORDS,
     "start_span(name, context=None, kind=SpanKind.INTERNAL, attributes=None, links=None, start_time=None,\n"
     "           record_exception=True, set_status_on_exception=True)"},
    {"start_as_current_span", with_keywords(tracer_start_as_current_span), METH_FASTCALL | METH_KEYWORDS,
     "start_as_current_span(name, context=None, kind=SpanKind.INTERNAL, attributes=None, links=None,\n"
     "                      start_time=None, record_exception=True, set_status_on_exception=True,\n"
     "                      end_on_exit=True)\n\nA context manager, and a decorator of functions and coroutines."},
    {"_set_hooks", tracer_set_hooks, METH_VARARGS, "_set_hooks(on_start, on_end): called at either end of a span."},
    {"_set_enabled", tracer_set_enabled, METH_O, "_set_enabled(flag)"},
    {"_set_scope", tracer_set_scope, METH_O, "_set_scope(scope): of the spans that end from now on."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("Makes spans; made by a tracer provider.")},
    {Py_tp_init, reinterpret_cast<void*>(tracer_init)},
    {Py_tp_dealloc, reinterpret_cast<void*>(tracer_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(tracer_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(tracer_clear)},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.TracerBase", sizeof(TracerObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyTypeObject* create_tracer_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
