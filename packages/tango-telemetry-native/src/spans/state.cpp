// SPDX-License-Identifier: LGPL-3.0-or-later
#include "state.h"

#include <new>

namespace tango_telemetry {

PyObject* module_of_type(PyTypeObject* type) {
    // PyType_GetModuleByDef exists since Python 3.11 only.
    PyObject* const order = type->tp_mro;
    for (Py_ssize_t i = 0, count = order ? PyTuple_GET_SIZE(order) : 0; i < count; i++) {
        auto* const base = reinterpret_cast<PyTypeObject*>(PyTuple_GET_ITEM(order, i));
        if (!PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE)) {
            continue;
        }
        PyObject* const module = reinterpret_cast<PyHeapTypeObject*>(base)->ht_module;
        if (module && PyModule_Check(module) && PyModule_GetDef(module) == &module_definition) {
            return module;
        }
    }
    PyErr_SetString(PyExc_TypeError, "not a type of tango_telemetry_native._spans");
    return nullptr;
}

ModuleState* state_of_type(PyTypeObject* type) {
    PyObject* const module = module_of_type(type);
    return module ? static_cast<ModuleState*>(PyModule_GetState(module)) : nullptr;
}

bool intern_names(ModuleState& state) {
#define X(name)                                            \
    state.s_##name = PyUnicode_InternFromString(#name);    \
    if (!state.s_##name) {                                 \
        return false;                                      \
    }
    TANGO_SPANS_NAMES(X)
#undef X
    struct {
        PyObject** target;
        const char* text;
    } const others[] = {
        {&state.s_dunder_module, "__module__"},
        {&state.s_dunder_qualname, "__qualname__"},
        {&state.s_dunder_name, "__name__"},
        {&state.s_check_topic, "_check_telemetry_topic"},
        {&state.k_plans, "_tango_telemetry_plans"},
        {&state.k_user, "user"},
        {&state.k_owner, "tango-telemetry-owner"},  // as in tango_telemetry.providers.tracers
        {&state.k_thread_id, "thread.id"},
        {&state.k_thread_name, "thread.name"},
        {&state.k_thread, "_tango_telemetry_thread"},
        {&state.k_exception_type, "exception.type"},
        {&state.k_exception_message, "exception.message"},
        {&state.k_exception_stacktrace, "exception.stacktrace"},
        {&state.k_exception_escaped, "exception.escaped"},
    };
    for (const auto& other : others) {
        *other.target = PyUnicode_InternFromString(other.text);
        if (!*other.target) {
            return false;
        }
    }
    state.empty_tuple = PyTuple_New(0);
    return state.empty_tuple != nullptr;
}

#define TANGO_SPANS_OTHERS(X) \
    X(s_dunder_module)        \
    X(s_dunder_qualname)      \
    X(s_dunder_name)          \
    X(s_check_topic)          \
    X(k_plans)                \
    X(k_user)                 \
    X(k_owner)                \
    X(carrier_bridge)         \
    X(record_failure)         \
    X(is_omni_thread)         \
    X(epoch)                  \
    X(pass_through)           \
    X(remote_span_class)      \
    X(thread_attributes)      \
    X(threading)              \
    X(threads)                \
    X(k_thread_id)            \
    X(k_thread_name)          \
    X(k_thread)               \
    X(thread_name)            \
    X(k_exception_type)       \
    X(k_exception_message)    \
    X(k_exception_stacktrace) \
    X(k_exception_escaped)    \
    X(empty_tuple)            \
    X(empty_context)          \
    X(span_base)              \
    X(dropped_span_base)      \
    X(tracer_base)            \
    X(activation_type)        \
    X(current_span_type)      \
    X(queue_type)             \
    X(resource_type)          \
    X(scope_type)             \
    X(plan_type)              \
    X(plans_type)             \
    X(call_type)              \
    X(durations_type)         \
    X(client_beginning_type)  \
    X(handler_beginning_type)

int traverse_state(ModuleState& state, visitproc visit, void* arg) {
#define X(name) Py_VISIT(state.name);
    TANGO_SPANS_CONFIGURED(X)
    TANGO_SPANS_OTHERS(X)
#undef X
    return 0;
}

void clear_state(ModuleState& state) {
    state.configured = false;
#define X(name) Py_CLEAR(state.name);
    TANGO_SPANS_CONFIGURED(X)
    TANGO_SPANS_OTHERS(X)
#undef X
#define X(name) Py_CLEAR(state.s_##name);
    TANGO_SPANS_NAMES(X)
#undef X
}

void free_state(ModuleState& state) {
    clear_state(state);
    while (state.spare_record_count) {
        delete state.spare_records[--state.spare_record_count];
    }
    while (Scratch* const scratch = state.spare_scratch) {
        state.spare_scratch = scratch->next;
        delete scratch;
    }
    state.spare_scratch_count = 0;
}

SpanRecord* take_record(ModuleState& state) {
    if (state.spare_record_count) {
        return state.spare_records[--state.spare_record_count];
    }
    SpanRecord* const record = new (std::nothrow) SpanRecord;
    if (!record) {
        PyErr_NoMemory();
    }
    return record;
}

void give_record(ModuleState& state, SpanRecord* record) {
    constexpr int kSpare = sizeof state.spare_records / sizeof state.spare_records[0];
    if (state.spare_record_count < kSpare && record->is_small()) {
        record->reset();
        state.spare_records[state.spare_record_count++] = record;
    } else {
        delete record;
    }
}

ScratchLease::ScratchLease(ModuleState& state) : state_(state), scratch_(state.spare_scratch) {
    if (scratch_) {
        state.spare_scratch = scratch_->next;
        state.spare_scratch_count--;
        return;
    }
    scratch_ = new (std::nothrow) Scratch;
    if (!scratch_) {
        PyErr_NoMemory();
    }
}

