// SPDX-License-Identifier: LGPL-3.0-or-later
// The two strings that name a span: W3C's traceparent of version 00, and the entry "tango" of the tracestate
// (docs/decisions/0007-tracestate-entry.md).
#pragma once

#include "bridge_functions.h"
#include "hex.h"

#include <cstring>

namespace tango_telemetry {

struct SpanTexts {
    char parent[55]; // 00-<trace id>-<span id>-<flags>
    char entry[25];  // tango=<span id>-<flags>

    explicit SpanTexts(const SpanNumbers &span) noexcept {
        std::memcpy(parent, "00-", 3);
        char *at = hex::write(hex::write(parent + 3, span.trace_id_high), span.trace_id_low);
        *at++ = '-';
        char *const own = at;
        at = hex::write(at, span.span_id);
        *at++ = '-';
        hex::write(at, static_cast<std::uint8_t>(span.flags & 3));
        std::memcpy(entry, "tango=", 6);
        std::memcpy(entry + 6, own, sizeof entry - 6);
    }
};

// Reads what stands after the dash of a traceparent, or after "tango=" in the entry: <span id>-<flags>.
inline bool read_span_id(const char *text, SpanNumbers &span) noexcept {
    return hex::read(text, span.span_id) && text[16] == '-' && hex::read(text + 17, span.flags);
}

// False for any other version, and for what is no traceparent. Zero is not looked for.
inline bool read_parent(const char *text, std::size_t size, SpanNumbers &span) noexcept {
    return size == sizeof SpanTexts::parent && std::memcmp(text, "00-", 3) == 0 &&
           hex::read(text + 3, span.trace_id_high) && hex::read(text + 19, span.trace_id_low) && text[35] == '-' &&
           read_span_id(text + 36, span);
}

// False for whatever is not this one entry alone.
inline bool read_entry(const char *text, std::size_t size, SpanNumbers &span) noexcept {
    return size == sizeof SpanTexts::entry && std::memcmp(text, "tango=", 6) == 0 && read_span_id(text + 6, span);
}

} // namespace tango_telemetry
