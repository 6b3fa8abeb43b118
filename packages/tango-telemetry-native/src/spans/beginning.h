// SPDX-License-Identifier: LGPL-3.0-or-later
// What the two beginnings share: ClientBeginning and HandlerBeginning, which tango_telemetry_client and
// tango_telemetry_server call first in each call.
#pragma once

#include "calls.h"

namespace tango_telemetry {

struct BeginningObject {
    PyObject_HEAD
    PyObject* module;
    PyObject* in_python;  // the function in Python for every other call
    PyObject* tracer_variable;
    // Of a handler: the context variable of the running handler, the known clients, and what describes a new one
    // (both None where PyTango cannot tell). Of a client: the variable of the active call, the modules that are not
    // callers, and the name that cppTango is given.
    PyObject* variable;
    PyObject* known;
    PyObject* other;
    // Of a client only: the variable of the place that has handed a call over, what the first argument is called, and what
    // it names.
    PyObject* site_variable;
    PyObject* keyword;
    int takes;
};

void replace(PyObject*& field, PyObject* object);

inline BeginningObject* as_beginning(PyObject* object) { return reinterpret_cast<BeginningObject*>(object); }

inline ModuleState& state_of(BeginningObject* self) {
    return *static_cast<ModuleState*>(PyModule_GetState(self->module));
}

// Whether calls may run in C++ now, which takes configure(), configure_calls() and set_carrier() in any order; false with an
// error set where the object was never initialised.
bool is_ready(BeginningObject* self);

// A new reference; null without an error only where the variable has neither a value nor a default.
Ref get_variable(PyObject* variable);

// What is told of a call beside its plan. Its parent is `remote` or, without that, what `context` holds.
struct Told {
    PyObject* name;     // null, or what the call is about
    PyObject* context;  // may be null
    const SpanNumbers* remote;
    PyObject* links;  // may be null
};

// The span of a call.
Ref start_planned(ModuleState& state, const PlanObject* plan, PyObject* tracer, const Told& told);

// Sets attributes on a span that is recorded, whoever made it; false with an error set.
bool add_attributes(ModuleState& state, PyObject* span, PyObject* attributes);

// The call if it was begun, else what `in_python` gives. To be called with what went wrong, if anything did.
PyObject* call_or_python(BeginningObject* self, Ref call, PyObject* const* args, Py_ssize_t count);

bool init_beginning(BeginningObject* self, PyObject* in_python, PyObject* tracer_variable, PyObject* variable,
                    PyObject* known, PyObject* other);

// The type of `name` with an initialiser and one table of methods.
PyTypeObject* create_beginning_type(PyObject* module, const char* name, const char* doc, initproc init,
                                    PyMethodDef* methods);

inline PyCFunction fast_method(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace tango_telemetry
