// SPDX-License-Identifier: LGPL-3.0-or-later
// ClientBeginning.
#include "arguments.h"
#include "beginning.h"

#include <algorithm>
#include <utility>

#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#endif

namespace tango_telemetry {
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

struct Place {
    Ref code;  // null where nobody knows
    int position = kNoCaller;
    Ref site;  // null, or where a call that was handed over to this thread comes from
};

// The first frame outside PyTango and this product; null without an error if there is none. False with or without an error:
// one of a module that core has not judged yet.
bool find_caller(ModuleState& state, PyObject* modules, Ref& caller) {
    Ref frame = Ref::borrow(reinterpret_cast<PyObject*>(PyEval_GetFrame()));
    while (frame) {
        auto* const here = reinterpret_cast<PyFrameObject*>(frame.get());
        Ref globals = frame_globals(here);
        PyObject* const module = globals ? PyDict_GetItemWithError(globals.get(), state.s_dunder_name) : nullptr;
        PyObject* const skipped = module && PyUnicode_Check(module) ? PyDict_GetItemWithError(modules, module) : nullptr;
        if (!skipped) {
            return false;
        }
        if (skipped == Py_False) {
            caller = std::move(frame);
            return true;
        }
        frame = Ref(reinterpret_cast<PyObject*>(PyFrame_GetBack(here)));
    }
    return true;
}

// Where a call is written, which another thread may have made. False with or without an error: Python has to find it.
bool find_place(BeginningObject* self, ModuleState& state, Place& place) {
    Ref frame;
    if (!find_caller(state, self->known, frame)) {
        return false;
    }
    if (frame) {
        auto* const caller = reinterpret_cast<PyFrameObject*>(frame.get());
        place.code = Ref(reinterpret_cast<PyObject*>(PyFrame_GetCode(caller)));
        place.position = frame_position(caller);
        return true;
    }
    place.site = get_variable(self->site_variable);
    if (!place.site || place.site.get() == Py_None) {
        place.site = Ref();
        return !PyErr_Occurred();
    }
    Ref code(PyObject_GetAttr(place.site.get(), state.s_f_code));
    Ref position(code ? PyObject_GetAttr(place.site.get(), state.s_f_lasti) : nullptr);
    if (!position) {
        return false;
    }
    if (code.get() != Py_None) {
        place.code = std::move(code);
        place.position = static_cast<int>(PyLong_AsLong(position.get()));
    }
    return !PyErr_Occurred();
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
// C++ would be switched off then, and another is in use if it is the one that the plan was made with. What is excluded, or
// called by what is excluded, has the tracer that passes the parent on.
PyObject* choose_tracer(ModuleState& state, PyObject* device_tracer, const PlanObject* plan) {
    if (plan->tracer == state.pass_through || device_tracer == state.pass_through) {
        return state.pass_through;
    }
    if (device_tracer == Py_None) {
        return plan->tracer;
    }
    return device_tracer == plan->handler || PyObject_TypeCheck(device_tracer, state.tracer_base) ? device_tracer : nullptr;
}

enum Takes { kNothing, kOneName, kSeveralNames, kUnknown };

// The first of these names, as tango_telemetry_client._calls.names_of() has them; null without an error for anything strange.
Ref read_names(PyObject* given) {
    constexpr Py_ssize_t kMostNames = 16;
    if (!PyList_CheckExact(given) && !PyTuple_CheckExact(given)) {
        return Ref();
    }
    const Py_ssize_t count = std::min(PySequence_Fast_GET_SIZE(given), kMostNames);
    Ref names(PyTuple_New(count));
    for (Py_ssize_t i = 0; names && i < count; i++) {
        PyObject* item = PySequence_Fast_GET_ITEM(given, i);
        if ((PyTuple_CheckExact(item) || PyList_CheckExact(item)) && PySequence_Fast_GET_SIZE(item)) {
            item = PySequence_Fast_GET_ITEM(item, 0);
        }
        if (!PyUnicode_CheckExact(item)) {
            return Ref();
        }
        PyTuple_SET_ITEM(names.get(), i, new_ref(item));
    }
    return names;
}

// What a call is about; null without an error where Python has to find it.
Ref read_name(BeginningObject* self, PyObject* args, PyObject* kwargs) {
    const bool by_position = PyTuple_GET_SIZE(args) > 1;
    PyObject* const given =
        by_position ? PyTuple_GET_ITEM(args, 1) : PyDict_GetItemWithError(kwargs, self->keyword);
    if (!given) {
        return Ref();
    }
    if (self->takes == kSeveralNames) {
        return read_names(given);
    }
    return PyUnicode_CheckExact(given) && PyUnicode_GET_LENGTH(given) ? Ref::borrow(given) : Ref();
}

// A span that is not recorded, without asking where the call is written: that makes three objects of frames, and a walk.
// Null without an error: one that is recorded, or nothing is known yet of this operation on this object.
Ref start_dropped(BeginningObject* self, ModuleState& state, PyObject* plans, PyObject* device_tracer, const Told& told,
                  Ref& series) {
    Ref found = find_plan(state, plans, {reinterpret_cast<PyObject*>(self), nullptr, told.name, kAnyPlace});
    if (!found) {
        return Ref();
    }
    auto* const plan = reinterpret_cast<PlanObject*>(found.get());
    PyObject* const tracer = choose_tracer(state, device_tracer, plan);
    if (tracer && !find_series(state, plan, tracer, told.name, series)) {
        return Ref();
    }
    if (tracer && tracer == state.pass_through) {
        return start_planned(state, plan, tracer, told);
    }
    TracerObject* const native = tracer ? native_tracer(state, tracer) : nullptr;
    return Ref(native ? start_dropped_span(native, told.context) : nullptr);
}

// The span of a call, by the plan for the place in the program where it is written.
Ref start_here(BeginningObject* self, ModuleState& state, PyObject* plans, PyObject* device_tracer, const Told& told,
               Place& place, Ref& series) {
    if (!find_place(self, state, place)) {
        return Ref();
    }
    Ref found =
        find_plan(state, plans, {reinterpret_cast<PyObject*>(self), place.code.get(), told.name, place.position});
    if (!found) {
        return Ref();
    }
    auto* const plan = reinterpret_cast<PlanObject*>(found.get());
    PyObject* const tracer = choose_tracer(state, device_tracer, plan);
    const bool counted = tracer && find_series(state, plan, tracer, told.name, series);
    return counted ? start_planned(state, plan, tracer, told) : Ref();
}

Ref start_client(BeginningObject* self, ModuleState& state, PyObject* args, PyObject* kwargs, PyObject* links) {
    PyObject* const subject = PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, 0) : nullptr;
    if (!subject || self->takes == kUnknown) {
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
    Ref plans = find_plans(state, subject);
    Ref name = plans && self->takes != kNothing ? read_name(self, args, kwargs) : Ref();
    if (!plans || (self->takes != kNothing && !name)) {
        return Ref();
    }
    Ref device_tracer = get_variable(self->tracer_variable);
    // Without a tracer in this context but with an owner: a tool of OpenTelemetry's has carried the context here.
    if (!device_tracer || (owner && device_tracer.get() == Py_None)) {
        return Ref();
    }
    const Told told{name.get(), context.get(), nullptr, links};
    Place place;
    Ref series;
    Ref span = start_dropped(self, state, plans.get(), device_tracer.get(), told, series);
    if (!span && !PyErr_Occurred()) {
        span = start_here(self, state, plans.get(), device_tracer.get(), told, place, series);
    }
    if (!span) {
        return Ref();
    }
    PyObject* const pairs[] = {self->variable, span.get()};
    Ref call(create_call(self->module, span.get(), context.get(), pairs, 1));
    if (!call || !carry_call(call.get(), self->other)) {
        return Ref();
    }
    if (place.site) {
        set_call_site(call.get(), place.site.get());
    }
    time_call(call.get(), series.get());
    return call;
}

PyObject* begin_client(PyObject* object, PyObject* const* args, Py_ssize_t count) {
    BeginningObject* const self = as_beginning(object);
    const bool usual = is_ready(self) && (count == 2 || count == 3) && PyTuple_CheckExact(args[0]) &&
                       PyDict_CheckExact(args[1]);
    PyObject* const links = count == 3 && args[2] != Py_None ? args[2] : nullptr;
    Ref call = usual ? start_client(self, state_of(self), args[0], args[1], links) : Ref();
    return call_or_python(self, std::move(call), args, count);
}

int init_client(PyObject* object, PyObject* args, PyObject*) {
    PyObject *in_python, *tracer_variable, *active_variable, *modules, *carry, *site_variable, *keyword;
    int takes;
    if (!PyArg_ParseTuple(args, "OOOO!UOUi", &in_python, &tracer_variable, &active_variable, &PyDict_Type, &modules, &carry,
                          &site_variable, &keyword, &takes)) {
        return -1;
    }
    if (!PyContextVar_CheckExact(site_variable)) {
        PyErr_SetString(PyExc_TypeError, "the place of a call is in a context variable");
        return -1;
    }
    BeginningObject* const self = as_beginning(object);
    if (!init_beginning(self, in_python, tracer_variable, active_variable, modules, carry)) {
        return -1;
    }
    replace(self->site_variable, site_variable);
    replace(self->keyword, keyword);
    self->takes = takes;
    return 0;
}

PyMethodDef methods[] = {
    {"begin", fast_method(begin_client), METH_FASTCALL,
     "begin(args, kwargs, links=None, /), the object first in `args`: the call, None if it is part of another, or what the function in Python gives."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyTypeObject* create_client_beginning_type(PyObject* module) {
    return create_beginning_type(module, "tango_telemetry_native._spans.ClientBeginning",
                                 "ClientBeginning(in_python, tracer_variable, active_variable, modules, carry, site_variable, keyword, takes)",
                                 init_client, methods);
}

}  // namespace tango_telemetry
