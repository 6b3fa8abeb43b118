// SPDX-License-Identifier: LGPL-3.0-or-later
#include "warnings.h"

namespace tango_telemetry {

Warnings::~Warnings() {
    for (std::size_t i = 0; i < entries_.size(); i++) {
        Py_XDECREF(entries_[i].subject);
    }
}

void Warnings::add(Kind kind, PyObject* subject, long number) {
    if (entries_.push_back({kind, subject, number})) {
        Py_XINCREF(subject);
    }
}

bool Warnings::write_one(const Entry& entry) {
    PyObject* logger = state_.warn_attributes;
    const char* text = nullptr;
    Ref number;
    PyObject* first = nullptr;
    PyObject* second = nullptr;
    switch (entry.kind) {
        case Kind::kTruncated:
            text = "String attribute value exceeds max length of %d, truncating.";
            number = Ref(PyLong_FromLong(entry.number));
            first = number.get();
            break;
        case Kind::kFull:
            text = "Attributes dict is full. Dropping the oldest key-value pair from attributes to make space for "
                   "the new key-value pair.";
            break;
        case Kind::kInvalidKey:
            text = "invalid key `%s`. must be non-empty string. Dropping key from attributes.";
            first = entry.subject;
            break;
        case Kind::kInvalidNestedKey:
            text = "invalid attribute key `%s`. must be non-empty string. Dropping key from attributes.";
            first = entry.subject;
            break;
        case Kind::kKeyType:
            text = "Invalid type `%s` for attribute key `%s`, must be a str. Key's `__str__/__repr__` method will be "
                   "called if it exists, otherwise the key/value pair will be dropped.";
            first = reinterpret_cast<PyObject*>(Py_TYPE(entry.subject));
            second = entry.subject;
            break;
        case Kind::kValueType:
            text = "Invalid type `%s` for attribute value. Expected one of bool, str, None, bytes, int, float or a "
                   "Mapping or Sequence of those types. Value's __str__ method will be called if it exists, "
                   "otherwise the value will be replaced with None.";
            first = entry.subject;
            break;
        case Kind::kUnencodable:
            logger = state_.warn_encoder;
            text = "Failed to encode key %s: an integer of more than 64 bits";
            first = entry.subject;
            break;
    }
    Ref format(PyUnicode_FromString(text));
    if (!format) {
        return false;
    }
    Ref result(PyObject_CallFunctionObjArgs(logger, format.get(), first, second, nullptr));
    return static_cast<bool>(result);
}

bool Warnings::write() {
    if (entries_.size() == 0 || !state_.configured) {
        return true;
    }
    for (std::size_t i = 0; i < entries_.size(); i++) {
        if (!write_one(entries_[i])) {
            if (!PyErr_ExceptionMatches(PyExc_Exception)) {
                return false;
            }
            PyErr_Clear();
        }
    }
    return true;
}

}  // namespace tango_telemetry
