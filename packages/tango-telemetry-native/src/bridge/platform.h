// SPDX-License-Identifier: LGPL-3.0-or-later
// Where the private layouts of omniORB and of the dynamic loader are known, which this package relies on.
#pragma once

#include <elf.h>

#include <cstdint> // defines __GLIBC__ where the C library is that

namespace tango_telemetry {

// The loader of another C library (musl, bionic) keeps addresses in an object's dynamic section as they are in the file,
// glibc's as they are in memory: reading the one as the other ends the process.
#if defined(__linux__) && defined(__LP64__) && defined(__GLIBC__) && defined(__x86_64__)
inline constexpr bool is_known_platform = true;
inline constexpr std::uint32_t relocation_of_call = R_X86_64_JUMP_SLOT;
inline constexpr std::uint32_t relocation_of_address = R_X86_64_GLOB_DAT;
#elif defined(__linux__) && defined(__LP64__) && defined(__GLIBC__) && defined(__aarch64__)
inline constexpr bool is_known_platform = true;
inline constexpr std::uint32_t relocation_of_call = R_AARCH64_JUMP_SLOT;
inline constexpr std::uint32_t relocation_of_address = R_AARCH64_GLOB_DAT;
#else
inline constexpr bool is_known_platform = false;
inline constexpr std::uint32_t relocation_of_call = 0;
inline constexpr std::uint32_t relocation_of_address = 0;
#endif

} // namespace tango_telemetry
