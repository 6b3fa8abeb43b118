// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The span context in a Tango event: its one definition. Described for implementers of other languages in
// docs/reference/event-context.md.
//
// A Tango event is four ZeroMQ frames: name, byte order, call information, data. Every reader looks at the first byte of
// the second frame only (cppTango 9.2.7 to 10.3, JTango), so the span context stands behind that byte. This header knows
// nothing of Python, ZeroMQ or Tango, so that the parser can be compiled and fuzzed alone; it allocates nothing.
#pragma once

#include "../bridge_functions.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tango_telemetry::event_frame {

inline constexpr char magic[4] = {'T', 'T', 'R', 'C'};
inline constexpr unsigned char version = 1;
// At 32 bytes or less libzmq holds a message inline (4.2 to 4.3), so nothing is allocated for it.
inline constexpr std::size_t size = 31;

namespace detail {

inline constexpr std::size_t version_offset = 5;
inline constexpr std::size_t trace_id_offset = 6;
inline constexpr std::size_t span_id_offset = 22;
inline constexpr std::size_t flags_offset = 30;

inline void write(unsigned char *to, std::uint64_t number) noexcept {
    for(int i = 7; i >= 0; --i, number >>= 8) {
        to[i] = static_cast<unsigned char>(number);
    }
}

inline std::uint64_t read(const unsigned char *from) noexcept {
    std::uint64_t number = 0;
    for(int i = 0; i < 8; ++i) {
        number = number << 8 | from[i];
    }
    return number;
}

} // namespace detail

// Writes the frame: `byte_order` as the event has it, and the span.
inline void encode(unsigned char (&frame)[size], unsigned char byte_order, const SpanNumbers &span) noexcept {
    frame[0] = byte_order;
    std::memcpy(frame + 1, magic, sizeof magic);
    frame[detail::version_offset] = version;
    detail::write(frame + detail::trace_id_offset, span.trace_id_high);
    detail::write(frame + detail::trace_id_offset + 8, span.trace_id_low);
    detail::write(frame + detail::span_id_offset, span.span_id);
    frame[detail::flags_offset] = span.flags;
}

// False for whatever is not a frame of this version that names a span.
inline bool decode(const unsigned char *frame, std::size_t length, SpanNumbers &span) noexcept {
    if(length != size || std::memcmp(frame + 1, magic, sizeof magic) != 0 ||
       frame[detail::version_offset] != version) {
        return false;
    }
    span.trace_id_high = detail::read(frame + detail::trace_id_offset);
    span.trace_id_low = detail::read(frame + detail::trace_id_offset + 8);
    span.span_id = detail::read(frame + detail::span_id_offset);
    span.flags = frame[detail::flags_offset] & 3;
    return (span.trace_id_high | span.trace_id_low) != 0 && span.span_id != 0;
}

} // namespace tango_telemetry::event_frame
