// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include "objects.h"

namespace tango_telemetry {

constexpr const char* kEndedMethod = "Tried calling %s on an ended span.";
constexpr const char* kEndedAttribute = "Setting attribute on ended span.";

// Each of these gives false only with an exception set that is not ours to keep (see absorb_error).

// Whether attributes or links are there at all. `failed` instead of the result, for they are user code.
bool truthy(ModuleState& state, PyObject* object, bool& failed);
// A flag that was given, or `missing` where it was not, or cannot tell whether it is true.
bool read_flag(ModuleState& state, PyObject* object, bool missing, bool& flag);
// As the SDK's: a warning for whoever goes on with a span that has ended.
bool warn_ended(ModuleState& state, const char* text, const char* method = nullptr);
bool set_text(ModuleState& state, Buffer& target, PyObject* text);
bool set_status(SpanObject* span, ModuleState& state, PyObject* status, PyObject* description);
bool add_event(SpanObject* span, ModuleState& state, PyObject* name, PyObject* attributes, PyObject* timestamp);
bool add_span_link(SpanObject* span, PyObject* context, PyObject* attributes);
bool record_exception(SpanObject* span, PyObject* exception, PyObject* attributes, PyObject* timestamp,
                      PyObject* escaped);
bool set_exception_status(SpanObject* span, PyObject* exception);
bool end_span(SpanObject* span, PyObject* end_time);

// A time given in nanoseconds, or `missing` if there is none that can be used.
std::uint64_t time_or(ModuleState& state, PyObject* time, std::uint64_t missing);

}  // namespace tango_telemetry
