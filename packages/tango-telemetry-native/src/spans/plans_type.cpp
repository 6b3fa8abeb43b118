// SPDX-License-Identifier: LGPL-3.0-or-later
// Plans: a bounded table in the `__dict__` of each proxy and device.
#include <atomic>
#include <new>

#include "arguments.h"
#include "calls.h"
#include "values.h"

namespace tango_telemetry {
namespace {

constexpr std::size_t kMostPlans = 512;
constexpr std::size_t kMostThreads = 1024;

// All are owned, and null where the slot is free.
struct Slot {
    PlanKey key;  // without a name where the plan is for every name
    PlanObject* plan;
};

struct PlansObject {
    PyObject_HEAD
    Slot* slots;  // open addressing
    std::size_t capacity;  // a power of two, at least twice `count`
    std::size_t count;
};

PlanObject* as_plan(PyObject* object) { return reinterpret_cast<PlanObject*>(object); }
PlansObject* as_plans(PyObject* object) { return reinterpret_cast<PlansObject*>(object); }

std::size_t mix(std::size_t a, std::size_t b) { return (a ^ b) * 0x9E3779B97F4A7C15U; }

// Names are exact strings or tuples of those, so neither hashing nor comparing them runs anybody's code.
bool is_same(PyObject* a, PyObject* b) {
    if (a == b || !a || !b) {
        return a == b;
    }
    const int same = PyObject_RichCompareBool(a, b, Py_EQ);
    if (same < 0) {
        PyErr_Clear();  // no memory
    }
    return same > 0;
}

bool is_name(PyObject* object) {
    if (!PyTuple_CheckExact(object)) {
        return PyUnicode_CheckExact(object);
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); i++) {
        if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(object, i))) {
            return false;
        }
    }
    return true;
}

std::size_t hash_key(const PlanKey& key) {
    std::size_t hash = mix(reinterpret_cast<std::size_t>(key.beginning), reinterpret_cast<std::size_t>(key.code));
    hash = mix(hash, static_cast<std::size_t>(key.position));
    if (key.name) {
        hash = mix(hash, static_cast<std::size_t>(Py_TYPE(key.name)->tp_hash(key.name)));
    }
    return hash ^ hash >> 29;
}

bool is_same_key(const PlanKey& a, const PlanKey& b) {
    return a.beginning == b.beginning && a.code == b.code && a.position == b.position && is_same(a.name, b.name);
}

// The slot of the key, or the free one where it would be. There is always a free one.
Slot* find_slot(PlansObject* plans, const PlanKey& key) {
    const std::size_t mask = plans->capacity - 1;
    std::size_t at = hash_key(key) & mask;
    while (plans->slots[at].plan && !is_same_key(plans->slots[at].key, key)) {
        at = (at + 1) & mask;
    }
    return &plans->slots[at];
}

void forget(const Slot& slot) {
    Py_XDECREF(slot.key.beginning);
    Py_XDECREF(slot.key.code);
    Py_XDECREF(slot.key.name);
    Py_XDECREF(slot.plan);
}

void forget_all(PlansObject* plans) {
    Slot* const slots = plans->slots;
    const std::size_t capacity = plans->capacity;
    plans->slots = nullptr;
    plans->capacity = plans->count = 0;
    for (std::size_t i = 0; i < capacity; i++) {
        forget(slots[i]);
    }
    std::free(slots);
}

bool make_room(PlansObject* plans) {
    if (plans->count >= kMostPlans) {
        forget_all(plans);
    }
    if (plans->capacity > plans->count * 2) {
        return true;
    }
    const std::size_t capacity = plans->capacity ? plans->capacity * 2 : 8;
    auto* const slots = static_cast<Slot*>(std::calloc(capacity, sizeof(Slot)));
    if (!slots) {
        PyErr_NoMemory();
        return false;
    }
    PlansObject larger{};
    larger.slots = slots;
    larger.capacity = capacity;
    for (std::size_t i = 0; i < plans->capacity; i++) {
        if (plans->slots[i].plan) {
            *find_slot(&larger, plans->slots[i].key) = plans->slots[i];
        }
    }
    std::free(plans->slots);
    plans->slots = slots;
    plans->capacity = capacity;
    return true;
}

bool put_plan(PlansObject* plans, const PlanKey& key, PlanObject* plan) {
    if (!make_room(plans)) {
        return false;
    }
    Slot* const slot = find_slot(plans, key);
    const Slot old = *slot;
    plans->count += old.plan ? 0 : 1;
    Py_INCREF(key.beginning);
    Py_XINCREF(key.code);
    Py_XINCREF(key.name);
    Py_INCREF(plan);
    *slot = {key, plan};
    forget(old);
    return true;
}

PyObject* current_epoch(ModuleState& state) {
    return state.epoch && PyList_GET_SIZE(state.epoch) ? PyList_GET_ITEM(state.epoch, 0) : nullptr;
}

