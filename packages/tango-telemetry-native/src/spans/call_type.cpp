// SPDX-License-Identifier: LGPL-3.0-or-later
// Call: what tango_telemetry.calls.traced_call.TracedCall is in Python, for a call that was begun here.
#include "arguments.h"
#include "beginning.h"
#include "durations.h"

#include <utility>
#include "span_operations.h"

namespace tango_telemetry {
namespace {

struct CallObject {
    PyObject_HEAD
    PyObject* module;  // keeps the state alive
    PyObject* span;
    Current current;
    PyObject* pairs[2 * kMaxVariables];
    Py_ssize_t count;
    Carried carried;
    PyObject* site;  // null, or where a call that was handed over to this thread comes from; until it has failed
    Timing timing;
};

CallObject* as_call(PyObject* object) { return reinterpret_cast<CallObject*>(object); }

ModuleState& state_of(CallObject* self) { return *static_cast<ModuleState*>(PyModule_GetState(self->module)); }

// Nothing that goes wrong in here may reach the user's call; KeyboardInterrupt and its like are the user's own.
PyObject* none_unless_foreign(ModuleState& state, bool good, const char* what) {
    if (!good && !absorb_error(state, what)) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

// What is still to be done while an error that is not ours to keep is on its way; false.
template <typename Step>
bool do_before_error(Step step) {
    PendingError pending;
    step();
    return false;
}

bool leave_both(CallObject* self) {
    ModuleState& state = state_of(self);
    const bool left = leave_carrier(state, self->carried);
    if (left || absorb_error(state, "the trace context could not be taken back")) {
        return leave_current(state, self->current);
    }
    return do_before_error([&] { return leave_current(state, self->current); });
}

PyObject* call_leave(PyObject* self, PyObject*) {
    return none_unless_foreign(state_of(as_call(self)), leave_both(as_call(self)), "a span could not be left");
}

PyObject* call_enter(PyObject* self, PyObject*) {
    CallObject* const call = as_call(self);
    const bool entered = !call->current.token && enter_current(state_of(call), call->current, call->pairs, call->count);
    return none_unless_foreign(state_of(call), entered || call->current.token, "a span could not be made current");
}

// A NonRecordingSpan of OpenTelemetry's: it has nothing to record, and does not end.
bool is_remote_span(ModuleState& state, PyObject* span) {
    return reinterpret_cast<PyObject*>(Py_TYPE(span)) == state.remote_span_class;
}

// Whoever waited for a call that was handed over may have given up: then the span says so.
bool note_abandoned(CallObject* self) {
    ModuleState& state = state_of(self);
    Ref site(std::exchange(self->site, nullptr));
    bool failed = false;
    const bool recording = site && is_recording(state, self->span, failed);
    if (!site || failed || (!recording && !self->timing.series)) {
        return !failed;
    }
    Ref error(PyObject_CallMethodNoArgs(site.get(), state.s_get_abandoned));
    if (!error || error.get() == Py_None) {
        return static_cast<bool>(error);
    }
    if (recording) {
        Ref recorded(PyObject_CallFunctionObjArgs(state.record_failure, self->span, error.get(), nullptr));
        if (!recorded) {
            return false;
        }
    }
    return self->timing.fail(state, error.get());
}

bool end_of(CallObject* self) {
    ModuleState& state = state_of(self);
    PyTypeObject* const type = Py_TYPE(self->span);
    if (type == reinterpret_cast<PyTypeObject*>(state.span_class)) {
        auto* const span = reinterpret_cast<SpanObject*>(self->span);
        const bool open = !span->record->ended;
        const bool ended = end_span(span, nullptr);
        self->timing.took_ns = open ? span->record->end_ns - span->record->start_ns : 0;
        return ended;
    }
    if (type == reinterpret_cast<PyTypeObject*>(state.dropped_span_class) || is_remote_span(state, self->span)) {
        return true;
    }
    Ref ended(PyObject_CallMethodNoArgs(self->span, state.s_end));
    return static_cast<bool>(ended);
}

PyObject* call_end(PyObject* self, PyObject*) {
    CallObject* const call = as_call(self);
    ModuleState& state = state_of(call);
    if (!note_abandoned(call) && !absorb_error(state, "it could not be told whether a call is still waited for")) {
        do_before_error([&] { return leave_both(call) && end_of(call) && call->timing.end(state, call->span); });
        return nullptr;
    }
    if (!leave_both(call) && !absorb_error(state, "a span could not be left")) {
        do_before_error([&] { return end_of(call) && call->timing.end(state, call->span); });
        return nullptr;
    }
    if (!end_of(call) && !absorb_error(state, "a span could not be ended")) {
        do_before_error([&] { return call->timing.end(state, call->span); });
        return nullptr;
    }
    return none_unless_foreign(state, call->timing.end(state, call->span), "a call could not be counted");
}

PyObject* call_fail(PyObject* self, PyObject* error) {
    CallObject* const call = as_call(self);
    ModuleState& state = state_of(call);
    Py_CLEAR(call->site);
    Ref result(PyObject_CallFunctionObjArgs(state.record_failure, call->span, error, nullptr));
    if (!result && !absorb_error(state, "a failure could not be recorded")) {
        return nullptr;
    }
    return none_unless_foreign(state, call->timing.fail(state, error), "a failure could not be counted");
}

// check(check, args, result): a look at the result before cppTango takes it.
PyObject* call_check(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    CallObject* const call = as_call(self);
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "check() takes a function, its arguments and a result");
        return nullptr;
    }
    bool failed = false;
    if (!is_recording(state_of(call), call->span, failed)) {
        return none_unless_foreign(state_of(call), !failed, "a result could not be checked");
    }
    Ref result(PyObject_CallFunctionObjArgs(args[0], call->span, args[1], args[2], nullptr));
    return none_unless_foreign(state_of(call), static_cast<bool>(result), "a result could not be checked");
}

PyObject* get_span(PyObject* self, void*) { return new_ref(as_call(self)->span); }
PyObject* get_context(PyObject* self, void*) { return new_ref(as_call(self)->current.context); }

int traverse(PyObject* self, visitproc visit, void* arg) {
    CallObject* const call = as_call(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(call->module);
    Py_VISIT(call->span);
    Py_VISIT(call->site);
    Py_VISIT(call->timing.series);
    for (Py_ssize_t i = 0; i < 2 * kMaxVariables; i++) {
        Py_VISIT(call->pairs[i]);
    }
    if (const int stop = traverse_carried(call->carried, visit, arg)) {
        return stop;
    }
    return traverse_current(call->current, visit, arg);
}

void dealloc(PyObject* self) {
    CallObject* const call = as_call(self);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (call->module && is_still_current(state_of(call), call->current)) {
        drop_carrier(state_of(call), call->carried);
        drop_current(state_of(call), call->current);
    }
    if (call->timing.series && call->module) {  // a coroutine that was thrown away
        PendingError pending;
        if (!call->timing.end(state_of(call), call->span)) {
            PyErr_Clear();
        }
    }
    clear_current(call->current);
    clear_carried(call->carried);
    for (Py_ssize_t i = 0; i < 2 * kMaxVariables; i++) {
        Py_CLEAR(call->pairs[i]);
    }
    Py_CLEAR(call->site);
    Py_CLEAR(call->timing.series);
    Py_CLEAR(call->span);
    Py_CLEAR(call->module);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
    PyErr_Format(PyExc_TypeError, "%s is made by a beginning", type->tp_name);
    return nullptr;
}

PyMethodDef methods[] = {
    {"enter", call_enter, METH_NOARGS, "Make the span current again after leave(), perhaps in another task."},
    {"leave", call_leave, METH_NOARGS, "Make what was current before current again; the span stays open."},
    {"fail", call_fail, METH_O, "fail(error, /): record that the call failed."},
    {"check", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_check)), METH_FASTCALL,
     "check(check, args, result, /): look at a result before cppTango does."},
    {"end", call_end, METH_NOARGS, "Leave, and end the span."},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"span", get_span, nullptr, "The span.", nullptr},
    {"context", get_context, nullptr, "OpenTelemetry's context with the span as the current one.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("One span around one call; made by a beginning.")},
    {Py_tp_new, reinterpret_cast<void*>(refuse_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.Call", sizeof(CallObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

bool is_recording(ModuleState& state, PyObject* span, bool& failed) {
    failed = false;
    PyTypeObject* const type = Py_TYPE(span);
    if (type == reinterpret_cast<PyTypeObject*>(state.span_class)) {
        return !reinterpret_cast<SpanObject*>(span)->record->ended;
    }
    if (type == reinterpret_cast<PyTypeObject*>(state.dropped_span_class) || is_remote_span(state, span)) {
        return false;
    }
    Ref answer(PyObject_CallMethodNoArgs(span, state.s_is_recording));
    failed = !answer;
    return answer.get() == Py_True;
}

PyObject* create_call(PyObject* module, PyObject* span, PyObject* context, PyObject* const* pairs, Py_ssize_t count) {
    auto& state = *static_cast<ModuleState*>(PyModule_GetState(module));
    Ref own_context = context_with(state, span, context);
    Ref made(own_context ? state.call_type->tp_alloc(state.call_type, 0) : nullptr);
    if (!made) {
        return nullptr;
    }
    CallObject* const call = as_call(made.get());
    call->module = new_ref(module);
    call->span = new_ref(span);
    call->current.context = own_context.release();
    for (Py_ssize_t i = 0; i < 2 * count; i++) {
        call->pairs[i] = new_ref(pairs[i]);
    }
    call->count = count;
    return enter_current(state, call->current, pairs, count) ? made.release() : nullptr;
}

bool is_over(ModuleState& state, PyObject* span) {
    PyTypeObject* const type = Py_TYPE(span);
    if (type == reinterpret_cast<PyTypeObject*>(state.span_class)) {
        return reinterpret_cast<SpanObject*>(span)->record->ended;
    }
    if (type == reinterpret_cast<PyTypeObject*>(state.dropped_span_class) || is_remote_span(state, span)) {
        return false;
    }
    Ref end_time(PyObject_GetAttr(span, state.s_end_time));
    if (!end_time) {
        PyErr_Clear();  // a span that is not recorded, or not the SDK's
    }
    return end_time && end_time.get() != Py_None;
}

void set_call_site(PyObject* call, PyObject* site) { replace(as_call(call)->site, site); }

void time_call(PyObject* call, PyObject* series) {
    if (series) {
        as_call(call)->timing.begin(state_of(as_call(call)), series, as_call(call)->span);
    }
}

bool carry_call(PyObject* object, PyObject* name) {
    CallObject* const call = as_call(object);
    ModuleState& state = state_of(call);
    if (enter_carrier(state, call->carried, name, call->span)) {
        return true;
    }
    return do_before_error([&] { return leave_current(state, call->current); });
}

PyTypeObject* create_call_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
