// SPDX-License-Identifier: LGPL-3.0-or-later
#include "carrier.h"

#include "../span_texts.h"

#include <algorithm>
#include <utility>

namespace tango_telemetry {
namespace {

bool read_strings(const char* parent, std::size_t parent_size, const char* entry, std::size_t entry_size,
                  SpanNumbers& numbers) {
    if (!read_parent(parent, parent_size, numbers)) {
        return false;
    }
    SpanNumbers named{};
    if (entry_size && !read_entry(entry, entry_size, named)) {
        return false;
    }
    if (!(numbers.flags & 1)) {  // cppTango's span is not recorded: the entry names the parent
        if (!named.span_id) {
            return false;
        }
        numbers.span_id = named.span_id;
        numbers.flags = named.flags;
    }
    numbers.flags &= 3;
    return true;
}

// core.bridge.StackedBridge: cppTango's word counts if its spans are recorded or if our entry came with it.
bool is_believed(const char* parent, std::size_t parent_size, const char* entry, std::size_t entry_size) {
    static constexpr char key[] = "tango=";
    return is_sampled(parent, parent_size) || std::search(entry, entry + entry_size, key, key + 6) != entry + entry_size;
}

struct IncomingTexts {
    bool read;
    bool believed;
    SpanNumbers* parent;
};

void read_texts(void* target, IdlFunctions::Text parent, IdlFunctions::Text entry) {
    auto* const texts = static_cast<IncomingTexts*>(target);
    texts->believed = is_believed(parent.data, parent.size, entry.data, entry.size);
    texts->read = texts->believed && read_strings(parent.data, parent.size, entry.data, entry.size, *texts->parent);
}

// Where cppTango's functions are not there for this thread, Python has to judge.
Found find_by_idl(const IdlFunctions& idl, SpanNumbers& parent, bool& believed) {
    believed = true;
    const bool on_upcall = idl.has_read();
    if (!on_upcall && !idl.is_ready()) {
        return PyErr_Occurred() ? Found::kError : Found::kNo;
    }
    IncomingTexts texts{false, false, &parent};
    idl.get_context(read_texts, &texts);
    believed = texts.believed;
    return !texts.read ? Found::kNo : on_upcall ? Found::kOnUpcall : Found::kByIdl;
}

// False with an error set. A scope that cppTango refuses to open carries nothing.
bool open_scope(const IdlFunctions& idl, Carried& carried, PyObject* name, const SpanNumbers& span) {
    Py_ssize_t size = 0;
    const char* const text = PyUnicode_AsUTF8AndSize(name, &size);
    if (!text) {
        return false;
    }
    const SpanTexts texts(span);
    carried.idl_scope = idl.open_scope({text, static_cast<std::size_t>(size)}, {texts.parent, sizeof texts.parent},
                                       {texts.entry, sizeof texts.entry});
    carried.idl = carried.idl_scope ? &idl : nullptr;
    return true;
}

enum class Named { kNothing, kByNumbers, kByMore, kError };

// What a context that is to travel has to say of the span: its numbers, a trace state too, or nothing.
Named read_span(ModuleState& state, PyObject* span, SpanNumbers& numbers) {
    SpanContextFields fields;
    PyObject* trace_state;
    if (PyObject_TypeCheck(span, state.span_base) || PyObject_TypeCheck(span, state.dropped_span_base)) {
        const Identity& identity = reinterpret_cast<AnySpanObject*>(span)->identity;
        numbers = {identity.trace_id_high, identity.trace_id_low, identity.span_id, identity.flags};
        trace_state = identity.trace_state;
        if (!identity.span_id && identity.context) {
            return Named::kByMore;  // a tracer that is switched off hands its parent on
        }
    } else {
        Ref context(PyObject_CallMethodNoArgs(span, state.s_get_span_context));
        if (!context || !read_span_context(state, context.get(), fields)) {
            return Named::kError;
        }
        numbers = {fields.trace_id_high, fields.trace_id_low, fields.span_id, fields.flags};
        trace_state = fields.trace_state.get();
    }
    if (!(numbers.trace_id_high || numbers.trace_id_low) || !numbers.span_id) {
        return Named::kNothing;
    }
    return trace_state && trace_state != state.default_trace_state ? Named::kByMore : Named::kByNumbers;
}

bool enter_in_python(ModuleState& state, Carried& carried, PyObject* name, PyObject* span) {
    Ref context(PyObject_CallMethodNoArgs(span, state.s_get_span_context));
    Ref token(context ? PyObject_CallMethodObjArgs(state.carrier_bridge, state.s_enter_span, name, context.get(), nullptr)
                      : nullptr);
    if (!token) {
        return false;
    }
    carried.token = token.release();
    carried.bridge = new_ref(state.carrier_bridge);
    return true;
}

}  // namespace

PyObject* set_carrier(PyObject* module, PyObject* args) {
    auto& state = *static_cast<ModuleState*>(PyModule_GetState(module));
    PyObject *bridge, *giop, *idl;
    if (!PyArg_ParseTuple(args, "OOO", &bridge, &giop, &idl)) {
        return nullptr;
    }
    const void *giop_functions = nullptr, *idl_functions = nullptr;
    if ((giop != Py_None && !(giop_functions = PyCapsule_GetPointer(giop, GiopFunctions::name))) ||
        (idl != Py_None && !(idl_functions = PyCapsule_GetPointer(idl, IdlFunctions::name)))) {
        return nullptr;
    }
    state.giop = static_cast<const GiopFunctions*>(giop_functions);
    state.idl = static_cast<const IdlFunctions*>(idl_functions);
    Ref old(std::exchange(state.carrier_bridge, bridge == Py_None ? nullptr : new_ref(bridge)));
    Py_RETURN_NONE;
}

bool enter_carrier(ModuleState& state, Carried& carried, PyObject* name, PyObject* span) {
    SpanNumbers numbers{};
    carried.thread = PyThread_get_thread_ident();
    switch (read_span(state, span, numbers)) {
        case Named::kNothing:
            return true;
        case Named::kError:
            return false;
        case Named::kByMore:
            return enter_in_python(state, carried, name, span);
        case Named::kByNumbers:
            break;
    }
    const IdlFunctions* const scopes = state.giop && state.idl && state.idl->writes() ? nullptr : state.idl;
    if (scopes && !scopes->is_ready()) {
        return !PyErr_Occurred() && enter_in_python(state, carried, name, span);
    }
    if (state.giop) {
        const int previous = state.giop->set_span(numbers);
        if (previous == GiopFunctions::busy) {
            return enter_in_python(state, carried, name, span);
        }
        carried.giop = state.giop;
        carried.giop_previous = previous;
    }
    if (scopes && !open_scope(*scopes, carried, name, numbers)) {
        PendingError pending;
        leave_carrier(state, carried);
        return false;
    }
    return true;
}

bool leave_carrier(ModuleState& state, Carried& carried) {
    bool good = true;
    if (const IdlFunctions* const idl = std::exchange(carried.idl, nullptr)) {
        idl->close_scope(carried.idl_scope);
    }
    if (const GiopFunctions* const giop = std::exchange(carried.giop, nullptr)) {
        giop->restore(carried.giop_previous);
    }
    if (Ref token(std::exchange(carried.token, nullptr)); token) {
        Ref bridge(std::exchange(carried.bridge, nullptr));
        Ref left(PyObject_CallMethodObjArgs(bridge.get(), state.s_exit, token.get(), nullptr));
        good = static_cast<bool>(left);
    }
    return good;
}

void drop_carrier(ModuleState& state, Carried& carried) {
    if (!(carried.idl || carried.giop || carried.token) || carried.thread != PyThread_get_thread_ident()) {
        return;
    }
    PyObject *kind, *value, *traceback;
    PyErr_Fetch(&kind, &value, &traceback);
    if (!leave_carrier(state, carried)) {
        PyErr_Clear();
    }
    PyErr_Restore(kind, value, traceback);
}

int traverse_carried(const Carried& carried, visitproc visit, void* arg) {
    Py_VISIT(carried.token);
    Py_VISIT(carried.bridge);
    return 0;
}

void clear_carried(Carried& carried) {
    Py_CLEAR(carried.token);
    Py_CLEAR(carried.bridge);
}

Found find_remote_parent(ModuleState& state, SpanNumbers& parent) {
    if (state.idl) {
        bool believed;
        const Found found = find_by_idl(*state.idl, parent, believed);
        if (found != Found::kNo || believed) {
            return found;
        }
    }
    return state.giop && state.giop->get_span(parent) ? Found::kOnUpcall : Found::kNo;
}

}  // namespace tango_telemetry
