// SPDX-License-Identifier: LGPL-3.0-or-later
// How long calls take, for metrics.
#pragma once

#include "calls.h"
#include "core/durations.h"

namespace tango_telemetry {

struct DurationsObject {
    PyObject_HEAD
    PyObject* attributes;  // bytes
    PyObject* failed;      // called with an exception, gives what the series of failed calls is
    std::int64_t begun;    // and not ended
    Durations durations;
};

// The duration of one call, which belongs to a series: a Durations, or an object of Python's with its methods `fail` and
// `record` (a metric of the user's). Without a series nothing is counted, and no clock is read.
struct Timing {
    PyObject* series;  // owned; null: not counted
    std::uint64_t begun_ns;
    std::uint64_t took_ns;  // 0: to be read from the clock

    void begin(ModuleState& state, PyObject* of, PyObject* span);
    // From now on it is a call that failed. False with an error set, as end().
    bool fail(ModuleState& state, PyObject* error);
    // Counts it, once.
    bool end(ModuleState& state, PyObject* span);
};

PyTypeObject* create_durations_type(PyObject* module);

}  // namespace tango_telemetry
