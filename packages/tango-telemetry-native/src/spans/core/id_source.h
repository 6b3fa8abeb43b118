// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include <cstdint>

namespace tango_telemetry {

// 64 random bits, never zero (zero is the invalid id of W3C Trace Context). One generator (xoshiro256++) per
// thread, seeded by getrandom(2), seeded again after a fork so that parent and child never share an id.
std::uint64_t random_id() noexcept;

// Called in the child of a fork.
void reseed_after_fork() noexcept;

}  // namespace tango_telemetry
