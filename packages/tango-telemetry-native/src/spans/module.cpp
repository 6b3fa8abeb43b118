// SPDX-License-Identifier: LGPL-3.0-or-later
// The extension module tango_telemetry_native._spans.
#include <pthread.h>

#include <mutex>

#include "calls.h"
#include "core/id_source.h"
#include "core/otlp_json.h"
#include "durations.h"
#include "objects.h"

namespace tango_telemetry {
namespace {

ModuleState* state_of_module(PyObject* module) { return static_cast<ModuleState*>(PyModule_GetState(module)); }

bool add_type(PyObject* module, PyTypeObject*& field, PyTypeObject* (*create)(PyObject*)) {
    field = create(module);
    return field && PyModule_AddType(module, field) == 0;
}

void register_fork_handlers() {
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, reseed_after_fork); });
    SpanQueue::register_fork_handlers();
}

int execute(PyObject* module) {
    ModuleState& state = *state_of_module(module);
    if (!intern_names(state) || !add_type(module, state.span_base, create_span_type) ||
        !add_type(module, state.dropped_span_base, create_dropped_span_type) ||
        !add_type(module, state.tracer_base, create_tracer_type) ||
        !add_type(module, state.activation_type, create_activation_type) ||
        !add_type(module, state.current_span_type, create_current_span_type) ||
        !add_type(module, state.queue_type, create_queue_type) ||
        !add_type(module, state.resource_type, create_resource_type) ||
        !add_type(module, state.scope_type, create_scope_type) ||
        !add_type(module, state.plan_type, create_plan_type) || !add_type(module, state.plans_type, create_plans_type) ||
        !add_type(module, state.call_type, create_call_type) ||
        !add_type(module, state.durations_type, create_durations_type) ||
        !add_type(module, state.client_beginning_type, create_client_beginning_type) ||
        !add_type(module, state.handler_beginning_type, create_handler_beginning_type)) {
        return -1;
    }
    register_fork_handlers();
    return 0;
}

int traverse(PyObject* module, visitproc visit, void* arg) {
    ModuleState* const state = state_of_module(module);
    return state ? traverse_state(*state, visit, arg) : 0;
}

int clear(PyObject* module) {
    if (ModuleState* const state = state_of_module(module)) {
        clear_state(*state);
    }
    return 0;
}

void release(void* module) {
    if (ModuleState* const state = state_of_module(static_cast<PyObject*>(module))) {
        free_state(*state);
    }
}

// configure_calls(record_failure, is_omni_thread, remote_span_class, thread_attributes, epoch, pass_through): what
// calls need of Python now and then.
PyObject* configure_calls(PyObject* module, PyObject* args) {
    PyObject *record_failure, *is_omni_thread, *remote_span_class, *thread_attributes, *epoch, *pass_through = Py_None;
    if (!PyArg_ParseTuple(args, "OOOOO!|O", &record_failure, &is_omni_thread, &remote_span_class, &thread_attributes,
                          &PyList_Type, &epoch, &pass_through)) {
        return nullptr;
    }
    ModuleState& state = *state_of_module(module);
    Ref threads(PyDict_New());
    Ref threading(PyImport_ImportModule("threading"));
    Ref thread_class(threading ? PyObject_GetAttrString(threading.get(), "Thread") : nullptr);
    Ref thread_name(thread_class ? PyObject_GetAttr(thread_class.get(), state.s_name) : nullptr);
    if (!threads || !thread_name) {
        return nullptr;
    }
    Ref old_name(std::exchange(state.thread_name, thread_name.release()));
    Ref old_threading(std::exchange(state.threading, new_ref(PyModule_GetDict(threading.get()))));
    Ref old_failure(std::exchange(state.record_failure, new_ref(record_failure)));
    Ref old_thread(std::exchange(state.is_omni_thread, new_ref(is_omni_thread)));
    Ref old_class(std::exchange(state.remote_span_class, new_ref(remote_span_class)));
    Ref old_pass(std::exchange(state.pass_through, pass_through == Py_None ? nullptr : new_ref(pass_through)));
    Ref old_epoch(std::exchange(state.epoch, new_ref(epoch)));
    Ref old_attributes(std::exchange(state.thread_attributes, new_ref(thread_attributes)));
    Ref old_threads(std::exchange(state.threads, threads.release()));
    Py_RETURN_NONE;
}

// write_json_lines(signal, request, most_per_line): OTLP JSON for a serialised request, without the GIL.
PyObject* write_json_lines_of(PyObject*, PyObject* args) {
    int signal;
    Py_ssize_t most;
    PyObject* request;
    if (!PyArg_ParseTuple(args, "iO!n", &signal, &PyBytes_Type, &request, &most)) {
        return nullptr;
    }
    if (signal < 0 || signal > static_cast<int>(Signal::kMetrics) || most < 1) {
        PyErr_SetString(PyExc_ValueError, "a signal is 0, 1 or 2, and a line holds at least one item");
        return nullptr;
    }
    Buffer lines;
    bool written;
    Py_BEGIN_ALLOW_THREADS  // the caller holds the bytes, which never change
    written = write_json_lines(static_cast<Signal>(signal), PyBytes_AS_STRING(request),
                               static_cast<std::size_t>(PyBytes_GET_SIZE(request)), static_cast<std::size_t>(most), lines);
    Py_END_ALLOW_THREADS
    if (!written) {
        PyErr_SetString(PyExc_ValueError, lines.failed() ? "out of memory" : "no request of OTLP");
        return nullptr;
    }
    return PyBytes_FromStringAndSize(lines.data(), static_cast<Py_ssize_t>(lines.size()));
}

PyMethodDef functions[] = {
    {"write_json_lines", write_json_lines_of, METH_VARARGS,
     "write_json_lines(signal, request, most_per_line, /): the lines of OTLP JSON for a serialised request of traces (0),\n"
     "logs (1) or metrics (2). Raises ValueError for what is none."},
    {"configure", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(configure)), METH_VARARGS | METH_KEYWORDS,
     "configure(**objects): what the types need of opentelemetry; called once, by tango_telemetry_native.spans."},
    {"make_current", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(make_current)), METH_FASTCALL,
     "make_current(span, context, /, *pairs): a CurrentSpan; the pairs are context variables and their values."},
    {"configure_calls", configure_calls, METH_VARARGS,
     "configure_calls(record_failure, is_omni_thread, remote_span_class, thread_attributes, epoch, pass_through=None, /):\n"
     "what calls need of Python now and then."},
    {"set_carrier", set_carrier, METH_VARARGS,
     "set_carrier(bridge, giop_functions, idl_functions, /): how the context\n"
     "travels; with a bridge of None every call is Python's."},
    {"open_spans", open_spans, METH_O, "open_spans(most, /): the spans that have not ended, at most so many, youngest first."},
    {"forget_open_spans", forget_open_spans, METH_NOARGS,
     "Know none of the open spans any more: in a forked child they are the parent's."},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(execute)},
    {0, nullptr},
};

}  // namespace

PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    "_spans",
    "OpenTelemetry spans, recorded and encoded in C++.",
    sizeof(ModuleState),
    functions,
    slots,
    traverse,
    clear,
    release,
};

}  // namespace tango_telemetry

PyMODINIT_FUNC PyInit__spans() { return PyModuleDef_Init(&tango_telemetry::module_definition); }
