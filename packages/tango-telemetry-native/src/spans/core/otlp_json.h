// SPDX-License-Identifier: LGPL-3.0-or-later
// OTLP's protobuf as OTLP's JSON: what the official protobuf library makes of it in Python, some fifty times faster.
#pragma once

#include <cstddef>

#include "buffer.h"

namespace tango_telemetry {

enum class Signal { kTraces, kLogs, kMetrics };

// Writes a serialised Export…ServiceRequest as lines of JSON, each with one resource, one scope and at most so many spans,
// log records or metrics. False for what is no such request, or where memory is short; `out` is of no use then.
bool write_json_lines(Signal signal, const char* request, std::size_t size, std::size_t most_per_line, Buffer& out) noexcept;

}  // namespace tango_telemetry
