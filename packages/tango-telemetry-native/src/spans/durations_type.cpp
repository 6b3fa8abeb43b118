// SPDX-License-Identifier: LGPL-3.0-or-later
// Durations: the calls of one series. What is a series, and which one a failed call belongs to, Python says.
#include "durations.h"

#include <new>
#include <utility>

#include "beginning.h"
#include "core/clock.h"

namespace tango_telemetry {
namespace {

DurationsObject* as_durations(PyObject* object) { return reinterpret_cast<DurationsObject*>(object); }

bool is_durations(const ModuleState& state, PyObject* object) { return Py_TYPE(object) == state.durations_type; }

// The ids of a sampled span, of any make; one that cannot be had is left out.
bool read_exemplar(ModuleState& state, PyObject* span, Exemplar& exemplar) {
    PyTypeObject* const type = Py_TYPE(span);
    if (type == reinterpret_cast<PyTypeObject*>(state.span_class)) {
        auto* const own = reinterpret_cast<SpanObject*>(span);
        if (!(own->record->flags & 1)) {
            return false;
        }
        exemplar.trace_id_high = own->identity.trace_id_high;
        exemplar.trace_id_low = own->identity.trace_id_low;
        exemplar.span_id = own->identity.span_id;
        exemplar.time_ns = own->record->ended ? own->record->end_ns : wall_ns();
        return true;
    }
    if (type == reinterpret_cast<PyTypeObject*>(state.dropped_span_class) ||
        reinterpret_cast<PyObject*>(type) == state.remote_span_class) {
        return false;
    }
    SpanContextFields fields;
    Ref context(PyObject_CallMethodNoArgs(span, state.s_get_span_context));
    if (!context || !read_span_context(state, context.get(), fields) || !fields.valid || !(fields.flags & 1)) {
        return false;
    }
    exemplar.trace_id_high = fields.trace_id_high;
    exemplar.trace_id_low = fields.trace_id_low;
    exemplar.span_id = fields.span_id;
    exemplar.time_ns = wall_ns();
    return true;
}

bool record(ModuleState& state, DurationsObject* self, std::uint64_t took_ns, PyObject* span) {
    self->begun--;
    self->durations.record(took_ns);
    Exemplar exemplar{};
    if (span && read_exemplar(state, span, exemplar)) {
        exemplar.took_ns = took_ns;
        self->durations.set_exemplar(exemplar);
    }
    return !PyErr_Occurred() || absorb_error(state, "a span could not be an exemplar");
}

PyObject* durations_new(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *attributes, *failed = Py_None;
    if (!PyArg_ParseTuple(args, "S|O", &attributes, &failed)) {
        return nullptr;
    }
    PyObject* const made = type->tp_alloc(type, 0);
    if (made) {
        new (&as_durations(made)->durations) Durations;
        as_durations(made)->attributes = new_ref(attributes);
        as_durations(made)->failed = new_ref(failed);
    }
    return made;
}

PyObject* durations_record(PyObject* self, PyObject* args) {
    unsigned long long took_ns;
    PyObject* span = Py_None;
    if (!PyArg_ParseTuple(args, "K|O", &took_ns, &span)) {
        return nullptr;
    }
    ModuleState* const state = state_of_type(Py_TYPE(self));
    if (!state || !record(*state, as_durations(self), took_ns, span == Py_None ? nullptr : span)) {
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* durations_begin(PyObject* self, PyObject*) {
    as_durations(self)->begun++;
    Py_RETURN_NONE;
}

PyObject* durations_fail(PyObject* self, PyObject* error) {
    Ref failed(PyObject_CallOneArg(as_durations(self)->failed, error));
    if (failed && Py_TYPE(failed.get()) == Py_TYPE(self)) {
        as_durations(self)->begun--;
        as_durations(failed.get())->begun++;
    }
    return failed.release();
}

PyObject* durations_encode(PyObject* self, PyObject* args) {
    unsigned long long start_ns, time_ns;
    if (!PyArg_ParseTuple(args, "KK", &start_ns, &time_ns)) {
        return nullptr;
    }
    Buffer out;
    PyObject* const attributes = as_durations(self)->attributes;
    as_durations(self)->durations.append_to(out, PyBytes_AS_STRING(attributes),
                                            static_cast<std::size_t>(PyBytes_GET_SIZE(attributes)), start_ns, time_ns);
    return out.failed() ? PyErr_NoMemory() : PyBytes_FromStringAndSize(out.data(), static_cast<Py_ssize_t>(out.size()));
}

PyObject* durations_snapshot(PyObject* self, PyObject*) {
    const Durations& durations = as_durations(self)->durations;
    Ref counts(PyList_New(durations.buckets()));
    for (std::int32_t i = 0; counts && i < durations.buckets(); i++) {
        PyObject* const count = PyLong_FromUnsignedLongLong(durations.bucket(durations.first() + i));
        if (!count) {
            return nullptr;
        }
        PyList_SET_ITEM(counts.get(), i, count);
    }
    if (!counts) {
        return nullptr;
    }
    return Py_BuildValue("{sKsdsdsdsisKsisO}", "count", static_cast<unsigned long long>(durations.count()), "sum",
                         durations.sum(), "min", durations.count() ? durations.min() : 0.0, "max", durations.max(), "scale",
                         durations.scale(), "zero_count", static_cast<unsigned long long>(durations.zero_count()), "offset",
                         durations.first(), "buckets", counts.get());
}

PyObject* durations_reset(PyObject* self, PyObject*) {
    as_durations(self)->durations.reset();
    as_durations(self)->begun = 0;
    Py_RETURN_NONE;
}

PyObject* get_count(PyObject* self, void*) {
    return PyLong_FromUnsignedLongLong(as_durations(self)->durations.count());
}
PyObject* get_active(PyObject* self, void*) { return PyLong_FromLongLong(as_durations(self)->begun); }
PyObject* get_attributes(PyObject* self, void*) { return new_ref(as_durations(self)->attributes); }

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_durations(self)->failed);
    return 0;
}

int clear(PyObject* self) {
    PyObject* const failed = as_durations(self)->failed;
    as_durations(self)->failed = new_ref(Py_None);
    Py_XDECREF(failed);
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(as_durations(self)->failed);
    Py_CLEAR(as_durations(self)->attributes);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"begin", durations_begin, METH_NOARGS, "A call begins, which record() is to be told of."},
    {"fail", durations_fail, METH_O, "fail(error, /): a call that began fails; the series that counts it now."},
    {"record", durations_record, METH_VARARGS,
     "record(took, span=None, /): a call took so many nanoseconds; its span is an exemplar where it is sampled."},
    {"encode", durations_encode, METH_VARARGS,
     "encode(start, time, /): the data point as ExponentialHistogram.data_points (field 1, tag included); times in\n"
     "nanoseconds of the epoch. Its exemplar is told once."},
    {"snapshot", durations_snapshot, METH_NOARGS, "What was recorded, as a dict; times in seconds."},
    {"reset", durations_reset, METH_NOARGS, "Begin anew."},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    {"count", get_count, nullptr, "Calls that were recorded.", nullptr},
    {"active", get_active, nullptr, "Calls that have begun and are not recorded yet.", nullptr},
    {"attributes", get_attributes, nullptr, "The encoded attributes.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("Durations(attributes, failed=None, /)\n\n"
                                  "How long the calls of one series took, an exponential histogram. The attributes are\n"
                                  "those of its data point, encoded (field 1, tags included); `failed` gives the series of\n"
                                  "calls that fail with an exception, or raises TypeError where there is none.")},
    {Py_tp_new, reinterpret_cast<void*>(durations_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(clear)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.Durations", sizeof(DurationsObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

void Timing::begin(ModuleState& state, PyObject* of, PyObject* span) {
    series = new_ref(of);
    if (is_durations(state, of)) {
        as_durations(of)->begun++;
    }
    // A span of ours has read the clock already.
    const bool timed = Py_TYPE(span) == reinterpret_cast<PyTypeObject*>(state.span_class);
    begun_ns = timed ? reinterpret_cast<SpanObject*>(span)->record->steady_start_ns : 0;
    if (!begun_ns) {
        begun_ns = steady_ns();
    }
}

bool Timing::fail(ModuleState& state, PyObject* error) {
    if (!series) {
        return true;
    }
    Ref failed(PyObject_CallMethodOneArg(series, state.s_fail, error));
    if (failed) {
        replace(series, failed.get());
    }
    return static_cast<bool>(failed);
}

bool Timing::end(ModuleState& state, PyObject* span) {
    if (!series) {
        return true;
    }
    Ref own(std::exchange(series, nullptr));
    const std::uint64_t took = took_ns ? took_ns : steady_ns() - begun_ns;
    if (is_durations(state, own.get())) {
        return record(state, as_durations(own.get()), took, span);
    }
    Ref number(PyLong_FromUnsignedLongLong(took));
    Ref recorded(number ? PyObject_CallMethodObjArgs(own.get(), state.s_record, number.get(), span, nullptr) : nullptr);
    return static_cast<bool>(recorded);
}

PyTypeObject* create_durations_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
