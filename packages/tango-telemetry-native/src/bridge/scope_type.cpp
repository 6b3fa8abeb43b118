// SPDX-License-Identifier: LGPL-3.0-or-later
// TraceContextScope. By CPython's own means, because pybind11 gives a method uninitialised memory where __new__ has made the
// object without __init__, and ends the process where the base of its types is called, as pickle's protocol 0 does (3.0).
#include "python_face.h"

#include <new>
#include <string>
#include <utility>

namespace tango_telemetry {
namespace {

struct ScopeObject {
    PyObject_HEAD
    std::string *texts; // name, traceparent and tracestate; never null
    void *scope;        // null where none is open
};

ScopeObject *as_scope(PyObject *object) { return reinterpret_cast<ScopeObject *>(object); }

// UTF-8, with a question mark for what has none (a lone surrogate): a span's name must not make a call fail.
bool to_utf8(PyObject *text, std::string &out) {
    Py_ssize_t size = 0;
    if(const char *data = PyUnicode_AsUTF8AndSize(text, &size)) {
        out.assign(data, static_cast<std::size_t>(size));
        return true;
    }
    PyErr_Clear();
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "replace");
    if(bytes == nullptr) {
        return false;
    }
    out.assign(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
    Py_DECREF(bytes);
    return true;
}

void close(ScopeObject *self) {
    if(void *scope = std::exchange(self->scope, nullptr)) {
        idl_functions.close_scope(scope);
    }
}

PyObject *scope_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static const char *names[] = {"name", "traceparent", "tracestate", nullptr};
    PyObject *given[3];
    if(!PyArg_ParseTupleAndKeywords(args, kwargs, "UUU", const_cast<char **>(names), given, given + 1, given + 2)) {
        return nullptr;
    }
    PyObject *made = type->tp_alloc(type, 0);
    if(made == nullptr) {
        return nullptr;
    }
    bool good = false;
    try {
        as_scope(made)->texts = new std::string[3];
        good = to_utf8(given[0], as_scope(made)->texts[0]) && to_utf8(given[1], as_scope(made)->texts[1]) &&
               to_utf8(given[2], as_scope(made)->texts[2]);
    } catch(const std::bad_alloc &) {
        PyErr_NoMemory();
    }
    if(!good) {
        Py_CLEAR(made);
    }
    return made;
}

PyObject *scope_enter(PyObject *self, PyObject *) {
    ScopeObject *scope = as_scope(self);
    if(scope->scope == nullptr && idl_functions.is_ready() && scope->scope == nullptr) {
        const auto text = [scope](int i) { return IdlFunctions::Text{scope->texts[i].data(), scope->texts[i].size()}; };
        scope->scope = idl_functions.open_scope(text(0), text(1), text(2));
    }
    if(PyErr_Occurred() != nullptr) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject *scope_exit(PyObject *self, PyObject *args, PyObject *kwargs) {
    static const char *names[] = {"exception_type", "exception", "traceback", nullptr};
    PyObject *ignored;
    if(!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO", const_cast<char **>(names), &ignored, &ignored, &ignored)) {
        return nullptr;
    }
    close(as_scope(self));
    Py_RETURN_FALSE;
}

void scope_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    close(as_scope(self));
    delete[] as_scope(self)->texts;
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"__enter__", scope_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(scope_exit)), METH_VARARGS | METH_KEYWORDS,
     nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char *>("TraceContextScope(name, traceparent, tracestate)\n--\n\n"
                                   "Makes a trace context cppTango's own for the length of a with block.")},
    {Py_tp_new, reinterpret_cast<void *>(scope_new)},
    {Py_tp_dealloc, reinterpret_cast<void *>(scope_dealloc)},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._bridge.TraceContextScope", sizeof(ScopeObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

} // namespace

void add_scope_type(pybind11::module_ &module) {
    PyObject *type = PyType_FromSpec(&spec);
    if(type == nullptr || PyModule_AddType(module.ptr(), reinterpret_cast<PyTypeObject *>(type)) != 0) {
        Py_XDECREF(type);
        throw pybind11::error_already_set();
    }
    Py_DECREF(type);
}

} // namespace tango_telemetry
