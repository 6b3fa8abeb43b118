// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include "ref.h"

namespace tango_telemetry {

// Binds the arguments of a METH_FASTCALL | METH_KEYWORDS call to names, as a Python function would; what was not
// given stays null. False with TypeError set. All are borrowed.
inline bool bind_arguments(const char* function, PyObject* const* names, int count, int required,
                           PyObject* const* args, Py_ssize_t positional, PyObject* keywords, PyObject** out) {
    for (int i = 0; i < count; i++) {
        out[i] = nullptr;
    }
    if (positional > count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments (%zd given)", function, count, positional);
        return false;
    }
    for (Py_ssize_t i = 0; i < positional; i++) {
        out[i] = args[i];
    }
    for (Py_ssize_t i = 0, given = keywords ? PyTuple_GET_SIZE(keywords) : 0; i < given; i++) {
        PyObject* const keyword = PyTuple_GET_ITEM(keywords, i);
        int found = 0;
        while (found < count && names[found] != keyword) {
            found++;
        }
        if (found == count) {  // not interned: compare the text
            found = 0;
            while (found < count && PyUnicode_Compare(names[found], keyword) != 0) {
                found++;
            }
        }
        if (found == count) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, keyword);
            return false;
        }
        if (out[found]) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, keyword);
            return false;
        }
        out[found] = args[positional + i];
    }
    for (int i = 0; i < required; i++) {
        if (!out[i]) {
            PyErr_Format(PyExc_TypeError, "%s() missing a required argument: '%U'", function, names[i]);
            return false;
        }
    }
    return true;
}

inline PyObject* value_or_null(PyObject* object) { return object == Py_None ? nullptr : object; }

}  // namespace tango_telemetry
