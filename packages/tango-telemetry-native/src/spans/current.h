// SPDX-License-Identifier: LGPL-3.0-or-later
// A span made current together with context variables.
#pragma once

#include "state.h"

namespace tango_telemetry {

constexpr int kMaxVariables = 2;

// What was current before: to be left where it was entered. All zero to begin with.
struct Current {
    PyObject* context;  // OpenTelemetry's context with the span as the current one
    PyObject* token;    // null once it was left
    PyObject* variables[kMaxVariables];
    PyObject* tokens[kMaxVariables];
};

// The value of the context variable behind opentelemetry.context; null if there is none, or it failed with an error set.
Ref get_current_context(ModuleState& state, bool& failed);

// Context({**context, span_key: span}); `context` may be null for an empty one.
Ref context_with(ModuleState& state, PyObject* span, PyObject* context);

// `pairs` are context variables and their values. False with an error set, and nothing has changed.
bool enter_current(ModuleState& state, Current& current, PyObject* const* pairs, Py_ssize_t count);

// Takes everything back, also where one step fails; false with the last error set.
bool leave_current(ModuleState& state, Current& current);

// Whether what was entered is what this thread has now, so that whoever drops it has to take it back: an exception that a
// signal handler raises can come between the entering and the `try` that would leave. Leaves the error indicator alone.
bool is_still_current(ModuleState& state, const Current& current);

// For the end of an object that was dropped before it could leave: leave_current() without a word, if it is still current.
void drop_current(ModuleState& state, Current& current);

int traverse_current(const Current& current, visitproc visit, void* arg);
void clear_current(Current& current);

}  // namespace tango_telemetry
