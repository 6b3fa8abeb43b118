// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The Python face of the bridge: GIOP service contexts, IDL version 6, events, and what cppTango reads from the environment.
//
// The functions that run on every call use CPython's vectorcall protocol directly: an empty pybind11 function costs
// about as much as all of their work.
#pragma once

#include "../bridge_functions.h"

#include <pybind11/pybind11.h>

#include <cstddef>

namespace tango_telemetry {

void add_environment(pybind11::module_ &module);
void add_giop(pybind11::module_ &module);
void add_idl6(pybind11::module_ &module);
void add_events(pybind11::module_ &module);
void add_scope_type(pybind11::module_ &module);

// What the capsule of the same name in Python holds.
extern const IdlFunctions idl_functions;

// The part of IDL version 6 in what is to be done in the child of a fork.
void keep_idl6_interfaces();

// Strings from a peer are bytes; Latin-1 never fails, and where they are valid they are ASCII.
inline PyObject *to_python(const char *data, std::size_t size) {
    return PyUnicode_DecodeLatin1(data, static_cast<Py_ssize_t>(size), nullptr);
}

} // namespace tango_telemetry
