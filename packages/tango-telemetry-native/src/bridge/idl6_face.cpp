// SPDX-License-Identifier: LGPL-3.0-or-later
#include "giop.h"
#include "identification.h"
#include "idl6.h"
#include "python_face.h"

#include <string>

namespace py = pybind11;

namespace tango_telemetry {
namespace {

const idl6::Binding *binding = nullptr;
PyObject *prepare = nullptr; // called where this thread has no telemetry interface; null once that is hopeless
thread_local const void *seen_interface = nullptr;

bool has_interface() {
    const void *interface = binding == nullptr ? nullptr : binding->current_interface();
    if(interface == nullptr) {
        return false;
    }
    if(interface != seen_interface) {
        binding->remember_interface();
        seen_interface = interface;
    }
    return true;
}

// False also where Python raised; the caller must return then.
bool is_ready(bool &raised) {
    raised = false;
    if(has_interface()) {
        return true;
    }
    if(prepare == nullptr) {
        return false;
    }
    PyObject *function = prepare; // which may put another in its place
    Py_INCREF(function);
    PyObject *answer = PyObject_CallNoArgs(function);
    Py_DECREF(function);
    if(answer == nullptr) {
        raised = true;
        return false;
    }
    Py_DECREF(answer);
    return has_interface();
}

PyObject *to_carrier(PyObject *parent, PyObject *state) {
    static PyObject *const traceparent_key = PyUnicode_InternFromString("traceparent");
    static PyObject *const tracestate_key = PyUnicode_InternFromString("tracestate");
    PyObject *carrier = parent != nullptr && state != nullptr ? PyDict_New() : nullptr;
    if(carrier != nullptr && (PyDict_SetItem(carrier, traceparent_key, parent) != 0 ||
                              PyDict_SetItem(carrier, tracestate_key, state) != 0)) {
        Py_CLEAR(carrier);
    }
    Py_XDECREF(parent);
    Py_XDECREF(state);
    return carrier;
}

bool has_read() noexcept { return identification::knows_incoming(giop::this_thread()); }

void get_context(void (*sink)(void *, idl6::Text, idl6::Text), void *target) {
    const giop::ThreadState &thread = giop::this_thread();
    if(!identification::knows_incoming(thread)) {
        binding->get_context(sink, target);
    } else if(const wire::TraceContext *const found = identification::incoming(thread); found != nullptr) {
        sink(target, {found->traceparent, wire::traceparent_size}, {found->tracestate, found->tracestate_size});
    } else {
        sink(target, {"", 0}, {"", 0});
    }
}

PyObject *get_trace_context(PyObject *, PyObject *) {
    bool raised = false;
    if(!has_read() && !is_ready(raised)) {
        return raised ? nullptr : to_carrier(to_python("", 0), to_python("", 0));
    }
    PyObject *carrier = nullptr;
    get_context(
        [](void *target, idl6::Text parent, idl6::Text state) {
            *static_cast<PyObject **>(target) =
                to_carrier(to_python(parent.data, parent.size), to_python(state.data, state.size));
        },
        &carrier);
    return carrier;
}

bool is_ready_or_raised() {
    bool raised = false;
    return is_ready(raised);
}

void *open_scope(idl6::Text name, idl6::Text traceparent, idl6::Text tracestate) {
    return binding->open_scope(name, traceparent, tracestate);
}

void close_scope(void *scope) { binding->close_scope(scope); }

bool idl6_bind(const std::string &path) {
    if(binding == nullptr) {
        const LoadedLibrary library(path.c_str());
        binding = library ? idl6::bind(library) : nullptr;
    }
    return binding != nullptr;
}

void idl6_set_prepare(py::object callable) {
    if(!callable.is_none() && PyCallable_Check(callable.ptr()) == 0) {
        throw py::type_error("idl6_set_prepare() needs a callable or None");
    }
    PyObject *old = prepare;
    prepare = callable.is_none() ? nullptr : callable.release().ptr();
    Py_XDECREF(old);
}

// "" or the reason why libtango's import stays what it is.
std::string patch(const std::string &directory, const idl6::Import &wanted, const char *what) {
    const ImportPatch done = wanted.symbol == nullptr
                                 ? ImportPatch::not_found
                                 : patch_import(directory, "libtango", wanted.symbol, wanted.replacement);
    switch(done) {
    case ImportPatch::not_found:
        return std::string("libtango does not import cppTango's function that ") + what;
    case ImportPatch::failed:
        return std::string("the import table of libtango is read-only for the function that ") + what;
    default:
        return {};
    }
}

// Both halves or none. The functions in libtango's place do as cppTango until they are enabled.
std::string identification_install(const std::string &path, bool scopes) {
    if(!idl6_bind(path)) {
        return "cppTango's telemetry functions were not found in the libraries PyTango has loaded";
    }
    if(!giop::status().installed) {
        return "omniORB's interceptors are not registered";
    }
    const std::string library = file_of(binding->address());
    const std::string directory = library.substr(0, library.rfind('/') + 1);
    std::string reason = patch(directory, binding->server_import(), "opens a scope for a request");
    if(reason.empty()) {
        reason = patch(directory, binding->client_import, "gives a request its trace context");
    }
    if(reason.empty()) {
        identification::enable(scopes);
    }
    return reason;
}

py::dict identification_status() {
    const identification::Status status = identification::status();
    py::dict counters;
    for(const auto &[name, value] : status.counters) {
        counters[name] = value;
    }
    py::dict result;
    result["client"] = status.client;
    result["server"] = status.server;
    result["reason"] = status.reason;
    result["counters"] = counters;
    return result;
}

PyMethodDef hot_functions[] = {
    {"get_trace_context", get_trace_context, METH_NOARGS,
     "get_trace_context()\n--\n\nThe W3C trace context of cppTango on this thread, as a carrier."},
    {nullptr, nullptr, 0, nullptr},
};

} // namespace

const IdlFunctions idl_functions{identification::writes, has_read,   is_ready_or_raised,
                                 get_context,            open_scope, close_scope};

void keep_idl6_interfaces() {
    if(binding != nullptr) {
        binding->leak_interfaces();
    }
}

void add_idl6(py::module_ &m) {
    m.attr("idl_functions") = py::capsule(static_cast<const void *>(&idl_functions), IdlFunctions::name);
    if(PyModule_AddFunctions(m.ptr(), hot_functions) != 0) {
        throw py::error_already_set();
    }
    m.def("idl6_bind", &idl6_bind, py::arg("path"));
    m.def("idl6_has_interface", &has_interface);
    m.def("identification_install", &identification_install, py::arg("path"), py::arg("scopes"));
    m.def("identification_disable", &identification::disable);
    m.def("identification_status", &identification_status);
    m.def("idl6_set_prepare", &idl6_set_prepare, py::arg("callable"));
}

} // namespace tango_telemetry
