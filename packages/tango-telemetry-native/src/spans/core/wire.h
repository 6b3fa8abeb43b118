// SPDX-License-Identifier: LGPL-3.0-or-later
// Protobuf's wire format, as far as OTLP traces need it, and the field tags of opentelemetry-proto's messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tango_telemetry {

constexpr std::size_t kMaxVarint = 10;

inline std::size_t varint_size(std::uint64_t value) noexcept {
    // Seven bits a byte: (bits + 6) / 7, and one byte for zero.
    const int bits = 64 - __builtin_clzll(value | 1);
    return static_cast<std::size_t>((bits + 6) / 7);
}

inline char* write_varint(char* out, std::uint64_t value) noexcept {
    while (value >= 0x80) {
        *out++ = static_cast<char>(value | 0x80);
        value >>= 7;
    }
    *out++ = static_cast<char>(value);
    return out;
}

// Reads one from `next` on, which then stands behind it; false where the bytes end before it does, or it never does.
inline bool read_varint(const char*& next, const char* end, std::uint64_t& value) noexcept {
    value = 0;
    for (int shift = 0; shift < 64 && next != end; shift += 7) {
        const auto byte = static_cast<unsigned char>(*next++);
        value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    value = 0;
    return false;
}

inline char* write_big_endian(char* out, std::uint64_t value) noexcept {
    value = __builtin_bswap64(value);
    std::memcpy(out, &value, 8);
    return out + 8;
}

inline std::uint64_t read_big_endian(const char* in) noexcept {
    std::uint64_t value;
    std::memcpy(&value, in, 8);
    return __builtin_bswap64(value);
}

inline char* write_bytes(char* out, const void* bytes, std::size_t count) noexcept {
    if (count) {
        std::memcpy(out, bytes, count);
    }
    return out + count;
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fixed32 and fixed64 are copied as they stand");

// Tags are (field << 3) | wire type, by message of opentelemetry-proto 1.x.
namespace tag {
// AnyValue
constexpr std::uint8_t kString = 0x0A;
constexpr std::uint8_t kBool = 0x10;
constexpr std::uint8_t kInt = 0x18;
constexpr std::uint8_t kDouble = 0x21;
constexpr std::uint8_t kArray = 0x2A;
constexpr std::uint8_t kMap = 0x32;
constexpr std::uint8_t kBytes = 0x3A;
// ArrayValue.values and KeyValueList.values
constexpr std::uint8_t kItem = 0x0A;
// KeyValue
constexpr std::uint8_t kKey = 0x0A;
constexpr std::uint8_t kValue = 0x12;
// Span
constexpr std::uint8_t kTraceId = 0x0A;
constexpr std::uint8_t kSpanId = 0x12;
constexpr std::uint8_t kTraceState = 0x1A;
constexpr std::uint8_t kParentSpanId = 0x22;
constexpr std::uint8_t kName = 0x2A;
constexpr std::uint8_t kKind = 0x30;
constexpr std::uint8_t kStart = 0x39;
constexpr std::uint8_t kEnd = 0x41;
constexpr std::uint8_t kSpanAttribute = 0x4A;
constexpr std::uint8_t kDroppedAttributes = 0x50;
constexpr std::uint8_t kEvent = 0x5A;
constexpr std::uint8_t kDroppedEvents = 0x60;
constexpr std::uint8_t kLink = 0x6A;
constexpr std::uint8_t kDroppedLinks = 0x70;
constexpr std::uint8_t kStatus = 0x7A;
constexpr std::uint8_t kFlagsFirst = 0x85;  // field 16 takes two tag bytes
constexpr std::uint8_t kFlagsSecond = 0x01;
// Span.Event
constexpr std::uint8_t kEventTime = 0x09;
constexpr std::uint8_t kEventName = 0x12;
constexpr std::uint8_t kEventAttribute = 0x1A;
constexpr std::uint8_t kEventDroppedAttributes = 0x20;
// Span.Link
constexpr std::uint8_t kLinkTraceId = 0x0A;
constexpr std::uint8_t kLinkSpanId = 0x12;
constexpr std::uint8_t kLinkAttribute = 0x22;
constexpr std::uint8_t kLinkDroppedAttributes = 0x28;
constexpr std::uint8_t kLinkFlags = 0x35;
// Status
constexpr std::uint8_t kStatusMessage = 0x12;
constexpr std::uint8_t kStatusCode = 0x18;
// ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Resource, InstrumentationScope
constexpr std::uint8_t kResourceSpans = 0x0A;
constexpr std::uint8_t kResource = 0x0A;
constexpr std::uint8_t kScopeSpans = 0x12;
constexpr std::uint8_t kScope = 0x0A;
constexpr std::uint8_t kSpan = 0x12;
constexpr std::uint8_t kSchemaUrl = 0x1A;
constexpr std::uint8_t kResourceAttribute = 0x0A;
constexpr std::uint8_t kScopeName = 0x0A;
constexpr std::uint8_t kScopeVersion = 0x12;
constexpr std::uint8_t kScopeAttribute = 0x1A;
}  // namespace tag

// SpanFlags of opentelemetry-proto: whether the parent (or the linked span) is remote, and that this is known.
constexpr std::uint32_t kHasIsRemote = 0x100;
constexpr std::uint32_t kIsRemote = 0x200;

inline std::uint32_t span_flags(bool remote) noexcept { return kHasIsRemote | (remote ? kIsRemote : 0); }

}  // namespace tango_telemetry