ScratchLease::~ScratchLease() {
    if (!scratch_) {
        return;
    }
    const std::size_t memory =
        scratch_->value.capacity() + scratch_->key.capacity() + scratch_->attributes.memory();
    if (state_.spare_scratch_count >= 8 || memory > 65536) {
        delete scratch_;
        return;
    }
    scratch_->next = state_.spare_scratch;
    state_.spare_scratch = scratch_;
    state_.spare_scratch_count++;
}

bool absorb_error(ModuleState& state, const char* what) {
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return false;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback) {  // up to Python 3.11 the exception itself does not know it yet
        PyException_SetTraceback(value, traceback);
    }
    Ref owned_type(type), owned_value(value), owned_traceback(traceback);
    if (!state.configured || !state.report_failure) {
        return true;
    }
    if (value && traceback && PyException_SetTraceback(value, traceback) < 0) {  // Python 3.12 has done so
        PyErr_Clear();
    }
    Ref text(PyUnicode_FromString(what));
    Ref result;
    if (text) {
        result = Ref(PyObject_CallFunctionObjArgs(state.report_failure, text.get(), value ? value : Py_None, nullptr));
    }
    if (!result) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return false;
        }
        PyErr_Clear();
    }
    if (result.get() == Py_False) {  // raised into this call from outside, by a handler of a signal perhaps
        PyErr_Restore(owned_type.release(), owned_value.release(), owned_traceback.release());
        return false;
    }
    return true;
}

namespace {

bool check_types(ModuleState& state) {
    const auto is_base = [](PyObject* type, PyTypeObject* base) {
        return PyType_Check(type) && PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), base);
    };
    if (!is_base(state.span_class, state.span_base) || !is_base(state.dropped_span_class, state.dropped_span_base) ||
        !PyType_Check(state.span_context_class) || !PyType_Check(state.status_class) ||
        !PyType_Check(state.context_class) ||
        !PyTuple_Check(state.status_codes) || PyTuple_GET_SIZE(state.status_codes) != 3 ||
        !PyTuple_Check(state.span_kinds) || PyTuple_GET_SIZE(state.span_kinds) != 5 ||
        !PyTuple_Check(state.trace_flags) || PyTuple_GET_SIZE(state.trace_flags) != 256) {
        PyErr_SetString(PyExc_TypeError, "configure() was given an object of the wrong type");
        return false;
    }
    return true;
}

// SpanContext is a tuple in every opentelemetry-api 1.x. That is not promised, so it is tried.
bool probe_span_context(ModuleState& state) {
    state.span_context_is_tuple = false;
    if (!PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(state.span_context_class), &PyTuple_Type)) {
        return true;
    }
    Ref trace_id(PyLong_FromLong(1)), span_id(PyLong_FromLong(2));
    PyObject* const flags = PyTuple_GET_ITEM(state.trace_flags, 1);
    if (!trace_id || !span_id) {
        return false;
    }
    Ref context(PyObject_CallFunctionObjArgs(state.span_context_class, trace_id.get(), span_id.get(), Py_True, flags,
                                             state.default_trace_state, nullptr));
    if (!context) {
        return false;
    }
    PyObject* const c = context.get();
    state.span_context_is_tuple = PyTuple_Check(c) && PyTuple_GET_SIZE(c) == 6 &&
                                  PyTuple_GET_ITEM(c, 0) == trace_id.get() &&
                                  PyTuple_GET_ITEM(c, 1) == span_id.get() && PyTuple_GET_ITEM(c, 2) == Py_True &&
                                  PyTuple_GET_ITEM(c, 3) == flags &&
                                  PyTuple_GET_ITEM(c, 4) == state.default_trace_state &&
                                  PyTuple_GET_ITEM(c, 5) == Py_True;
    return true;
}

}  // namespace

PyObject* configure(PyObject* module, PyObject* args, PyObject* kwargs) {
    auto& state = *static_cast<ModuleState*>(PyModule_GetState(module));
    if (PyTuple_GET_SIZE(args) || !kwargs) {
        PyErr_SetString(PyExc_TypeError, "configure() takes keyword arguments only");
        return nullptr;
    }
    if (state.configured) {
        PyErr_SetString(PyExc_RuntimeError, "configure() was called before");
        return nullptr;
    }
#define X(name)                                                                    \
    {                                                                              \
        PyObject* const given = PyDict_GetItemString(kwargs, #name);               \
        if (!given) {                                                              \
            PyErr_SetString(PyExc_TypeError, "configure() needs '" #name "'");     \
            return nullptr;                                                        \
        }                                                                          \
        PyObject* const old = state.name;                                          \
        state.name = new_ref(given);                                               \
        Py_XDECREF(old);                                                           \
    }
    TANGO_SPANS_CONFIGURED(X)
#undef X
    if (!check_types(state) || !probe_span_context(state)) {
        return nullptr;
    }
    Ref context(PyObject_CallNoArgs(state.context_class));
    if (!context) {
        return nullptr;
    }
    // Without its own context variable, key and dict-like context calls are begun in Python.
    const bool is_dict = PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(state.context_class), &PyDict_Type);
    if (!PyContextVar_CheckExact(state.context_variable) || state.span_key == Py_None || !is_dict ||
        !PyDict_Check(context.get())) {
        PyObject* const old = state.context_variable;
        state.context_variable = new_ref(Py_None);
        Py_DECREF(old);
    }
    PyObject* const old = state.empty_context;
    state.empty_context = context.release();
    Py_XDECREF(old);
    state.configured = true;
    Py_RETURN_NONE;
}

}  // namespace tango_telemetry
