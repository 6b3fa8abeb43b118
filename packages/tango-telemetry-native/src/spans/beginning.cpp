// SPDX-License-Identifier: LGPL-3.0-or-later
#include "beginning.h"

#include "arguments.h"
#include "values.h"

namespace tango_telemetry {

void replace(PyObject*& field, PyObject* object) {
    PyObject* const old = field;
    field = new_ref(object);
    Py_XDECREF(old);
}

namespace {

int traverse(PyObject* self, visitproc visit, void* arg) {
    BeginningObject* const beginning = as_beginning(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(beginning->module);
    Py_VISIT(beginning->in_python);
    Py_VISIT(beginning->tracer_variable);
    Py_VISIT(beginning->variable);
    Py_VISIT(beginning->known);
    Py_VISIT(beginning->other);
    Py_VISIT(beginning->site_variable);
    Py_VISIT(beginning->keyword);
    return 0;
}

// The rest stays: a beginning in a cycle may still be called while that is being taken apart.
int clear(PyObject* self) {
    PyObject* const in_python = as_beginning(self)->in_python;
    if (in_python) {
        as_beginning(self)->in_python = new_ref(Py_None);
        Py_DECREF(in_python);
    }
    return 0;
}

void dealloc(PyObject* self) {
    BeginningObject* const beginning = as_beginning(self);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(beginning->in_python);
    Py_CLEAR(beginning->tracer_variable);
    Py_CLEAR(beginning->variable);
    Py_CLEAR(beginning->known);
    Py_CLEAR(beginning->other);
    Py_CLEAR(beginning->site_variable);
    Py_CLEAR(beginning->keyword);
    Py_CLEAR(beginning->module);
    type->tp_free(self);
    Py_DECREF(type);
}

}  // namespace

bool add_attributes(ModuleState& state, PyObject* span, PyObject* attributes) {
    if (Py_TYPE(span) != reinterpret_cast<PyTypeObject*>(state.span_class)) {
        Ref set(PyObject_CallMethodObjArgs(span, state.s_set_attributes, attributes, nullptr));
        return static_cast<bool>(set);
    }
    auto* const recording = reinterpret_cast<SpanObject*>(span);
    const Limits& limits = recording->tracer->limits;
    return set_attributes(state,
                          {recording->record->attributes, limits.attributes, limits.span_value_length,
                           &recording->record->ended},
                          attributes);
}

bool is_ready(BeginningObject* self) {
    if (!self->module) {
        PyErr_SetString(PyExc_RuntimeError, "this beginning was not initialised");
        return false;
    }
    const ModuleState& state = state_of(self);
    return state.configured && state.carrier_bridge && state.threads && state.context_variable != Py_None;
}

Ref get_variable(PyObject* variable) {
    PyObject* value = nullptr;
    return PyContextVar_Get(variable, nullptr, &value) < 0 ? Ref() : Ref(value);
}

namespace {

// The title of a call whose plan was made with another name.
Ref make_title(const PlanObject* plan, PyObject* name) {
    PyObject* const prefix = PyTuple_GET_ITEM(plan->named, 0);
    return prefix == Py_None ? Ref::borrow(plan->span.title) : Ref(PyUnicode_Concat(prefix, name));
}

bool name_attributes(PyObject* attributes, const PlanObject* plan, PyObject* name) {
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(plan->named); i++) {
        if (PyDict_SetItem(attributes, PyTuple_GET_ITEM(plan->named, i), name) < 0) {
            return false;
        }
    }
    return true;
}

bool name_span(ModuleState& state, SpanObject* span, const PlanObject* plan, PyObject* name) {
    const Limits& limits = span->tracer->limits;
    const AttributeTarget target{span->record->attributes, limits.attributes, limits.span_value_length};
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(plan->named); i++) {
        if (!set_attribute(state, target, PyTuple_GET_ITEM(plan->named, i), name)) {
            return false;
        }
    }
    return true;
}

Ref remote_span(ModuleState& state, const SpanNumbers& remote) {
    Ref context(make_span_context(state, remote.trace_id_high, remote.trace_id_low, remote.span_id, true, remote.flags,
                                  nullptr));
    return Ref(context ? PyObject_CallOneArg(state.remote_span_class, context.get()) : nullptr);
}

Ref start_in_python(ModuleState& state, const PlanObject* plan, PyObject* title, PyObject* tracer, bool is_named,
                    const Told& told) {
    Ref own = Ref::borrow(told.context ? told.context : state.empty_context);
    if (told.remote) {
        Ref parent = remote_span(state, *told.remote);
        if (parent && tracer == state.pass_through) {
            return parent;
        }
        own = parent ? context_with(state, parent.get(), told.context) : Ref();
    }
    if (!own) {
        return Ref();
    }
    if (tracer == state.pass_through) {
        PyObject* const arguments[] = {tracer, title, own.get()};
        return Ref(
            PyObject_VectorcallMethod(state.s_start_span, arguments, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
    }
    Ref thread = get_thread_attributes(state);
    Ref attributes(thread ? PyDict_Copy(plan->span.attributes) : nullptr);
    if (!attributes || (!is_named && !name_attributes(attributes.get(), plan, told.name)) ||
        PyDict_Update(attributes.get(), thread.get()) < 0) {
        return Ref();
    }
    PyObject* const arguments[] = {tracer,     title, own.get(), plan->span.kind, attributes.get(),
                                   told.links ? told.links : Py_None};
    return Ref(PyObject_VectorcallMethod(state.s_start_span, arguments, 6 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
}

}  // namespace

Ref start_planned(ModuleState& state, const PlanObject* plan, PyObject* tracer, const Told& told) {
    const bool is_named = has_name(plan, told.name);
    Ref title = is_named ? Ref::borrow(plan->span.title) : make_title(plan, told.name);
    if (!title) {
        return Ref();
    }
    TracerObject* const native = native_tracer(state, tracer);
    if (!native) {
        return start_in_python(state, plan, title.get(), tracer, is_named, told);
    }
    Ref span(start_prepared_span(native, plan->span, title.get(), told.context, told.remote, told.links));
    if (!span || Py_TYPE(span.get()) != reinterpret_cast<PyTypeObject*>(state.span_class)) {
        return span;
    }
    if (!is_named && !name_span(state, reinterpret_cast<SpanObject*>(span.get()), plan, told.name)) {
        return Ref();
    }
    Ref thread = get_thread_attributes(state);
    return thread && add_attributes(state, span.get(), thread.get()) ? std::move(span) : Ref();
}

PyObject* call_or_python(BeginningObject* self, Ref call, PyObject* const* args, Py_ssize_t count) {
    if (call) {
        return call.release();
    }
    if (PyErr_Occurred() && (!self->module || !absorb_error(state_of(self), "a call could not be begun"))) {
        return nullptr;
    }
    return PyObject_Vectorcall(self->in_python, args, static_cast<std::size_t>(count), nullptr);
}

bool init_beginning(BeginningObject* self, PyObject* in_python, PyObject* tracer_variable, PyObject* variable,
                    PyObject* known, PyObject* other) {
    PyObject* const module = module_of_type(Py_TYPE(self));
    if (!module) {
        return false;
    }
    if (!PyContextVar_CheckExact(tracer_variable) || !PyContextVar_CheckExact(variable)) {
        PyErr_SetString(PyExc_TypeError, "a beginning needs two context variables");
        return false;
    }
    replace(self->module, module);
    replace(self->in_python, in_python);
    replace(self->tracer_variable, tracer_variable);
    replace(self->variable, variable);
    replace(self->known, known);
    replace(self->other, other);
    return true;
}

PyTypeObject* create_beginning_type(PyObject* module, const char* name, const char* doc, initproc init,
                                    PyMethodDef* methods) {
    PyType_Slot slots[] = {
        {Py_tp_doc, const_cast<char*>(doc)},
        {Py_tp_init, reinterpret_cast<void*>(init)},
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
        {Py_tp_clear, reinterpret_cast<void*>(clear)},
        {Py_tp_methods, methods},
        {0, nullptr},
    };
    PyType_Spec spec = {name, sizeof(BeginningObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
