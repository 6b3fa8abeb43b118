// SPDX-License-Identifier: LGPL-3.0-or-later
// Python attributes to OTLP, by the rules of opentelemetry.attributes and of the official encoder.
#pragma once

#include "value_encoder.h"

namespace tango_telemetry {

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

}  // namespace tango_telemetry
