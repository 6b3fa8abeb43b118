// SPDX-License-Identifier: LGPL-3.0-or-later
// A call from begin to end without a step in Python. Every decision about it is made in Python when a place in the program
// calls for the first time, and kept as a plan until something changes (the epoch). Whatever there is no plan for, and
// whatever asks for more than is done here, goes to the function in Python that makes the plans.
#pragma once

#include "carrier.h"
#include "current.h"
#include "objects.h"

namespace tango_telemetry {

// A plan (tango_telemetry.calls.plans.Plan) with what it comes to here. All but the first three are borrowed from `plan`.
struct PlanObject {
    PyObject_HEAD
    PyObject* plan;   // owned; the tuple itself
    PyObject* epoch;  // owned
    PyObject* name;   // owned; null, or the name or tuple of names that the plan was made with
    // Null: the plan is for that name alone. Or it is for every name, and this is (what precedes the name in the title or
    // None, the attributes that have the name for their value, ...).
    PyObject* named;
    PyObject* tracer;
    PyObject* handler;  // the value of the handler variable; of a client, the device's tracer that was in use; or null
    // Null: not counted. Else whose durations these are (durations.h), or a dict of that by name, for every other under None.
    PyObject* series;
    bool checks_topic;
    bool in_python;  // more is to be done than is done here
    PreparedSpan span;
};

struct PlanKey {
    PyObject* beginning;
    PyObject* code;  // null where no caller is known (kNoCaller), or where any will do (kAnyPlace)
    PyObject* name;
    int position;
};

enum PlanPosition { kNoCaller = -1, kAnyPlace = 0 };

// The plans in the `__dict__` of a proxy or device; null without an error if there are none.
Ref find_plans(ModuleState& state, PyObject* subject);

// The plan for every name, or that for the name of the key; null without an error if there is none that still holds and can be
// started here.
Ref find_plan(ModuleState& state, PyObject* plans, const PlanKey& key);

// What counts a call of that name and tracer; null if nothing does. False, with or without an error: Python has to find it.
bool find_series(ModuleState& state, const PlanObject* plan, PyObject* tracer, PyObject* name, Ref& series);

// Whether title and attributes of the plan have that name already.
bool has_name(const PlanObject* plan, PyObject* name);

// The span attributes of the running thread, a dict, as `threading` tells them at this moment: a thread may be renamed, and
// with gevent's patches one thread of the operating system has many. Not to be changed. Null with an error set.
Ref get_thread_attributes(ModuleState& state);

// The tracer, if it is one of C++ that makes spans without asking anybody in Python; else null. Borrowed.
TracerObject* native_tracer(ModuleState& state, PyObject* tracer);

// Of a span of any make.
bool is_recording(ModuleState& state, PyObject* span, bool& failed);

// Whether the span, of any make, has ended; a span that does not tell is not over.
bool is_over(ModuleState& state, PyObject* span);

// A call whose span is current with the context variables of `pairs`. `context` is the one the span was started in, or null.
PyObject* create_call(PyObject* module, PyObject* span, PyObject* context, PyObject* const* pairs, Py_ssize_t count);
bool carry_call(PyObject* call, PyObject* name);

// The call was handed over to this thread (tango_telemetry.calls.caller.Site), by somebody who may stop waiting for it.
void set_call_site(PyObject* call, PyObject* site);

// From now on the call is under way for that series (null: for none), which counts it when it ends.
void time_call(PyObject* call, PyObject* series);

PyTypeObject* create_plan_type(PyObject* module);
PyTypeObject* create_plans_type(PyObject* module);
PyTypeObject* create_call_type(PyObject* module);
PyTypeObject* create_client_beginning_type(PyObject* module);
PyTypeObject* create_handler_beginning_type(PyObject* module);

}  // namespace tango_telemetry
