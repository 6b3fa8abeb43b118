// SPDX-License-Identifier: LGPL-3.0-or-later
// DroppedSpanBase: a span that the sampler does not want. Its SpanContext is made only if somebody asks.
#include "objects.h"

namespace tango_telemetry {
namespace {

DroppedSpanObject* as_span(PyObject* object) { return reinterpret_cast<DroppedSpanObject*>(object); }

PyObject* do_nothing(PyObject*, PyObject* const*, Py_ssize_t, PyObject*) { Py_RETURN_NONE; }

PyObject* get_span_context(PyObject* self, PyObject*) {
    DroppedSpanObject* const span = as_span(self);
    if (!span->tracer || !span->tracer->state->configured) {
        PyErr_SetString(PyExc_RuntimeError, "this span has no tracer any more");
        return nullptr;
    }
    return span_context_of(*span->tracer->state, span->identity);
}

PyObject* get_context(PyObject* self, void*) { return get_span_context(self, nullptr); }

PyObject* is_recording(PyObject*, PyObject*) { Py_RETURN_FALSE; }

PyObject* span_new(PyTypeObject*, PyObject*, PyObject*) {
    PyErr_SetString(PyExc_TypeError, "Span must be instantiated via a tracer.");
    return nullptr;
}

int span_traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(as_span(self)->tracer);
    return traverse_identity(as_span(self)->identity, visit, arg);
}

int span_clear(PyObject* self) {
    clear_identity(as_span(self)->identity);
    return 0;
}

void span_dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    span_clear(self);
    Py_CLEAR(as_span(self)->tracer);
    type->tp_free(self);
    Py_DECREF(type);
}

const PyCFunction nothing = reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(do_nothing));
constexpr int kKeywords = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef methods[] = {
    {"get_span_context", get_span_context, METH_NOARGS, "The SpanContext to propagate."},
    {"is_recording", is_recording, METH_NOARGS, "False."},
    {"set_attribute", nothing, kKeywords, nullptr},
    {"set_attributes", nothing, kKeywords, nullptr},
    {"add_event", nothing, kKeywords, nullptr},
    {"add_link", nothing, kKeywords, nullptr},
    {"update_name", nothing, kKeywords, nullptr},
    {"set_status", nothing, kKeywords, nullptr},
    {"record_exception", nothing, kKeywords, nullptr},
    {"end", nothing, kKeywords, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef properties[] = {
    // NonRecordingSpan keeps its context under this name.
    {"_context", get_context, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char*>("A span that is not recorded; made by a tracer only.")},
    {Py_tp_new, reinterpret_cast<void*>(span_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(span_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(span_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(span_clear)},
    {Py_tp_methods, methods},
    {Py_tp_getset, properties},
    {0, nullptr},
};

PyType_Spec spec = {"tango_telemetry_native._spans.DroppedSpanBase", sizeof(DroppedSpanObject), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

PyTypeObject* create_dropped_span_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &spec, nullptr));
}

}  // namespace tango_telemetry
