// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include "state.h"

namespace tango_telemetry {

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

}  // namespace tango_telemetry
