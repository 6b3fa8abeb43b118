// SPDX-License-Identifier: LGPL-3.0-or-later
#include "values.h"

namespace tango_telemetry {
namespace {

// Not PyObject_Hash: a subclass of str may have a __hash__ that runs code, and needs none here.
void hash_key(PyObject* key, Key& out) {
    const Py_hash_t hash = PyUnicode_Type.tp_hash(key);
    out.hash = static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

// The key's UTF-8: in place if it is ASCII, else in `buffer`.
bool read_key(PyObject* key, Buffer& buffer, Key& out) {
    Text text;
    if (!read_text(key, text)) {
        return false;
    }
    if (text.ascii) {
        hash_key(key, out);
        if (text.length > Buffer::kMaxSize) {
            PyErr_NoMemory();
            return false;
        }
        out.data = static_cast<const char*>(text.data);
        out.size = static_cast<std::uint32_t>(text.length);
        return true;
    }
    buffer.clear();
    append_text(buffer, key);
    if (buffer.failed()) {
        PyErr_NoMemory();
        return false;
    }
    out.data = buffer.data();
    out.size = static_cast<std::uint32_t>(buffer.size());
    if (!has_surrogates(text)) {
        hash_key(key, out);
        return true;
    }
    Ref repaired(PyUnicode_DecodeUTF8(out.data, static_cast<Py_ssize_t>(out.size), nullptr));
    if (!repaired) {
        return false;
    }
    hash_key(repaired.get(), out);
    return true;
}

void note_outcome(AttributeList::Outcome outcome, AttributeList& list, Warnings& warnings) {
    if (outcome == AttributeList::Outcome::kFailed) {
        list.count_dropped();
    } else if (outcome == AttributeList::Outcome::kSetAndDroppedOldest) {
        warnings.add(Warnings::Kind::kFull);
    }
}

// Key is a non-empty str and the limit is not 0. False with any Python error set.
bool set_valid(ModuleState& state, const AttributeTarget& target, PyObject* key, PyObject* value, Scratch& scratch,
               Warnings& warnings) {
    Plain plain;
    Key name;
    const Read read = read_plain(value, target.value_length, plain);
    if (read == Read::kPlain) {
        if (!read_key(key, scratch.key, name)) {
            return false;
        }
        if (plain.truncated) {
            warnings.add(Warnings::Kind::kTruncated, nullptr, static_cast<long>(target.value_length));
        }
        char* const out = plain.size > kMaxValueSize ? nullptr : target.list.begin(name, plain.size);
        if (!out) {
            target.list.count_dropped();
            return true;
        }
        write_plain(out, plain);
        note_outcome(target.list.commit(target.limit), target.list, warnings);
        return true;
    }
    Encoded encoded = Encoded::kUnencodable;
    Buffer& bytes = scratch.value;
    if (read == Read::kError) {
        return false;
    }
    if (read == Read::kOther) {
        bytes.clear();
        encoded = encode_value(state, bytes, value, target.value_length, warnings);
        if (encoded == Encoded::kError) {
            return false;
        }
        if (target.closed && *target.closed) {
            return true;
        }
        if (encoded == Encoded::kYes && bytes.failed()) {
            target.list.count_dropped();
            return true;
        }
    }
    // Only now, for the user's code that may have run used the same scratch for no other key.
    if (!read_key(key, scratch.key, name)) {
        return false;
    }
    if (encoded == Encoded::kUnencodable) {
        warnings.add(Warnings::Kind::kUnencodable, key);
        note_outcome(target.list.set_hidden(name, target.limit), target.list, warnings);
        return true;
    }
    char* const out = target.list.begin(name, bytes.size());
    if (!out) {
        target.list.count_dropped();
        return true;
    }
    write_bytes(out, bytes.data(), bytes.size());
    note_outcome(target.list.commit(target.limit), target.list, warnings);
    return true;
}

bool is_plain_item(PyObject* key, PyObject* value) {
    if (!PyUnicode_CheckExact(key) || PyUnicode_GET_LENGTH(key) == 0) {
        return false;
    }
    return PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value) ||
           PyBool_Check(value) || value == Py_None || PyBytes_CheckExact(value);
}

bool is_plain_dict(PyObject* dict) {
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!is_plain_item(key, value)) {
            return false;
        }
    }
    return true;
}

bool set_each(ModuleState& state, const AttributeTarget& target, PyObject* mapping, Scratch& scratch,
              Warnings& warnings) {
    if (PyDict_CheckExact(mapping) && is_plain_dict(mapping)) {
        // Nothing in here runs code of the user's, so the dict stays as it is.
        if (target.limit == 0) {
            target.list.count_dropped(static_cast<std::uint64_t>(PyDict_GET_SIZE(mapping)));
            return true;
        }
        Py_ssize_t position = 0;
        PyObject *key, *value;
        while (PyDict_Next(mapping, &position, &key, &value)) {
            if (!set_valid(state, target, key, value, scratch, warnings)) {
                return false;
            }
        }
        return true;
    }
    if (!PyDict_Check(mapping)) {
        const int is_mapping = PyObject_IsInstance(mapping, state.mapping_abc);
        if (is_mapping <= 0) {
            if (is_mapping == 0) {
                PyErr_Format(PyExc_TypeError, "attributes must be a mapping, not %.200s", Py_TYPE(mapping)->tp_name);
            }
            return false;
        }
    }
    if (target.limit == 0) {
        const Py_ssize_t count = PyObject_Size(mapping);
        if (count < 0) {
            return false;
        }
        target.list.count_dropped(static_cast<std::uint64_t>(count));
        return true;
    }
    std::uint64_t dropped = 0;
    Ref items = clean_items(mapping, warnings, dropped);
    if (!items) {
        return false;
    }
    if (target.closed && *target.closed) {
        return true;
    }
    target.list.count_dropped(dropped);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); i++) {
        Ref pair = Ref::borrow(PyList_GET_ITEM(items.get(), i));
        if (target.closed && *target.closed) {
            return true;
        }
        // One value that cannot be read costs itself, not its neighbours.
        if (!set_valid(state, target, PyTuple_GET_ITEM(pair.get(), 0), PyTuple_GET_ITEM(pair.get(), 1), scratch,
                       warnings) &&
            !absorb_error(state, "an attribute could not be set")) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool set_attribute(ModuleState& state, const AttributeTarget& target, PyObject* key, PyObject* value) {
    if (target.limit == 0) {
        target.list.count_dropped();
        return true;
    }
    ScratchLease scratch(state);
    if (!scratch.ok()) {
        return absorb_error(state, "an attribute could not be set");
    }
    Warnings warnings(state);
    if (!PyUnicode_Check(key) || PyUnicode_GET_LENGTH(key) == 0) {
        target.list.count_dropped();
        warnings.add(Warnings::Kind::kInvalidKey, key);
    } else if (!set_valid(state, target, key, value, *scratch, warnings) &&
               !absorb_error(state, "an attribute could not be set")) {
        return false;
    }
    return warnings.write();
}

bool set_attributes(ModuleState& state, const AttributeTarget& target, PyObject* mapping) {
    ScratchLease scratch(state);
    if (!scratch.ok()) {
        return absorb_error(state, "attributes could not be set");
    }
    Warnings warnings(state);
    if (!set_each(state, target, mapping, *scratch, warnings) &&
        !absorb_error(state, "attributes could not be set")) {
        return false;
    }
    return warnings.write();
}

}  // namespace tango_telemetry
