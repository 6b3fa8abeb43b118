// SPDX-License-Identifier: LGPL-3.0-or-later
// The samplers that OTEL_TRACES_SAMPLER can name, by the rules of opentelemetry.sdk.trace.sampling.
#pragma once

#include <cstdint>

namespace tango_telemetry {

enum class RootRule : std::uint8_t { kNever = 0, kAlways = 1, kRatio = 2, kPython = 3 };

struct Sampler {
    RootRule root = RootRule::kAlways;
    bool parent_based = true;
    // A trace is sampled if the low 64 bits of its id are below the bound. The SDK's bound for the rate 1.0 is
    // 2**64, which does not fit here: that rate is kAlways.
    std::uint64_t bound = 0;

    // Whether a span is dropped whatever the id of its trace.
    bool drops(bool has_parent, bool parent_sampled) const noexcept {
        return parent_based && has_parent ? !parent_sampled : root == RootRule::kNever;
    }

    bool sampled(bool has_parent, bool parent_sampled, std::uint64_t trace_id_low) const noexcept {
        if (parent_based && has_parent) {
            return parent_sampled;
        }
        return root == RootRule::kAlways || (root == RootRule::kRatio && trace_id_low < bound);
    }
};

}  // namespace tango_telemetry
