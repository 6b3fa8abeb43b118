// SPDX-License-Identifier: LGPL-3.0-or-later
// The two strings that name a span: W3C's traceparent, and the entry "tango" of the tracestate
// (docs/decisions/0007-tracestate-entry.md). What is a traceparent is said here once for all of C++, and by
// tango_telemetry.context.w3c for Python; tests/contract/test_traceparent.py holds the two together.
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

inline constexpr std::size_t max_parent_size = 256; // of a later version, of which the first 55 characters are used

// W3C Trace Context, "traceparent": version, trace id, parent id, flags; lower case; ids not zero; version not ff. A later
// version may go on behind another dash, version 00 may not. False for anything else, and `span` is not to be used then.
inline bool read_parent(const char *text, std::size_t size, SpanNumbers &span) noexcept {
    constexpr std::size_t used = sizeof SpanTexts::parent;
    std::uint8_t version = 0;
    return size >= used && size <= max_parent_size && hex::read(text, version) && version != 0xff &&
           (size == used || (version != 0 && text[used] == '-')) && text[2] == '-' && text[35] == '-' &&
           hex::read(text + 3, span.trace_id_high) && hex::read(text + 19, span.trace_id_low) &&
           read_span_id(text + 36, span) && (span.trace_id_high != 0 || span.trace_id_low != 0) && span.span_id != 0;
}

// The flag "sampled" of what may be a traceparent, without reading the rest.
inline bool is_sampled(const char *text, std::size_t size) noexcept {
    std::uint8_t flags = 0;
    return size >= sizeof SpanTexts::parent && hex::read(text + 53, flags) && (flags & 1) != 0;
}

// False for whatever is not this one entry alone.
inline bool read_entry(const char *text, std::size_t size, SpanNumbers &span) noexcept {
    return size == sizeof SpanTexts::entry && std::memcmp(text, "tango=", 6) == 0 && read_span_id(text + 6, span);
}

} // namespace tango_telemetry
