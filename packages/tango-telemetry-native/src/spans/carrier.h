// SPDX-License-Identifier: LGPL-3.0-or-later
// The trace context on its way to a peer and from one, for calls in C++. Which ways there are, core says.
#pragma once

#include "../bridge_functions.h"
#include "objects.h"

namespace tango_telemetry {

// What a call has set and must take back. All zero to begin with.
struct Carried {
    const GiopFunctions* giop;  // null where nothing was set
    int giop_previous;
    const IdlFunctions* idl;  // null where nothing was opened
    void* idl_scope;
    PyObject* token;  // of the bridge in Python, which had to do it; owned
    PyObject* bridge;  // that one; owned
    unsigned long thread;  // that made it; what was set is the thread's
};

// set_carrier(bridge, giop_functions, idl_functions): the ways of core's bridge, each None where it has none of it. A bridge
// of None, or one that carries baggage, leaves every call to Python.
PyObject* set_carrier(PyObject* module, PyObject* args);

// The span goes to the calls that this thread makes from now on. False with an error set, and nothing has changed.
bool enter_carrier(ModuleState& state, Carried& carried, PyObject* name, PyObject* span);

// False with an error set; everything is taken back nevertheless.
bool leave_carrier(ModuleState& state, Carried& carried);

// For the end of a call that was dropped before it could leave: leave_carrier() without a word, on the thread that entered.
void drop_carrier(ModuleState& state, Carried& carried);

int traverse_carried(const Carried& carried, visitproc visit, void* arg);
void clear_carried(Carried& carried);

// kOnUpcall: read from the request itself, which proves that the thread serves one.
enum class Found { kNo, kOnUpcall, kByIdl, kError };

// The parent that came with the request of the running upcall, where it is one that core.propagation.extract() would give
// without a trace state of others. kNo: none, or one for Python to judge.
Found find_remote_parent(ModuleState& state, SpanNumbers& parent);

}  // namespace tango_telemetry