// The plan for every name, or that for the name of the key; null if there is none that still holds. Borrowed.
PlanObject* look_up(ModuleState& state, PlansObject* plans, const PlanKey& key) {
    PyObject* const epoch = current_epoch(state);
    if (!plans->count || !epoch) {
        return nullptr;
    }
    PlanObject* plan = find_slot(plans, {key.beginning, key.code, nullptr, key.position})->plan;
    if (key.name && !(plan && plan->epoch == epoch)) {
        plan = find_slot(plans, key)->plan;
    }
    return plan && plan->epoch == epoch ? plan : nullptr;
}

// False with an error set, or without one for a name that a plan cannot be found by.
bool read_key(PyObject* tuple, PlanKey& key) {
    if (!PyArg_ParseTuple(tuple, "OOiO", &key.beginning, &key.code, &key.position, &key.name)) {
        return false;
    }
    key.code = value_or_null(key.code);
    key.name = value_or_null(key.name);
    return !key.name || is_name(key.name);
}

// Encodes the attributes once, under the limits of the tracer that is to use them.
bool prepare(ModuleState& state, PreparedSpan& span, TracerObject* tracer) {
    const Limits& limits = tracer->limits;
    span.limit = limits.attributes;
    span.value_length = limits.span_value_length;
    if (!set_attributes(state, {span.encoded, limits.attributes, limits.span_value_length}, span.attributes)) {
        return false;
    }
    span.is_encoded = true;
    return true;
}

bool is_named_rightly(PyObject* named, PyObject* name) {
    return name && PyTuple_CheckExact(named) && PyTuple_GET_SIZE(named) &&
           (PyTuple_GET_ITEM(named, 0) == Py_None || PyUnicode_CheckExact(PyTuple_GET_ITEM(named, 0)));
}

// put(key, epoch, plan): whether it was kept.
PyObject* plans_put(PyObject* self, PyObject* args) {
    PyObject *key_tuple, *epoch, *tuple;
    if (!PyArg_ParseTuple(args, "O!OO!", &PyTuple_Type, &key_tuple, &epoch, &PyTuple_Type, &tuple)) {
        return nullptr;
    }
    PyObject *title, *kind, *attributes, *tracer, *handler, *named, *series;
    int checks_topic, in_python;
    if (!PyArg_ParseTuple(tuple, "UOOOOOOpp", &title, &kind, &attributes, &tracer, &handler, &named, &series, &checks_topic,
                          &in_python)) {
        return nullptr;
    }
    ModuleState* const state = state_of_type(Py_TYPE(self));
    PlanKey key;
    if (!state || !read_key(key_tuple, key) || !PyDict_CheckExact(attributes) ||
        (named != Py_None && !is_named_rightly(named, key.name))) {
        return PyErr_Occurred() ? nullptr : new_ref(Py_False);
    }
    Ref made(state->plan_type->tp_alloc(state->plan_type, 0));
    if (!made) {
        return nullptr;
    }
    PlanObject* const plan = as_plan(made.get());
    new (&plan->span) PreparedSpan{};
    plan->plan = new_ref(tuple);
    plan->epoch = new_ref(epoch);
    plan->name = key.name ? new_ref(key.name) : nullptr;
    plan->named = value_or_null(named);
    plan->tracer = tracer;
    plan->handler = value_or_null(handler);
    plan->series = value_or_null(series);
    plan->checks_topic = checks_topic;
    plan->in_python = in_python;
    plan->span.title = title;
    plan->span.kind = kind;
    plan->span.attributes = attributes;
    TracerObject* const native = in_python ? nullptr : native_tracer(*state, tracer);
    if (native && !prepare(*state, plan->span, native)) {
        return nullptr;
    }
    if (plan->span.is_encoded && plan->span.encoded.dropped()) {
        // Beyond the limit of attributes it depends on their order which ones stay.
        plan->named = nullptr;
    }
    if (plan->named) {
        key.name = nullptr;
    }
    // A span that is not recorded does not tell its place, so nobody looks for that before any place has been tried.
    if (!put_plan(as_plans(self), key, plan) ||
        !put_plan(as_plans(self), {key.beginning, nullptr, key.name, kAnyPlace}, plan)) {
        return nullptr;
    }
    Py_RETURN_TRUE;
}

// get(key): the plan that was put, whatever is to be done for it.
PyObject* plans_get(PyObject* self, PyObject* tuple) {
    ModuleState* const state = state_of_type(Py_TYPE(self));
    PlanKey key;
    if (!state) {
        return nullptr;
    }
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "the key of a plan is a tuple");
        return nullptr;
    }
    PlanObject* const plan = read_key(tuple, key) ? look_up(*state, as_plans(self), key) : nullptr;
    return plan ? new_ref(plan->plan) : PyErr_Occurred() ? nullptr : new_ref(Py_None);
}

