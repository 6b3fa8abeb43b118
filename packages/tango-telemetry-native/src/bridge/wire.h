// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The GIOP service context of tango-telemetry: its one definition. Described for implementers of other
// languages in docs/reference/giop-service-context.md.
//
// This header knows nothing of Python, omniORB or Tango, so that the parser can be compiled and fuzzed alone.
// Everything parse() is given may come from a hostile peer: it allocates nothing, reads nothing outside
// [data, data + size), and copies into buffers of a fixed size only what it has checked.
#pragma once

#include "../span_texts.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tango_telemetry::wire {

// "TTRC". The OMG gives out identifiers in blocks; this one lies outside the OMG's own (0 to 0x20) and omniORB's
// block (0x41545400, "ATT\0").
inline constexpr std::uint32_t context_id = 0x54545243;

inline constexpr std::size_t traceparent_size = sizeof SpanTexts::parent; // of W3C's version 00, without a NUL
inline constexpr std::size_t max_traceparent_size = max_parent_size;
inline constexpr std::size_t max_tracestate_size = 512;
inline constexpr std::size_t max_payload_size = 1024;

// Offsets in what encode() writes. parse() derives them from the lengths it finds.
inline constexpr std::size_t traceparent_offset = 8;
inline constexpr std::size_t tracestate_length_offset = 64;
inline constexpr std::size_t tracestate_offset = 68;
inline constexpr std::size_t max_encoded_size = tracestate_offset + max_tracestate_size + 1;

enum class Verdict : std::uint8_t {
    ok,
    tracestate_dropped, // the traceparent is good: W3C asks to keep it when the tracestate is not
    too_large,
    truncated,
    bad_byte_order,
    bad_traceparent,
};

struct TraceContext {
    std::uint16_t tracestate_size;
    char traceparent[traceparent_size];
    char tracestate[max_tracestate_size];
};

namespace detail {

inline std::uint32_t read_u32(const unsigned char *p, bool little_endian) noexcept {
    const std::uint32_t a = p[0], b = p[1], c = p[2], d = p[3];
    return little_endian ? (a | b << 8 | c << 16 | d << 24) : (a << 24 | b << 16 | c << 8 | d);
}

inline void write_u32_little(unsigned char *p, std::uint32_t value) noexcept {
    p[0] = static_cast<unsigned char>(value);
    p[1] = static_cast<unsigned char>(value >> 8);
    p[2] = static_cast<unsigned char>(value >> 16);
    p[3] = static_cast<unsigned char>(value >> 24);
}

} // namespace detail

inline bool is_valid_traceparent(const char *text, std::size_t size) noexcept {
    SpanNumbers ignored{};
    return read_parent(text, size, ignored);
}

// The bound and the alphabet only: what the list members mean is decided by who uses them.
inline bool is_valid_tracestate(const char *text, std::size_t size) noexcept {
    if(size > max_tracestate_size) {
        return false;
    }
    for(std::size_t i = 0; i < size; ++i) {
        if(text[i] < 0x20 || text[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

// Writes the payload into `out`, which holds at least max_encoded_size bytes, and returns its size; 0 if either
// string is not valid or the traceparent is not of exactly 55 characters.
inline std::size_t encode(unsigned char *out, const char *traceparent, std::size_t parent_size, const char *tracestate,
                          std::size_t state_size) noexcept {
    if(parent_size != traceparent_size || !is_valid_traceparent(traceparent, parent_size) ||
       !is_valid_tracestate(tracestate, state_size)) {
        return 0;
    }
    std::memset(out, 0, traceparent_offset);
    out[0] = 1; // a CDR encapsulation in little-endian byte order
    detail::write_u32_little(out + 4, traceparent_size + 1);
    std::memcpy(out + traceparent_offset, traceparent, traceparent_size);
    out[traceparent_offset + traceparent_size] = 0;
    detail::write_u32_little(out + tracestate_length_offset, static_cast<std::uint32_t>(state_size + 1));
    if(state_size != 0) {
        std::memcpy(out + tracestate_offset, tracestate, state_size);
    }
    out[tracestate_offset + state_size] = 0;
    return tracestate_offset + state_size + 1;
}

namespace detail {

// A CDR string at `at`: its length with the NUL, then the characters. On success `text` and `size` (without the
// NUL) describe it and `at` stands behind it.
inline bool read_string(const unsigned char *data, std::size_t size, std::size_t &at, bool little_endian,
                        std::size_t max_length, const char *&text, std::size_t &length) noexcept {
    at = (at + 3) & ~static_cast<std::size_t>(3);
    if(at > size || size - at < 4) {
        return false;
    }
    const std::uint32_t with_nul = read_u32(data + at, little_endian);
    at += 4;
    if(with_nul == 0) { // not CDR, but some ORBs write an empty string so
        text = "";
        length = 0;
        return true;
    }
    if(with_nul > size - at || with_nul - 1 > max_length || data[at + with_nul - 1] != 0) {
        return false;
    }
    text = reinterpret_cast<const char *>(data + at);
    length = with_nul - 1;
    at += with_nul;
    return true;
}

} // namespace detail

// Reads a payload. `out` is written only where the verdict is ok or tracestate_dropped. Bytes behind the two
// strings are ignored, so that a later version may add to them.
inline Verdict parse(const unsigned char *data, std::size_t size, TraceContext &out) noexcept {
    if(size > max_payload_size) {
        return Verdict::too_large;
    }
    if(data == nullptr || size == 0) {
        return Verdict::truncated;
    }
    if(data[0] > 1) {
        return Verdict::bad_byte_order;
    }
    const bool little_endian = data[0] == 1;

    std::size_t at = 1;
    const char *text = nullptr;
    std::size_t length = 0;
    if(!detail::read_string(data, size, at, little_endian, max_traceparent_size, text, length)) {
        return Verdict::truncated;
    }
    if(!is_valid_traceparent(text, length)) {
        return Verdict::bad_traceparent;
    }
    std::memcpy(out.traceparent, text, traceparent_size);
    out.tracestate_size = 0;

    if(!detail::read_string(data, size, at, little_endian, max_tracestate_size, text, length) ||
       !is_valid_tracestate(text, length)) {
        return Verdict::tracestate_dropped;
    }
    if(length != 0) {
        std::memcpy(out.tracestate, text, length);
    }
    out.tracestate_size = static_cast<std::uint16_t>(length);
    return Verdict::ok;
}

} // namespace tango_telemetry::wire
