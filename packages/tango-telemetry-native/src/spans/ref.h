// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <utility>

namespace tango_telemetry {

// An owned reference to a Python object, possibly none.
class Ref {
public:
    Ref() noexcept = default;
    explicit Ref(PyObject* owned) noexcept : object_(owned) {}
    static Ref borrow(PyObject* object) noexcept {
        Py_XINCREF(object);
        return Ref(object);
    }
    Ref(Ref&& other) noexcept : object_(other.release()) {}
    Ref& operator=(Ref&& other) noexcept {
        PyObject* const old = object_;
        object_ = other.release();
        Py_XDECREF(old);
        return *this;
    }
    Ref(const Ref&) = delete;
    Ref& operator=(const Ref&) = delete;
    ~Ref() { Py_XDECREF(object_); }

    PyObject* get() const noexcept { return object_; }
    PyObject* release() noexcept { return std::exchange(object_, nullptr); }
    explicit operator bool() const noexcept { return object_ != nullptr; }

private:
    PyObject* object_ = nullptr;
};

// An error that is on its way, put aside while something else has to be done. What goes wrong meanwhile is forgotten, unless
// it is what may never be (KeyboardInterrupt and its like) and the error put aside is not.
class PendingError {
public:
    PendingError() noexcept { PyErr_Fetch(&type_, &value_, &traceback_); }
    PendingError(const PendingError&) = delete;
    PendingError& operator=(const PendingError&) = delete;
    ~PendingError() {
        const bool graver = PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception) &&
                            (!type_ || PyErr_GivenExceptionMatches(type_, PyExc_Exception));
        if (graver) {
            Py_XDECREF(type_);
            Py_XDECREF(value_);
            Py_XDECREF(traceback_);
        } else {
            PyErr_Restore(type_, value_, traceback_);
        }
    }

private:
    PyObject* type_ = nullptr;
    PyObject* value_ = nullptr;
    PyObject* traceback_ = nullptr;
};

inline PyObject* new_ref(PyObject* object) noexcept {
    Py_INCREF(object);
    return object;
}

inline PyObject* new_bool(bool value) noexcept { return new_ref(value ? Py_True : Py_False); }

}  // namespace tango_telemetry
