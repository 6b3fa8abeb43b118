// SPDX-License-Identifier: LGPL-3.0-or-later
// Numbers as lower-case hexadecimal digits, the highest first: eight of them at a time, without a branch for each.
#pragma once

#include <cstdint>

namespace tango_telemetry::hex {
namespace detail {

inline constexpr std::uint64_t ones = 0x0101010101010101;

// The characters of eight digits, the first in the highest byte.
constexpr std::uint64_t to_characters(std::uint32_t number) noexcept {
    std::uint64_t nibbles = number;
    nibbles = (nibbles | nibbles << 16) & 0x0000FFFF0000FFFF;
    nibbles = (nibbles | nibbles << 8) & 0x00FF00FF00FF00FF;
    nibbles = (nibbles | nibbles << 4) & 0x0F0F0F0F0F0F0F0F;
    const std::uint64_t letters = ((nibbles + 6 * ones) >> 4) & ones;
    return nibbles + '0' * ones + ('a' - '0' - 10) * letters;
}

// The number that eight digits stand for; any number where one of the characters is no digit.
constexpr std::uint32_t from_characters(std::uint64_t characters) noexcept {
    const std::uint64_t letters = (characters >> 6) & ones;
    std::uint64_t nibbles = ((characters & 0x0F * ones) + 9 * letters) & 0x0F * ones;
    nibbles = (nibbles | nibbles >> 4) & 0x00FF00FF00FF00FF;
    nibbles = (nibbles | nibbles >> 8) & 0x0000FFFF0000FFFF;
    return static_cast<std::uint32_t>(nibbles | nibbles >> 16);
}

// Compilers make one load, and one store, of these.
inline std::uint64_t load(const char *text) noexcept {
    const auto *p = reinterpret_cast<const unsigned char *>(text);
    return static_cast<std::uint64_t>(p[0]) << 56 | static_cast<std::uint64_t>(p[1]) << 48 |
           static_cast<std::uint64_t>(p[2]) << 40 | static_cast<std::uint64_t>(p[3]) << 32 |
           static_cast<std::uint64_t>(p[4]) << 24 | static_cast<std::uint64_t>(p[5]) << 16 |
           static_cast<std::uint64_t>(p[6]) << 8 | p[7];
}

inline void store(char *out, std::uint64_t characters) noexcept {
    for(int i = 0; i < 8; ++i) {
        out[i] = static_cast<char>(characters >> (56 - 8 * i));
    }
}

static_assert(to_characters(0x0123a9f0) == 0x3031323361396630);
static_assert(from_characters(0x3031323361396630) == 0x0123a9f0);

} // namespace detail

// Sixteen digits; gives where they end.
inline char *write(char *out, std::uint64_t number) noexcept {
    detail::store(out, detail::to_characters(static_cast<std::uint32_t>(number >> 32)));
    detail::store(out + 8, detail::to_characters(static_cast<std::uint32_t>(number)));
    return out + 16;
}

// Two digits.
inline char *write(char *out, std::uint8_t number) noexcept {
    const std::uint64_t characters = detail::to_characters(number);
    out[0] = static_cast<char>(characters >> 8);
    out[1] = static_cast<char>(characters);
    return out + 2;
}

// Sixteen digits; false if there is anything but lower-case ones.
inline bool read(const char *text, std::uint64_t &number) noexcept {
    const std::uint64_t first = detail::load(text), second = detail::load(text + 8);
    const std::uint32_t high = detail::from_characters(first), low = detail::from_characters(second);
    number = static_cast<std::uint64_t>(high) << 32 | low;
    return detail::to_characters(high) == first && detail::to_characters(low) == second;
}

// Two digits.
inline bool read(const char *text, std::uint8_t &number) noexcept {
    const std::uint64_t characters = '0' * detail::ones << 16 |
                                     static_cast<std::uint64_t>(static_cast<unsigned char>(text[0])) << 8 |
                                     static_cast<unsigned char>(text[1]);
    number = static_cast<std::uint8_t>(detail::from_characters(characters));
    return detail::to_characters(number) == characters;
}

} // namespace tango_telemetry::hex
