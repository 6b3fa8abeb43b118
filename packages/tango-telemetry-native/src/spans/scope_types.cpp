// SPDX-License-Identifier: LGPL-3.0-or-later
// Resource and Scope: encoded once, and shared by all spans that belong to them.
#include "objects.h"
#include "values.h"

namespace tango_telemetry {
namespace {

// The attributes of a resource or scope, which have no limits, as a message in `out`.
bool append_attributes(ModuleState& state, PyObject* attributes, std::uint8_t tag, Buffer& out) {
    if (!attributes || attributes == Py_None) {
        return true;
    }
    ScratchLease scratch(state);
    if (!scratch.ok()) {
        return false;
    }
    scratch->attributes.reset(tag);
    if (!set_attributes(state, {scratch->attributes, -1, -1}, attributes)) {
        return false;
    }
    scratch->attributes.append_to(out);
    return true;
}

// A field of text that is left out when empty; true unless an error is set.
bool append_field(Buffer& out, std::uint8_t tag, PyObject* text) {
    if (text == Py_None) {
        return true;
    }
    const std::size_t start = out.size();
    const std::size_t body = out.open(tag);
    if (!append_any_text(out, text)) {
        return false;
    }
    if (!out.failed() && out.size() == body) {
        out.truncate(start);
    } else {
        out.close(body);
    }
    return true;
}

bool check(const Buffer& first, const Buffer& second) {
    if (first.failed() || second.failed()) {
        PyErr_NoMemory();
        return false;
    }
    return true;
}

// The state with all that reading attributes takes; null with an error set.
ModuleState* configured_state(PyTypeObject* type) {
    ModuleState* const state = state_of_type(type);
    if (state && !state->configured) {
        PyErr_Format(PyExc_RuntimeError, "%s needs tango_telemetry_native.spans: import that first", type->tp_name);
        return nullptr;
    }
    return state;
}

PyObject* resource_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"attributes", "schema_url", nullptr};
    PyObject *attributes, *schema_url;
    ModuleState* const state = configured_state(type);
    if (!state || !PyArg_ParseTupleAndKeywords(args, kwargs, "OO", const_cast<char**>(names), &attributes,
                                               &schema_url)) {
        return nullptr;
    }
    Ref owned(type->tp_alloc(type, 0));
    auto* const self = reinterpret_cast<ResourceObject*>(owned.get());
    if (!self) {
        return nullptr;
    }
    self->resource = Resource::create();
    if (!self->resource) {
        return PyErr_NoMemory();
    }
    Buffer& head = self->resource->head;
    const std::size_t body = head.open(tag::kResource);
    if (!append_attributes(*state, attributes, tag::kResourceAttribute, head)) {
        return nullptr;
    }
    head.close(body);
    if (!append_field(self->resource->tail, tag::kSchemaUrl, schema_url) || !check(head, self->resource->tail)) {
        return nullptr;
    }
    return owned.release();
}

void resource_dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    if (Resource* const resource = reinterpret_cast<ResourceObject*>(self)->resource) {
        resource->release();
    }
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* scope_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
    static const char* names[] = {"resource", "name", "version", "schema_url", "attributes", nullptr};
    PyObject *resource, *name, *version, *schema_url, *attributes;
    ModuleState* const state = configured_state(type);
    if (!state || !PyArg_ParseTupleAndKeywords(args, kwargs, "O!OOOO", const_cast<char**>(names),
                                               state->resource_type, &resource, &name, &version, &schema_url,
                                               &attributes)) {
        return nullptr;
    }
    Ref owned(type->tp_alloc(type, 0));
    auto* const self = reinterpret_cast<ScopeObject*>(owned.get());
    if (!self) {
        return nullptr;
    }
    self->scope = Scope::create(reinterpret_cast<ResourceObject*>(resource)->resource);
    if (!self->scope) {
        return PyErr_NoMemory();
    }
    Buffer& head = self->scope->head;
    const std::size_t body = head.open(tag::kScope);
    if (!append_field(head, tag::kScopeName, name) || !append_field(head, tag::kScopeVersion, version) ||
        !append_attributes(*state, attributes, tag::kScopeAttribute, head)) {
        return nullptr;
    }
    head.close(body);
    if (!append_field(self->scope->tail, tag::kSchemaUrl, schema_url) || !check(head, self->scope->tail)) {
        return nullptr;
    }
    return owned.release();
}

void scope_dealloc(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    if (Scope* const scope = reinterpret_cast<ScopeObject*>(self)->scope) {
        scope->release();
    }
    type->tp_free(self);
    Py_DECREF(type);
}

PyType_Slot resource_slots[] = {
    {Py_tp_doc, const_cast<char*>("Resource(attributes, schema_url)")},
    {Py_tp_new, reinterpret_cast<void*>(resource_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(resource_dealloc)},
    {0, nullptr},
};
PyType_Spec resource_spec = {"tango_telemetry_native._spans.Resource", sizeof(ResourceObject), 0, Py_TPFLAGS_DEFAULT,
                             resource_slots};

PyType_Slot scope_slots[] = {
    {Py_tp_doc, const_cast<char*>("Scope(resource, name, version, schema_url, attributes)")},
    {Py_tp_new, reinterpret_cast<void*>(scope_new)},
    {Py_tp_dealloc, reinterpret_cast<void*>(scope_dealloc)},
    {0, nullptr},
};
PyType_Spec scope_spec = {"tango_telemetry_native._spans.Scope", sizeof(ScopeObject), 0, Py_TPFLAGS_DEFAULT,
                          scope_slots};

}  // namespace

PyTypeObject* create_resource_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &resource_spec, nullptr));
}

PyTypeObject* create_scope_type(PyObject* module) {
    return reinterpret_cast<PyTypeObject*>(PyType_FromModuleAndSpec(module, &scope_spec, nullptr));
}

}  // namespace tango_telemetry
