// SPDX-License-Identifier: LGPL-3.0-or-later
// SpanQueue: finished spans for the pipeline of core, which knows it as an EncodedSource.
#include <new>
#include <optional>

#include "objects.h"

namespace tango_telemetry {
namespace {

QueueObject* as_queue(PyObject* object) { return reinterpret_cast<QueueObject*>(object); }

PyObject* queue_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"max_spans", "max_bytes", "wake_spans", nullptr};
    Py_ssize_t max_spans, max_bytes, wake_spans = 512;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nn|n", const_cast<char**>(names), &max_spans, &max_bytes,
                                     &wake_spans)) {
        return nullptr;
    }
    if (max_spans < 1 || max_bytes < 1 || wake_spans < 1) {
        PyErr_SetString(PyExc_ValueError, "max_spans, max_bytes and wake_spans must be positive");
        return nullptr;
    }
    ModuleState* const state = state_of_type(type);
    auto* const self = state ? as_queue(type->tp_alloc(type, 0)) : nullptr;
    if (!self) {
        return nullptr;
    }
    self->state = state;
    self->queue = new (std::nothrow) SpanQueue(static_cast<std::size_t>(max_spans),
                                               static_cast<std::size_t>(max_bytes),
                                               static_cast<std::size_t>(wake_spans));
    if (!self->queue) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return reinterpret_cast<PyObject*>(self);
}

PyObject* queue_drain(PyObject* self, PyObject* argument) {
    const Py_ssize_t max_bytes = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
    if (max_bytes == -1 && PyErr_Occurred()) {
        return nullptr;
    }
    SpanQueue& queue = *as_queue(self)->queue;
    if (queue.counts().spans == 0) {
        return Py_BuildValue("(yn)", "", Py_ssize_t{0});
    }
    std::optional<SpanQueue::Drain> drain;
    Py_BEGIN_ALLOW_THREADS
    drain.emplace(queue);
    drain->collect(max_bytes > 0 ? static_cast<std::size_t>(max_bytes) : 0);
    Py_END_ALLOW_THREADS
    const auto spans = static_cast<Py_ssize_t>(drain->spans());
    if (spans == 0) {  // another thread was quicker
        return Py_BuildValue("(yn)", "", Py_ssize_t{0});
    }
    // Without memory for the payload the spans go back, as `drain` ends.
    Ref payload(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(drain->size())));
    if (!payload) {
        return nullptr;
    }
    char* const out = PyBytes_AS_STRING(payload.get());
    Py_BEGIN_ALLOW_THREADS
    drain->write(out);
    drain.reset();
    Py_END_ALLOW_THREADS
    return Py_BuildValue("(On)", payload.get(), spans);
}

PyObject* queue_pending(PyObject* self, PyObject*) {
    const SpanQueue::Counts counts = as_queue(self)->queue->counts();
    return Py_BuildValue("(nn)", static_cast<Py_ssize_t>(counts.spans), static_cast<Py_ssize_t>(counts.bytes));
}

PyObject* queue_dropped(PyObject* self, PyObject*) {
    return PyLong_FromUnsignedLongLong(as_queue(self)->queue->counts().dropped);
}

PyObject* queue_accepted(PyObject* self, PyObject*) {
    return PyLong_FromUnsignedLongLong(as_queue(self)->queue->counts().accepted);
}

PyObject* queue_set_wake(PyObject* self, PyObject* wake) {
    if (wake != Py_None && !PyCallable_Check(wake)) {
        PyErr_SetString(PyExc_TypeError, "set_wake() needs a callable or None");
        return nullptr;
    }
    PyObject* const old = as_queue(self)->wake;
    as_queue(self)->wake = wake == Py_None ? nullptr : new_ref(wake);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

int queue_traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_queue(self)->wake);
    return 0;
}

int queue_clear(PyObject* self) {
    Py_CLEAR(as_queue(self)->wake);
    return 0;
}

void queue_dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    queue_clear(self);
    delete as_queue(self)->queue;
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"drain", queue_drain, METH_O,
     "drain(max_bytes) -> (payload, spans)\n\n"
     "Complete ResourceSpans messages as they stand in ExportTraceServiceRequest (field 1, tag included), of at\n"
     "most max_bytes unless one span alone is larger. Works without the GIL."},
    {"pending", queue_pending, METH_NOARGS, "pending() -> (spans, bytes) that wait."},
    {"dropped", queue_dropped, METH_NOARGS, "dropped() -> spans refused because the queue was full."},
    {"accepted", queue_accepted, METH_NOARGS, "accepted() -> spans taken since the process began."},
    {"set_wake", queue_set_wake, METH_O,
     "set_wake(callable): called without arguments, on the thread that ends a span: for the first span of the\n"
     "process, and once the queue holds wake_spans spans or half of max_bytes, then not again until a drain."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("SpanQueue(max_spans, max_bytes, wake_spans=512)\n\n"
                                  "Finished spans, bounded in number and in bytes of memory. Forgets them in a child "
                                  "of a fork.")},
    {Py_tp_new, reinterpret_cast<void*>(queue_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(queue_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(queue_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(queue_clear)},
    {Py_tp_methods, methods},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.SpanQueue", sizeof(QueueObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

bool wake_consumer(QueueObject* queue) {
    if (!queue->wake || !queue->state->configured) {
        return true;
    }
    Ref wake = Ref::borrow(queue->wake);
    Ref result(PyObject_CallNoArgs(wake.get()));
    return result || absorb_error(*queue->state, "the span pipeline could not be woken");
}

PyTypeObject* create_queue_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
