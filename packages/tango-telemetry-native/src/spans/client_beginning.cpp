// SPDX-License-Identifier: LGPL-3.0-or-later
// ClientBeginning.
#include "arguments.h"
#include "beginning.h"

#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#endif

namespace tango_spans {
namespace {

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

// The span in a context that holds nothing else but whose call it is; false if it holds more, or something strange.
bool read_context(ModuleState& state, PyObject* context, PyObject*& span, PyObject*& owner) {
    span = owner = nullptr;
    if (!context) {
        return true;
    }
    if (Py_TYPE(context) != reinterpret_cast<PyTypeObject*>(state.context_class)) {
        return false;
    }
    const Py_ssize_t size = PyDict_GET_SIZE(context);
    if (size == 1 || size == 2) {
        span = PyDict_GetItemWithError(context, state.span_key);
        owner = PyErr_Occurred() ? nullptr : PyDict_GetItemWithError(context, state.k_owner);
    }
    return !PyErr_Occurred() && size == (span ? 1 : 0) + (owner ? 1 : 0);
}

// Null where Python has to say whether that tracer is still in use: the context may be older than the last change. One in
// C++ would be switched off then, and another is in use if it is the one that the plan was made with.
PyObject* choose_tracer(ModuleState& state, PyObject* device_tracer, const PlanObject* plan) {
    if (device_tracer == Py_None) {
        return plan->tracer;
    }
    return device_tracer == plan->handler || PyObject_TypeCheck(device_tracer, state.tracer_base) ? device_tracer : nullptr;
}

// A span that is not recorded, without asking where the call is written: that makes three objects of frames, and a walk.
// Null without an error: one that is recorded, or nothing is known yet of this operation on this object.
Ref start_dropped(BeginningObject* self, ModuleState& state, PyObject* subject, PyObject* name, PyObject* device_tracer,
                  PyObject* context) {
    Ref plan = find_plan(state, subject, {reinterpret_cast<PyObject*>(self), nullptr, name, 0});
    if (!plan) {
        return Ref();
    }
    PyObject* const tracer = choose_tracer(state, device_tracer, reinterpret_cast<PlanObject*>(plan.get()));
    TracerObject* const quick = tracer ? quick_tracer(state, tracer) : nullptr;
    return Ref(quick ? start_dropped_span(quick, context) : nullptr);
}

// The span of a call, by the plan for the place in the program where it is written.
Ref start_here(BeginningObject* self, ModuleState& state, PyObject* subject, PyObject* name, PyObject* device_tracer,
               PyObject* context) {
    Ref frame = find_caller(state, self->known);
    if (!frame) {
        return Ref();
    }
    auto* const caller = reinterpret_cast<PyFrameObject*>(frame.get());
    Ref code(reinterpret_cast<PyObject*>(PyFrame_GetCode(caller)));
    Ref found =
        find_plan(state, subject, {reinterpret_cast<PyObject*>(self), code.get(), name, frame_position(caller)});
    if (!found) {
        return Ref();
    }
    auto* const plan = reinterpret_cast<PlanObject*>(found.get());
    PyObject* const tracer = choose_tracer(state, device_tracer, plan);
    return tracer ? start_planned(state, plan, tracer, context, nullptr) : Ref();
}

Ref begin_usual_client(BeginningObject* self, ModuleState& state, PyObject* args, PyObject* kwargs) {
    const Py_ssize_t count = PyTuple_GET_SIZE(args);
    PyObject* const subject = count ? PyTuple_GET_ITEM(args, 0) : nullptr;
    PyObject* name = nullptr;
    if (self->takes_name) {
        name = count > 1 ? PyTuple_GET_ITEM(args, 1) : nullptr;
        if (!name || !PyUnicode_CheckExact(name)) {
            return Ref();
        }
    } else if (count != 1 || PyDict_GET_SIZE(kwargs)) {
        return Ref();
    }
    Ref context = get_variable(state.context_variable);
    PyObject *parent, *owner;
    if (!read_context(state, context.get(), parent, owner)) {
        return Ref();
    }
    Ref active = get_variable(self->variable);
    if (!active) {
        return Ref();
    }
    // A task or thread that goes on in a copy of the context outlives the call whose span is current in it.
    if (parent && parent == active.get() && !is_over(state, parent)) {
        return Ref::borrow(Py_None);  // part of the call that is being made
    }
    Ref device_tracer = get_variable(self->tracer_variable);
    // Without a tracer in this context but with an owner: a tool of OpenTelemetry's has carried the context here.
    if (!device_tracer || (owner && device_tracer.get() == Py_None)) {
        return Ref();
    }
    Ref span = start_dropped(self, state, subject, name, device_tracer.get(), context.get());
    if (!span && !PyErr_Occurred()) {
        span = start_here(self, state, subject, name, device_tracer.get(), context.get());
    }
    if (!span) {
        return Ref();
    }
    PyObject* const pairs[] = {self->variable, span.get()};
    Ref call(create_call(self->module, span.get(), context.get(), pairs, 1));
    return call && carry_call(call.get(), self->other) ? std::move(call) : Ref();
}

PyObject* begin_client(PyObject* object, PyObject* const* args, Py_ssize_t count) {
    BeginningObject* const self = as_beginning(object);
    const bool usual = is_ready(self) && count == 2 && PyTuple_CheckExact(args[0]) && PyDict_CheckExact(args[1]);
    Ref call = usual ? begin_usual_client(self, state_of(self), args[0], args[1]) : Ref();
    return call_or_slow(self, std::move(call), args, count);
}

int init_client(PyObject* self, PyObject* args, PyObject*) {
    PyObject *slow, *tracer_variable, *active_variable, *modules, *carry;
    int takes_name;
    if (!PyArg_ParseTuple(args, "OOOO!Up", &slow, &tracer_variable, &active_variable, &PyDict_Type, &modules, &carry,
                          &takes_name)) {
        return -1;
    }
    return init_beginning(as_beginning(self), slow, tracer_variable, active_variable, modules, carry, takes_name) ? 0 : -1;
}

PyMethodDef methods[] = {
    {"begin", fast_method(begin_client), METH_FASTCALL,
     "begin(args, kwargs, /), the object first in `args`: the call, None if it is part of another, or what the function in Python gives."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyTypeObject* create_client_beginning_type(PyObject* module) {
    return create_beginning_type(module, "tango_telemetry_native._spans.ClientBeginning",
                                 "ClientBeginning(slow, tracer_variable, active_variable, modules, carry, takes_name)",
                                 init_client, methods);
}

}  // namespace tango_spans
