// SPDX-License-Identifier: LGPL-3.0-or-later
// UTF-8 from code points of 1, 2 or 4 bytes each, as CPython keeps its strings.
//
// Done here and not by PyUnicode_AsUTF8, which keeps a second copy inside the user's string for as long as that
// lives, and refuses lone surrogates. A surrogate becomes U+FFFD, as in the spans of the SDK (pipeline/_mend.py).
#pragma once

#include <cstddef>
#include <cstdint>

namespace tango_telemetry {

constexpr std::uint32_t kReplacement = 0xFFFD;  // three bytes, as many as a surrogate would take

inline bool is_surrogate(std::uint32_t point) noexcept { return point >= 0xD800 && point <= 0xDFFF; }

template <typename Point>
bool contains_surrogate(const Point* points, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; i++) {
        if (is_surrogate(points[i])) {
            return true;
        }
    }
    return false;
}

template <typename Point>
std::size_t utf8_size(const Point* points, std::size_t count) noexcept {
    std::size_t size = 0;
    for (std::size_t i = 0; i < count; i++) {
        const std::uint32_t point = points[i];
        size += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    }
    return size;
}

template <typename Point>
char* write_utf8(char* out, const Point* points, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; i++) {
        const std::uint32_t point = is_surrogate(points[i]) ? kReplacement : points[i];
        if (point < 0x80) {
            *out++ = static_cast<char>(point);
        } else if (point < 0x800) {
            *out++ = static_cast<char>(0xC0 | (point >> 6));
            *out++ = static_cast<char>(0x80 | (point & 0x3F));
        } else if (point < 0x10000) {
            *out++ = static_cast<char>(0xE0 | (point >> 12));
            *out++ = static_cast<char>(0x80 | ((point >> 6) & 0x3F));
            *out++ = static_cast<char>(0x80 | (point & 0x3F));
        } else {
            *out++ = static_cast<char>(0xF0 | (point >> 18));
            *out++ = static_cast<char>(0x80 | ((point >> 12) & 0x3F));
            *out++ = static_cast<char>(0x80 | ((point >> 6) & 0x3F));
            *out++ = static_cast<char>(0x80 | (point & 0x3F));
        }
    }
    return out;
}

}  // namespace tango_telemetry
