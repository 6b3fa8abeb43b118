// SPDX-License-Identifier: LGPL-3.0-or-later
// A Python value as the body of an OTLP AnyValue.
#pragma once

#include "text.h"
#include "warnings.h"

namespace tango_telemetry {

// One attribute may take this much. The SDK has no bound, and a list that holds itself twice over never ends.
constexpr std::size_t kMaxValueSize = std::size_t{16} << 20;

// A scalar that can be encoded without running any code of the user's.
struct Plain {
    enum Type { kNone, kBool, kInt, kFloat, kText, kBytes } type;
    std::size_t size;  // of the encoded AnyValue
    std::uint64_t number;
    Text text;
    bool truncated;
};

enum class Read { kPlain, kOther, kUnencodable, kError };

Read read_plain(PyObject* value, std::int64_t max_length, Plain& plain);
char* write_plain(char* out, const Plain& plain);

// The items of a mapping as a list of pairs that nobody else can change; keys made str by the SDK's rules. Null
// with an error set.
//
// `dropped` counts items that have no place in the result.
Ref clean_items(PyObject* mapping, Warnings& warnings, std::uint64_t& dropped);

enum class Encoded { kYes, kUnencodable, kError };

// Appends the body of an AnyValue to `out`, which nothing of the user's can reach meanwhile: encoding may run the user's
// code. kError: a Python error is set.
Encoded encode_value(ModuleState& state, Buffer& out, PyObject* value, std::int64_t max_length, Warnings& warnings);

}  // namespace tango_telemetry