// A proxy or device that is copied or pickled begins with none.
PyObject* plans_reduce(PyObject* self, PyObject*) { return Py_BuildValue("(O())", Py_TYPE(self)); }

Py_ssize_t plans_length(PyObject* self) { return static_cast<Py_ssize_t>(as_plans(self)->count); }

int plans_traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    for (std::size_t i = 0; i < as_plans(self)->capacity; i++) {
        const Slot& slot = as_plans(self)->slots[i];
        Py_VISIT(slot.key.beginning);
        Py_VISIT(slot.key.code);
        Py_VISIT(slot.key.name);
        Py_VISIT(slot.plan);
    }
    return 0;
}

int plans_clear(PyObject* self) {
    forget_all(as_plans(self));
    return 0;
}

void plans_dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    forget_all(as_plans(self));
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
    PyErr_Format(PyExc_TypeError, "%s is made by Plans.put", type->tp_name);
    return nullptr;
}

int plan_traverse(PyObject* self, visitproc visit, void* arg) {
    PlanObject* const plan = as_plan(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(plan->plan);
    Py_VISIT(plan->epoch);
    Py_VISIT(plan->name);
    return 0;
}

// What is in a table stays whole: a cycle through it ends where the table is cleared.
void plan_dealloc(PyObject* self) {
    PlanObject* const plan = as_plan(self);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    plan->span.~PreparedSpan();
    Py_CLEAR(plan->plan);
    Py_CLEAR(plan->epoch);
    Py_CLEAR(plan->name);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef plans_methods[] = {
    {"put", plans_put, METH_VARARGS,
     "put(key, epoch, plan, /): keep a plan of the calls that are made at one place; whether that could be."},
    {"get", plans_get, METH_O,
     "get(key, /): the plan for every name at this place, or for this name; None if there is none that holds."},
    {"__reduce__", plans_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot plans_slots[] = {
    {Py_tp_doc, const_cast<char*>("What is known of the calls of one proxy or device; bounded.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(plans_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(plans_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(plans_clear)},
    {Py_tp_methods, plans_methods},
    {Py_sq_length, reinterpret_cast<void*>(plans_length)},
    {0, nullptr},
};

PyType_Slot plan_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(refuse_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(plan_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(plan_traverse)},
    {0, nullptr},
};

PyType_Spec plans_spec = {"tango_telemetry_native._spans.Plans", sizeof(PlansObject), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, plans_slots};
PyType_Spec plan_spec = {"tango_telemetry_native._spans.PreparedPlan", sizeof(PlanObject), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, plan_slots};

}  // namespace

Ref find_plans(ModuleState& state, PyObject* subject) {
    Ref own(PyObject_GenericGetDict(subject, nullptr));
    if (!own) {
        PyErr_Clear();  // an object without a __dict__
        return Ref();
    }
    PyObject* const plans = PyDict_GetItemWithError(own.get(), state.k_plans);
    return plans && Py_TYPE(plans) == state.plans_type ? Ref::borrow(plans) : Ref();
}

Ref find_plan(ModuleState& state, PyObject* plans, const PlanKey& key) {
    PlanObject* const plan = look_up(state, as_plans(plans), key);
    return plan && !plan->in_python ? Ref::borrow(reinterpret_cast<PyObject*>(plan)) : Ref();
}

bool find_series(ModuleState& state, const PlanObject* plan, PyObject* tracer, PyObject* name, Ref& series) {
    if (!plan->series || tracer == state.pass_through) {
        return true;
    }
    if (!PyDict_CheckExact(plan->series)) {
        series = Ref::borrow(plan->series);
        return true;
    }
    series = Ref::borrow(name ? PyDict_GetItemWithError(plan->series, name) : nullptr);
    if (!series && !PyErr_Occurred()) {
        series = Ref::borrow(PyDict_GetItemWithError(plan->series, Py_None));
    }
    return static_cast<bool>(series);
}

bool has_name(const PlanObject* plan, PyObject* name) { return !plan->named || is_same(plan->name, name); }

namespace {

// The attributes of a thread that `threading` does not know: one of C++'s own. current_thread() would make an object for it,
// and from Python 3.13 on another one at each upcall, so that is asked once for each thread of the operating system.
Ref get_foreign_attributes(ModuleState& state) {
    static std::atomic<std::uint64_t> next{1};
    thread_local const std::uint64_t number = next++;
    Ref key(PyLong_FromUnsignedLongLong(number));
    if (!key) {
        return Ref();
    }
    Ref known = Ref::borrow(PyDict_GetItemWithError(state.threads, key.get()));
    if (known || PyErr_Occurred()) {
        return known;
    }
    Ref made(PyObject_CallNoArgs(state.thread_attributes));
    if (made && PyDict_GET_SIZE(state.threads) >= static_cast<Py_ssize_t>(kMostThreads)) {
        PyDict_Clear(state.threads);
    }
    return made && PyDict_SetItem(state.threads, key.get(), made.get()) == 0 ? std::move(made) : Ref();
}

// What Thread.name gives, without its steps in Python; null without an error for a class that has a name of its own.
Ref read_thread_name(ModuleState& state, PyObject* thread, PyObject* own) {
    Ref property(PyObject_GetAttr(reinterpret_cast<PyObject*>(Py_TYPE(thread)), state.s_name));
    if (!property) {
        PyErr_Clear();
    }
    return property && property.get() == state.thread_name
               ? Ref::borrow(PyDict_GetItemWithError(own, state.s__name))
               : Ref();
}

// The attributes that this very thread had when it had this name. They are kept by the thread itself, so that they end with
// it, and with gevent each greenlet has its own.
Ref get_known_thread(ModuleState& state, PyObject* own, PyObject* ident, PyObject* name) {
    PyObject* const known = PyDict_GetItemWithError(own, state.k_thread);
    if (!known || !PyTuple_CheckExact(known) || PyTuple_GET_SIZE(known) != 3 || PyTuple_GET_ITEM(known, 1) != name) {
        return Ref();
    }
    const int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(known, 0), ident, Py_EQ);  // a forked child's may differ
    return same > 0 ? Ref::borrow(PyTuple_GET_ITEM(known, 2)) : Ref();
}

Ref ask_thread_attributes(ModuleState& state) {
    Ref get_ident = Ref::borrow(PyDict_GetItemWithError(state.threading, state.s_get_ident));
    Ref ident(get_ident ? PyObject_CallNoArgs(get_ident.get()) : nullptr);
    Ref active = Ref::borrow(ident ? PyDict_GetItemWithError(state.threading, state.s__active) : nullptr);
    if (!active || !PyDict_CheckExact(active.get())) {
        return PyErr_Occurred() ? Ref() : Ref(PyObject_CallNoArgs(state.thread_attributes));
    }
    Ref thread = Ref::borrow(PyDict_GetItemWithError(active.get(), ident.get()));
    if (!thread) {
        if (PyErr_Occurred()) {
            return Ref();
        }
        // Where gevent has put functions of its own into `threading`, what is not known is a greenlet.
        const bool is_os_thread = PyLong_CheckExact(ident.get()) &&
                                  PyLong_AsUnsignedLongMask(ident.get()) == PyThread_get_thread_ident();
        return is_os_thread ? get_foreign_attributes(state) : Ref(PyObject_CallNoArgs(state.thread_attributes));
    }
    Ref own(PyObject_GenericGetDict(thread.get(), nullptr));
    if (!own) {
        PyErr_Clear();  // an object without a __dict__
    }
    Ref name = own ? read_thread_name(state, thread.get(), own.get()) : Ref();
    if (!name) {
        name = PyErr_Occurred() ? Ref() : Ref(PyObject_GetAttr(thread.get(), state.s_name));
        own = Ref();
    }
    if (!name) {
        return Ref();
    }
    if (Ref known = own ? get_known_thread(state, own.get(), ident.get(), name.get()) : Ref()) {
        return known;
    }
    Ref attributes(PyErr_Occurred() ? nullptr : PyDict_New());
    if (!attributes || PyDict_SetItem(attributes.get(), state.k_thread_id, ident.get()) < 0 ||
        PyDict_SetItem(attributes.get(), state.k_thread_name, name.get()) < 0) {
        return Ref();
    }
    if (own) {
        Ref known(PyTuple_Pack(3, ident.get(), name.get(), attributes.get()));
        if (!known || PyDict_SetItem(own.get(), state.k_thread, known.get()) < 0) {
            return Ref();
        }
    }
    return attributes;
}

}  // namespace

Ref get_thread_attributes(ModuleState& state) {
    Ref attributes = ask_thread_attributes(state);
    if (attributes && !PyDict_CheckExact(attributes.get())) {
        PyErr_SetString(PyExc_TypeError, "the attributes of a thread are a dict");
        return Ref();
    }
    return attributes;
}

TracerObject* native_tracer(ModuleState& state, PyObject* object) {
    if (!PyObject_TypeCheck(object, state.tracer_base)) {
        return nullptr;
    }
    auto* const tracer = reinterpret_cast<TracerObject*>(object);
    const bool is_native = tracer->state == &state && tracer->enabled && tracer->starts_itself && tracer->queue &&
                       !tracer->python_sampler && !tracer->on_start;
    return is_native ? tracer : nullptr;
}

PyTypeObject* create_plan_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &plan_spec, nullptr));
}

PyTypeObject* create_plans_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &plans_spec, nullptr));
}

}  // namespace tango_telemetry
