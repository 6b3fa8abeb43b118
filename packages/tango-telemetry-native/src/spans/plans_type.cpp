// SPDX-License-Identifier: LGPL-3.0-or-later
// Plans: a bounded table in the `__dict__` of each proxy and device.
#include <atomic>
#include <new>

#include "calls.h"
#include "values.h"

namespace tango_spans {
namespace {

constexpr std::size_t kMostPlans = 512;
constexpr std::size_t kMostThreads = 1024;

struct PlansObject {
    PyObject_HEAD
    PlanObject** slots;  // open addressing; null is free
    std::size_t capacity;  // a power of two, at least twice `count`
    std::size_t count;
};

PlanObject* as_plan(PyObject* object) { return reinterpret_cast<PlanObject*>(object); }
PlansObject* as_plans(PyObject* object) { return reinterpret_cast<PlansObject*>(object); }

std::size_t mix(std::size_t a, std::size_t b) { return (a ^ b) * 0x9E3779B97F4A7C15U; }

// What a plan is found by besides its place: nothing where it is for every name.
PyObject* name_of(const PlanObject* plan) { return plan->named ? nullptr : plan->name; }

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

bool is_for(const PlanObject* plan, const PlanKey& key) {
    return plan->beginning == key.beginning && plan->code == key.code && plan->position == key.position &&
           is_same(name_of(plan), key.name);
}

// The slot of the plan, or the free one where it would be. There is always a free one.
PlanObject** find_slot(PlansObject* plans, const PlanKey& key) {
    const std::size_t mask = plans->capacity - 1;
    std::size_t at = hash_key(key) & mask;
    while (plans->slots[at] && !is_for(plans->slots[at], key)) {
        at = (at + 1) & mask;
    }
    return &plans->slots[at];
}

void forget_all(PlansObject* plans) {
    PlanObject** const slots = plans->slots;
    const std::size_t capacity = plans->capacity;
    plans->slots = nullptr;
    plans->capacity = plans->count = 0;
    for (std::size_t i = 0; i < capacity; i++) {
        Py_XDECREF(slots[i]);
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
    auto** const slots = static_cast<PlanObject**>(std::calloc(capacity, sizeof(PlanObject*)));
    if (!slots) {
        PyErr_NoMemory();
        return false;
    }
    PlansObject larger{};
    larger.slots = slots;
    larger.capacity = capacity;
    for (std::size_t i = 0; i < plans->capacity; i++) {
        if (PlanObject* const plan = plans->slots[i]) {
            *find_slot(&larger, {plan->beginning, plan->code, name_of(plan), plan->position}) = plan;
        }
    }
    std::free(plans->slots);
    plans->slots = slots;
    plans->capacity = capacity;
    return true;
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

// put(beginning, code, position, name, epoch, title, kind, attributes, tracer, handler, checks_topic, named, series): whether
// it was kept.
PyObject* plans_put(PyObject* self, PyObject* args) {
    PyObject *beginning, *code, *name, *title, *kind, *attributes, *tracer, *handler, *named = Py_None, *series = Py_None;
    int position, checks_topic;
    unsigned long long epoch;
    if (!PyArg_ParseTuple(args, "OOiOKUOOOOp|OO", &beginning, &code, &position, &name, &epoch, &title, &kind, &attributes,
                          &tracer, &handler, &checks_topic, &named, &series)) {
        return nullptr;
    }
    ModuleState* const state = state_of_type(Py_TYPE(self));
    if (!state) {
        return nullptr;
    }
    if ((name != Py_None && !is_name(name)) || !PyDict_CheckExact(attributes)) {
        Py_RETURN_FALSE;
    }
    if (named != Py_None && (name == Py_None || !PyTuple_CheckExact(named) || !PyTuple_GET_SIZE(named) ||
                             !(PyTuple_GET_ITEM(named, 0) == Py_None || PyUnicode_CheckExact(PyTuple_GET_ITEM(named, 0))))) {
        Py_RETURN_FALSE;
    }
    Ref made(state->plan_type->tp_alloc(state->plan_type, 0));
    if (!made) {
        return nullptr;
    }
    PlanObject* const plan = as_plan(made.get());
    new (&plan->span) PreparedSpan{};
    const auto keep = [](PyObject* object) { return object == Py_None ? nullptr : new_ref(object); };
    plan->beginning = new_ref(beginning);
    plan->code = keep(code);
    plan->name = keep(name);
    plan->named = keep(named);
    plan->position = position;
    plan->checks_topic = checks_topic;
    plan->epoch = epoch;
    plan->tracer = new_ref(tracer);
    plan->handler = keep(handler);
    plan->series = keep(series);
    plan->span.title = new_ref(title);
    plan->span.kind = new_ref(kind);
    plan->span.attributes = new_ref(attributes);
    TracerObject* const quick = quick_tracer(*state, tracer);
    if ((quick && !prepare(*state, plan->span, quick)) || !make_room(as_plans(self))) {
        return nullptr;
    }
    if (plan->span.is_encoded && plan->span.encoded.dropped()) {
        // Beyond the limit of attributes it depends on their order which ones stay.
        Py_CLEAR(plan->named);
    }
    PlanObject** const slot =
        find_slot(as_plans(self), {plan->beginning, plan->code, name_of(plan), plan->position});
    Ref old(reinterpret_cast<PyObject*>(*slot));
    as_plans(self)->count += old ? 0 : 1;
    *slot = as_plan(made.release());
    Py_RETURN_TRUE;
}

// A proxy or device that is copied or pickled begins with none.
PyObject* plans_reduce(PyObject* self, PyObject*) { return Py_BuildValue("(O())", Py_TYPE(self)); }

Py_ssize_t plans_length(PyObject* self) { return static_cast<Py_ssize_t>(as_plans(self)->count); }

int plans_traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    for (std::size_t i = 0; i < as_plans(self)->capacity; i++) {
        Py_VISIT(as_plans(self)->slots[i]);
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
    Py_VISIT(plan->beginning);
    Py_VISIT(plan->code);
    Py_VISIT(plan->name);
    Py_VISIT(plan->named);
    Py_VISIT(plan->tracer);
    Py_VISIT(plan->handler);
    Py_VISIT(plan->series);
    Py_VISIT(plan->span.title);
    Py_VISIT(plan->span.kind);
    Py_VISIT(plan->span.attributes);
    return 0;
}

// What is in a table stays whole: a cycle through it ends where the table is cleared.
void plan_dealloc(PyObject* self) {
    PlanObject* const plan = as_plan(self);
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(plan->beginning);
    Py_CLEAR(plan->code);
    Py_CLEAR(plan->name);
    Py_CLEAR(plan->named);
    Py_CLEAR(plan->tracer);
    Py_CLEAR(plan->handler);
    Py_CLEAR(plan->series);
    Py_CLEAR(plan->span.title);
    Py_CLEAR(plan->span.kind);
    Py_CLEAR(plan->span.attributes);
    plan->span.~PreparedSpan();
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef plans_methods[] = {
    {"put", plans_put, METH_VARARGS,
     "put(beginning, code, position, name, epoch, title, kind, attributes, tracer, handler, checks_topic, named=None,\n"
     "series=None)\n\n"
     "Keep what is known of the calls that are made at one place; whether that could be."},
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
PyType_Spec plan_spec = {"tango_telemetry_native._spans.Plan", sizeof(PlanObject), 0,
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

Ref find_plan(ModuleState& state, PyObject* object, const PlanKey& key) {
    PlansObject* const plans = as_plans(object);
    if (!plans->count) {
        return Ref();
    }
    PlanObject* plan = *find_slot(plans, {key.beginning, key.code, nullptr, key.position});
    if (key.name && !(plan && plan->epoch == state.epoch)) {
        plan = *find_slot(plans, key);
    }
    return plan && plan->epoch == state.epoch ? Ref::borrow(reinterpret_cast<PyObject*>(plan)) : Ref();
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

TracerObject* quick_tracer(ModuleState& state, PyObject* object) {
    if (!PyObject_TypeCheck(object, state.tracer_base)) {
        return nullptr;
    }
    auto* const tracer = reinterpret_cast<TracerObject*>(object);
    const bool quick = tracer->state == &state && tracer->enabled && tracer->starts_itself && tracer->queue &&
                       !tracer->python_sampler && !tracer->on_start;
    return quick ? tracer : nullptr;
}

PyObject* get_epoch(PyObject* module, PyObject*) {
    return PyLong_FromUnsignedLongLong(static_cast<ModuleState*>(PyModule_GetState(module))->epoch);
}

PyObject* new_epoch(PyObject* module, PyObject*) {
    static_cast<ModuleState*>(PyModule_GetState(module))->epoch++;
    Py_RETURN_NONE;
}

PyTypeObject* create_plan_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &plan_spec, nullptr));
}

PyTypeObject* create_plans_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &plans_spec, nullptr));
}

}  // namespace tango_spans
