// SPDX-License-Identifier: LGPL-3.0-or-later
// What the bridge offers the spans without Python between them: the capsules `_bridge.giop_functions` and
// `_bridge.idl_functions`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tango_telemetry {

struct SpanNumbers {
    std::uint64_t trace_id_high;
    std::uint64_t trace_id_low;
    std::uint64_t span_id;
    std::uint8_t flags;
};

struct GiopFunctions {
    static constexpr const char *name = "tango_telemetry_native._bridge.giop_functions";
    static constexpr int busy = -1;

    // This thread's next requests carry the span. Gives what restore() takes; `busy`, and nothing is done, where the
    // thread carries another context already.
    int (*set_span)(const SpanNumbers &span) noexcept;
    void (*restore)(int previous) noexcept;

    // The span that the running upcall's request names; false if there is none, or one that is not ours alone: the
    // strings tell then.
    bool (*get_span)(SpanNumbers &span) noexcept;
};

struct IdlFunctions {
    static constexpr const char *name = "tango_telemetry_native._bridge.idl_functions";

    struct Text {
        const char *data;
        std::size_t size;
    };

    // Whether requests get the strings that GiopFunctions::set_span() sets: then no scope is wanted.
    bool (*writes)() noexcept;

    // Whether the running upcall's strings were read from its request, and can be had without cppTango.
    bool (*has_read)() noexcept;

    // Whether this thread has a telemetry interface of cppTango's. May set a Python error.
    bool (*is_ready)();

    // Hands traceparent and tracestate of this thread to `sink`. Only after has_read() or is_ready().
    void (*get_context)(void (*sink)(void *target, Text traceparent, Text tracestate), void *target);

    // Null if cppTango refuses. Only after is_ready().
    void *(*open_scope)(Text name, Text traceparent, Text tracestate);
    void (*close_scope)(void *scope);
};

} // namespace tango_telemetry
