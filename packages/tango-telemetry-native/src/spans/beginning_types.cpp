// SPDX-License-Identifier: LGPL-3.0-or-later
// ClientBeginning and HandlerBeginning: what tango_telemetry_client and tango_telemetry_server call first in each
// call. Between two remote calls the caches are cold, and what counts is how much code and data a call touches.
#include "arguments.h"
#include "calls.h"
#include "values.h"

#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#endif

namespace tango_spans {
namespace {

using tango_telemetry::SpanNumbers;

struct BeginningObject {
    PyObject_HEAD
    PyObject* module;
    PyObject* slow;  // the function in Python for every other call
    PyObject* tracer_variable;
    // Of a handler: the context variable of the running handler, the known clients, and what describes a new one
    // (both None where PyTango cannot tell). Of a client: the variable of the active call, the modules that are not
    // callers, and the name that cppTango is given.
    PyObject* variable;
    PyObject* known;
    PyObject* other;
    bool takes_name;
};

BeginningObject* as_beginning(PyObject* object) { return reinterpret_cast<BeginningObject*>(object); }

ModuleState& state_of(BeginningObject* self) {
    return *static_cast<ModuleState*>(PyModule_GetState(self->module));
}

bool is_ready(const ModuleState& state) {
    return state.configured && state.carrier_bridge && state.context_variable != Py_None;
}

// A new reference; null without an error only where the variable has neither a value nor a default.
Ref get_variable(PyObject* variable) {
    PyObject* value = nullptr;
    return PyContextVar_Get(variable, nullptr, &value) < 0 ? Ref() : Ref(value);
}

PyObject* call_slow(BeginningObject* self, PyObject* const* args, Py_ssize_t count) {
    return PyObject_Vectorcall(self->slow, args, static_cast<std::size_t>(count), nullptr);
}

// The span of a call. Its parent is `remote` or, without that, what `context` holds; context may be null.
Ref start(ModuleState& state, const PlanObject* plan, PyObject* tracer, PyObject* context, const SpanNumbers* remote) {
    if (TracerObject* const quick = quick_tracer(state, tracer)) {
        return Ref(start_prepared_span(quick, plan->span, context, remote));
    }
    Ref own = Ref::borrow(context ? context : state.empty_context);
    if (remote) {
        Ref span_context(make_span_context(state, remote->trace_id_high, remote->trace_id_low, remote->span_id, true,
                                           remote->flags, nullptr));
        Ref parent(span_context ? PyObject_CallOneArg(state.remote_span_class, span_context.get()) : nullptr);
        own = parent ? context_with(state, parent.get(), context) : Ref();
    }
    if (!own) {
        return Ref();
    }
    PyObject* const arguments[] = {tracer, plan->span.title, own.get(), plan->span.kind, plan->span.attributes};
    return Ref(PyObject_VectorcallMethod(state.s_start_span, arguments, 5 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
}

// --- handlers ------------------------------------------------------------------------------------------------

bool is_true(PyObject* object) { return object == Py_True; }

// Who called, from cppTango. It may crash where no omniORB upcall runs (a remark of PyTango 10.3's): a GIOP context is
// only found where one does, and for the other ways PyTango is asked.
bool record_client(BeginningObject* self, ModuleState& state, PyObject* device, PyObject* span, Found found) {
    if (self->known == Py_None) {
        return true;
    }
    if (found != Found::kByGiop) {
        Ref on_upcall(PyObject_CallNoArgs(state.is_omni_thread));
        if (!on_upcall || !is_true(on_upcall.get())) {
            return static_cast<bool>(on_upcall);
        }
    }
    Ref ident(PyObject_CallMethodNoArgs(device, state.s_get_client_ident));
    if (!ident || ident.get() == Py_None) {
        return static_cast<bool>(ident);
    }
    Ref pid(PyObject_GetAttr(ident.get(), state.s_client_pid));
    Ref address(pid ? PyObject_GetAttr(ident.get(), state.s_client_ip) : nullptr);
    Ref key(address ? PyTuple_Pack(2, address.get(), pid.get()) : nullptr);
    if (!key) {
        return false;
    }
    Ref attributes = Ref::borrow(PyDict_GetItemWithError(self->known, key.get()));
    if (!attributes) {
        if (PyErr_Occurred()) {
            return false;
        }
        attributes = Ref(PyObject_CallOneArg(self->other, ident.get()));
    }
    if (!attributes) {
        return false;
    }
    if (Py_TYPE(span) != reinterpret_cast<PyTypeObject*>(state.span_class)) {
        Ref set(PyObject_CallMethodObjArgs(span, state.s_set_attributes, attributes.get(), nullptr));
        return static_cast<bool>(set);
    }
    auto* const recording = reinterpret_cast<SpanObject*>(span);
    const Limits& limits = recording->tracer->limits;
    return set_attributes(state,
                          {recording->record->attributes, limits.attributes, limits.span_value_length,
                           &recording->record->ended},
                          attributes.get());
}

// Null without an error: not the usual call.
Ref begin_usual_handler(BeginningObject* self, ModuleState& state, PyObject* device) {
    Ref found_plan = find_plan(state, device, {reinterpret_cast<PyObject*>(self), nullptr, nullptr, 0});
    if (!found_plan) {
        return Ref();
    }
    auto* const plan = reinterpret_cast<PlanObject*>(found_plan.get());
    Ref context = get_variable(state.context_variable);
    if (context && (Py_TYPE(context.get()) != reinterpret_cast<PyTypeObject*>(state.context_class) ||
                    PyDict_GET_SIZE(context.get()))) {
        return Ref();  // a caller in this process
    }
    Ref running = get_variable(self->variable);
    if (running.get() != Py_None || !plan->handler) {
        return Ref();
    }
    SpanNumbers remote{};
    const Found found = find_remote_parent(state, remote);
    if (found == Found::kNo || found == Found::kError) {
        return Ref();
    }
    if (plan->checks_topic) {
        Ref wanted(PyObject_CallMethodObjArgs(device, state.s_check_topic, state.k_user, nullptr));
        if (!wanted || !is_true(wanted.get())) {
            return Ref();
        }
    }
    Ref span = start(state, plan, plan->tracer, nullptr, &remote);
    if (!span) {
        return Ref();
    }
    PyObject* const pairs[] = {self->tracer_variable, plan->tracer, self->variable, plan->handler};
    Ref call(create_call(self->module, span.get(), context.get(), pairs, 2));
    bool failed = false;
    if (call && is_recording(state, span.get(), failed)) {
        failed = !record_client(self, state, device, span.get(), found);
    }
    if (failed && !absorb_error(state, "the client could not be told")) {
        PyErr_Clear();
    }
    return call;
}

PyObject* begin_handler(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    BeginningObject* const beginning = as_beginning(self);
    ModuleState& state = state_of(beginning);
    if (count == 2 && is_ready(state)) {
        Ref call = begin_usual_handler(beginning, state, args[0]);
        if (call) {
            return call.release();
        }
        if (PyErr_Occurred() && !absorb_error(state, "a call could not be begun")) {
            return nullptr;
        }
    }
    return call_slow(beginning, args, count);
}

// --- clients -------------------------------------------------------------------------------------------------

Ref frame_globals(PyFrameObject* frame) {
#if PY_VERSION_HEX >= 0x030B0000
    return Ref(PyFrame_GetGlobals(frame));
#else
    return Ref::borrow(frame->f_globals);
#endif
}

int frame_position(PyFrameObject* frame) {
#if PY_VERSION_HEX >= 0x030B0000
    return PyFrame_GetLasti(frame);
#else
    return frame->f_lasti * 2;  // what Python sees as f_lasti counts bytes
#endif
}

// The first frame outside PyTango and this product; null without an error if there is none, or one of a module that core
// has not judged yet.
Ref find_caller(ModuleState& state, PyObject* modules) {
    Ref frame = Ref::borrow(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
    while (frame) {
        auto* const here = reinterpret_cast<PyFrameObject*>(frame.get());
        Ref globals = frame_globals(here);
        PyObject* const module = globals ? PyDict_GetItemWithError(globals.get(), state.s_dunder_name) : nullptr;
        PyObject* const skipped = module && PyUnicode_Check(module) ? PyDict_GetItemWithError(modules, module) : nullptr;
        if (!skipped) {
            return Ref();
        }
        if (skipped == Py_False) {
            return frame;
        }
        frame = Ref(reinterpret_cast<PyObject*>(PyFrame_GetBack(here)));
    }
    return Ref();
}

// The span in a context that holds nothing else; false if it holds more, or something strange.
bool read_context(ModuleState& state, PyObject* context, PyObject*& span) {
    span = nullptr;
    if (!context) {
        return true;
    }
    if (Py_TYPE(context) != reinterpret_cast<PyTypeObject*>(state.context_class)) {
        return false;
    }
    const Py_ssize_t size = PyDict_GET_SIZE(context);
    if (size == 1) {
        span = PyDict_GetItemWithError(context, state.span_key);
    }
    return size == 0 || span;
}

Ref begin_usual_client(BeginningObject* self, ModuleState& state, PyObject* subject, PyObject* args, PyObject* kwargs) {
    PyObject* name = nullptr;
    if (self->takes_name) {
        name = PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, 0) : nullptr;
        if (!name || !PyUnicode_CheckExact(name)) {
            return Ref();
        }
    } else if (PyTuple_GET_SIZE(args) || PyDict_GET_SIZE(kwargs)) {
        return Ref();
    }
    Ref context = get_variable(state.context_variable);
    PyObject* parent;
    if (!read_context(state, context.get(), parent)) {
        return Ref();
    }
    Ref active = get_variable(self->variable);
    if (!active) {
        return Ref();
    }
    if (parent && parent == active.get()) {
        return Ref::borrow(Py_None);  // part of the call that is being made
    }
    Ref frame = find_caller(state, self->known);
    if (!frame) {
        return Ref();
    }
    auto* const caller = reinterpret_cast<PyFrameObject*>(frame.get());
    Ref code(reinterpret_cast<PyObject*>(PyFrame_GetCode(caller)));
    Ref found_plan =
        find_plan(state, subject, {reinterpret_cast<PyObject*>(self), code.get(), name, frame_position(caller)});
    Ref device_tracer = get_variable(self->tracer_variable);
    if (!found_plan || !device_tracer) {
        return Ref();
    }
    auto* const plan = reinterpret_cast<PlanObject*>(found_plan.get());
    PyObject* const tracer = device_tracer.get() == Py_None ? plan->tracer : device_tracer.get();
    Ref span = start(state, plan, tracer, context.get(), nullptr);
    if (!span) {
        return Ref();
    }
    PyObject* const pairs[] = {self->variable, span.get()};
    Ref call(create_call(self->module, span.get(), context.get(), pairs, 1));
    return call && carry_call(call.get(), self->other) ? std::move(call) : Ref();
}

PyObject* begin_client(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    BeginningObject* const beginning = as_beginning(self);
    ModuleState& state = state_of(beginning);
    if (count == 3 && is_ready(state) && PyTuple_CheckExact(args[1]) && PyDict_CheckExact(args[2])) {
        Ref call = begin_usual_client(beginning, state, args[0], args[1], args[2]);
        if (call) {
            return call.release();
        }
        if (PyErr_Occurred() && !absorb_error(state, "a call could not be begun")) {
            return nullptr;
        }
    }
    return call_slow(beginning, args, count);
}

// --- the types -----------------------------------------------------------------------------------------------

void replace(PyObject*& field, PyObject* object) {
    PyObject* const old = field;
    field = new_ref(object);
    Py_XDECREF(old);
}

bool init(BeginningObject* self, PyObject* slow, PyObject* tracer_variable, PyObject* variable, PyObject* known,
          PyObject* other, bool takes_name) {
    PyObject* const module = module_of_type(Py_TYPE(self));
    if (!module) {
        return false;
    }
    if (!PyContextVar_CheckExact(tracer_variable) || !PyContextVar_CheckExact(variable)) {
        PyErr_SetString(PyExc_TypeError, "a beginning needs two context variables");
        return false;
    }
    replace(self->module, module);
    replace(self->slow, slow);
    replace(self->tracer_variable, tracer_variable);
    replace(self->variable, variable);
    replace(self->known, known);
    replace(self->other, other);
    self->takes_name = takes_name;
    return true;
}

int init_handler(PyObject* self, PyObject* args, PyObject*) {
    PyObject *slow, *tracer_variable, *handler_variable, *known, *describe;
    if (!PyArg_ParseTuple(args, "OOOOO", &slow, &tracer_variable, &handler_variable, &known, &describe)) {
        return -1;
    }
    if (known != Py_None && !PyDict_CheckExact(known)) {
        PyErr_SetString(PyExc_TypeError, "the known clients are a dict or None");
        return -1;
    }
    return init(as_beginning(self), slow, tracer_variable, handler_variable, known, describe, false) ? 0 : -1;
}

int init_client(PyObject* self, PyObject* args, PyObject*) {
    PyObject *slow, *tracer_variable, *active_variable, *modules, *carry;
    int takes_name;
    if (!PyArg_ParseTuple(args, "OOOO!Up", &slow, &tracer_variable, &active_variable, &PyDict_Type, &modules, &carry,
                          &takes_name)) {
        return -1;
    }
    return init(as_beginning(self), slow, tracer_variable, active_variable, modules, carry, takes_name) ? 0 : -1;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    BeginningObject* const beginning = as_beginning(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(beginning->module);
    Py_VISIT(beginning->slow);
    Py_VISIT(beginning->tracer_variable);
    Py_VISIT(beginning->variable);
    Py_VISIT(beginning->known);
    Py_VISIT(beginning->other);
    return 0;
}

// The rest stays: a beginning in a cycle may still be called while that is being taken apart.
int clear(PyObject* self) {
    PyObject* const slow = as_beginning(self)->slow;
    if (slow) {
        as_beginning(self)->slow = new_ref(Py_None);
        Py_DECREF(slow);
    }
    return 0;
}

void dealloc(PyObject* self) {
    BeginningObject* const beginning = as_beginning(self);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(beginning->slow);
    Py_CLEAR(beginning->tracer_variable);
    Py_CLEAR(beginning->variable);
    Py_CLEAR(beginning->known);
    Py_CLEAR(beginning->other);
    Py_CLEAR(beginning->module);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* begin_uninitialised(PyObject* self, PyObject* const* args, Py_ssize_t count,
                              PyObject* (*begin)(PyObject*, PyObject* const*, Py_ssize_t)) {
    if (!as_beginning(self)->module) {
        PyErr_SetString(PyExc_RuntimeError, "this beginning was not initialised");
        return nullptr;
    }
    return begin(self, args, count);
}

PyObject* handler_begin(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    return begin_uninitialised(self, args, count, begin_handler);
}

PyObject* client_begin(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    return begin_uninitialised(self, args, count, begin_client);
}

PyCFunction fast(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef handler_methods[] = {
    {"begin", fast(handler_begin), METH_FASTCALL, "begin(device, args, /): the call, or what the function in Python gives."},
    {nullptr, nullptr, 0, nullptr},
};

PyMethodDef client_methods[] = {
    {"begin", fast(client_begin), METH_FASTCALL,
     "begin(subject, args, kwargs, /): the call, None if it is part of another, or what the function in Python gives."},
    {nullptr, nullptr, 0, nullptr},
};

#define TANGO_BEGINNING_SLOTS(doc, init_function, method_table)        \
    {                                                                  \
        {Py_tp_doc, const_cast<char*>(doc)},                           \
        {Py_tp_init, reinterpret_cast<void*>(init_function)},          \
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},             \
        {Py_tp_traverse, reinterpret_cast<void*>(traverse)},           \
        {Py_tp_clear, reinterpret_cast<void*>(clear)},                 \
        {Py_tp_methods, method_table},                                 \
        {0, nullptr},                                                  \
    }

PyType_Slot handler_slots[] =
    TANGO_BEGINNING_SLOTS("HandlerBeginning(slow, tracer_variable, handler_variable, known_clients, describe_client)",
                          init_handler, handler_methods);
PyType_Slot client_slots[] = TANGO_BEGINNING_SLOTS(
    "ClientBeginning(slow, tracer_variable, active_variable, modules, carry, takes_name)", init_client, client_methods);

PyType_Spec handler_spec = {"tango_telemetry_native._spans.HandlerBeginning", sizeof(BeginningObject), 0,
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, handler_slots};
PyType_Spec client_spec = {"tango_telemetry_native._spans.ClientBeginning", sizeof(BeginningObject), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, client_slots};

}  // namespace

PyTypeObject* create_client_beginning_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &client_spec, nullptr));
}

PyTypeObject* create_handler_beginning_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &handler_spec, nullptr));
}

}  // namespace tango_spans
