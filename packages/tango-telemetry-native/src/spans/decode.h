// SPDX-License-Identifier: LGPL-3.0-or-later
// What a span has recorded, back to Python objects: only for those who look at it (a span processor, a test).
#pragma once

#include "objects.h"

namespace tango_telemetry {

// (dict of attributes, number dropped)
PyObject* decode_attributes(const SpanRecord& record);
// (list of (name, timestamp, dict of attributes, number dropped), number dropped)
PyObject* decode_events(const SpanRecord& record);
// (list of (SpanContext, dict of attributes, number dropped), number dropped)
PyObject* decode_links(SpanObject* span);

}  // namespace tango_telemetry
