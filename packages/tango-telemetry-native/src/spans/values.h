// SPDX-License-Identifier: LGPL-3.0-or-later
// Python attributes to OTLP, by the rules of opentelemetry.attributes and of the official encoder.
#pragma once

#include "state.h"

namespace tango_spans {

// Log messages of one operation, written when it is complete: a log handler is user code, and finds every span in
// a state that makes sense.
class Warnings {
public:
    enum class Kind { kTruncated, kFull, kInvalidKey, kInvalidNestedKey, kKeyType, kValueType, kUnencodable };

    explicit Warnings(ModuleState& state) : state_(state) {}
    ~Warnings();
    Warnings(const Warnings&) = delete;
    Warnings& operator=(const Warnings&) = delete;

    void add(Kind kind, PyObject* subject = nullptr, long number = 0);
    // False if a log handler raised what is not ours to keep.
    bool write();

private:
    struct Entry {
        Kind kind;
        PyObject* subject;  // owned
        long number;
    };
    bool write_one(const Entry& entry);

    ModuleState& state_;
    PodVector<Entry> entries_;
};

// A list with its bounds, and when it must no longer change (a span that was ended in the meantime).
struct AttributeTarget {
    AttributeList& list;
    std::int64_t limit;
    std::int64_t value_length;
    const bool* closed = nullptr;
};

// Each of these gives false with a Python error set only for errors that must go on to the user (see
// absorb_error); all others are absorbed. They may run user code, and write its warnings.
bool set_attribute(ModuleState& state, const AttributeTarget& target, PyObject* key, PyObject* value);
bool set_attributes(ModuleState& state, const AttributeTarget& target, PyObject* mapping);

// Appends a str as UTF-8, at most `max_length` code points of it (-1: all).
void append_text(Buffer& out, PyObject* text, std::int64_t max_length = -1);

// The same for any object, by its str(); false with a Python error set.
bool append_any_text(Buffer& out, PyObject* object);

}  // namespace tango_spans
