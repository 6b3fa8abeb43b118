// SPDX-License-Identifier: LGPL-3.0-or-later
// HandlerBeginning. Between two remote calls the caches are cold, and what counts is how much code and data a call touches.
#include "arguments.h"
#include "beginning.h"

namespace tango_telemetry {
namespace {

bool is_true(PyObject* object) { return object == Py_True; }

// Who called, from cppTango. It may crash where no omniORB upcall runs (a remark of PyTango 10.3's): what a request itself
// brought is only found where one does, and where cppTango's own context was found PyTango is asked.
bool record_client(BeginningObject* self, ModuleState& state, PyObject* device, PyObject* span, Found found) {
    if (self->known == Py_None) {
        return true;
    }
    if (found != Found::kOnUpcall) {
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
    return add_attributes(state, span, attributes.get());
}

// Known before there is a span: then nobody need be asked whether it is wanted.
bool is_never_recorded(ModuleState& state, PyObject* tracer, const SpanNumbers& remote) {
    const TracerObject* const native = native_tracer(state, tracer);
    return native && !native->sampler.sampled(true, remote.flags & 1, remote.trace_id_low);
}

// Null without an error: Python has to start it.
Ref start_handler(BeginningObject* self, ModuleState& state, PyObject* device) {
    Ref plans = find_plans(state, device);
    Ref found_plan(plans ? find_plan(state, plans.get(), {reinterpret_cast<PyObject*>(self), nullptr, nullptr, kAnyPlace})
                         : Ref());
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
    if (plan->checks_topic && !is_never_recorded(state, plan->tracer, remote)) {
        Ref wanted(PyObject_CallMethodObjArgs(device, state.s_check_topic, state.k_user, nullptr));
        if (!wanted || !is_true(wanted.get())) {
            return Ref();
        }
    }
    Ref series;
    if (!find_series(state, plan, plan->tracer, nullptr, series)) {
        return Ref();
    }
    Ref span = start_planned(state, plan, plan->tracer, {nullptr, nullptr, &remote, nullptr});
    if (!span) {
        return Ref();
    }
    PyObject* const pairs[] = {self->tracer_variable, plan->tracer, self->variable, plan->handler};
    // The third of a handler is the context that says whose calls are made in it.
    const bool has_context = PyTuple_CheckExact(plan->handler) && PyTuple_GET_SIZE(plan->handler) > 2;
    PyObject* const around = has_context ? PyTuple_GET_ITEM(plan->handler, 2) : context.get();
    Ref call(create_call(self->module, span.get(), around, pairs, 2));
    bool failed = false;
    if (call && is_recording(state, span.get(), failed)) {
        failed = !record_client(self, state, device, span.get(), found);
    }
    if (failed && !absorb_error(state, "the client could not be told")) {
        PendingError interrupt;  // the user's own: the handler will not run
        Ref ended(PyObject_CallMethodNoArgs(call.get(), state.s_end));
        return Ref();
    }
    if (call) {
        time_call(call.get(), series.get());
    }
    return call;
}

PyObject* begin_handler(PyObject* object, PyObject* const* args, Py_ssize_t count) {
    BeginningObject* const self = as_beginning(object);
    const bool usual = is_ready(self) && count == 2;
    return call_or_python(self, usual ? start_handler(self, state_of(self), args[0]) : Ref(), args, count);
}

int init_handler(PyObject* self, PyObject* args, PyObject*) {
    PyObject *in_python, *tracer_variable, *handler_variable, *known, *describe;
    if (!PyArg_ParseTuple(args, "OOOOO", &in_python, &tracer_variable, &handler_variable, &known, &describe)) {
        return -1;
    }
    if (known != Py_None && !PyDict_Check(known)) {
        PyErr_SetString(PyExc_TypeError, "the known clients are a dict or None");
        return -1;
    }
    return init_beginning(as_beginning(self), in_python, tracer_variable, handler_variable, known, describe) ? 0 : -1;
}

PyMethodDef methods[] = {
    {"begin", fast_method(begin_handler), METH_FASTCALL,
     "begin(device, args, /): the call, or what the function in Python gives."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

PyTypeObject* create_handler_beginning_type(PyObject* module) {
    return create_beginning_type(
        module, "tango_telemetry_native._spans.HandlerBeginning",
        "HandlerBeginning(in_python, tracer_variable, handler_variable, known_clients, describe_client)", init_handler,
        methods);
}

}  // namespace tango_telemetry
