// SPDX-License-Identifier: LGPL-3.0-or-later
// How long the calls of one series took: OTLP's exponential histogram.
#pragma once

#include <cstdint>

#include "buffer.h"

namespace tango_telemetry {

// The span of one call, which a histogram shows for an example of it; a span id of 0 is none.
struct Exemplar {
    std::uint64_t trace_id_high;
    std::uint64_t trace_id_low;
    std::uint64_t span_id;
    std::uint64_t time_ns;  // since the epoch
    std::uint64_t took_ns;
};

// A base-2 exponential histogram of at most 160 buckets that begins with the finest scale and makes its buckets wider as the
// values need it: the aggregation of OpenTelemetry's SDK (specification 1.45, metrics/sdk "Base2 Exponential Bucket Histogram
// Aggregation"), bucket for bucket. Its values are seconds. One at a time may use it: the GIL's holder does.
class Durations {
public:
    static constexpr std::int32_t kFinestScale = 20;
    static constexpr std::int32_t kMostBuckets = 160;

    Durations() noexcept { reset(); }

    void reset() noexcept;
    void record(std::uint64_t took_ns) noexcept;

    // The last one of two collections is kept.
    void set_exemplar(const Exemplar& exemplar) noexcept { exemplar_ = exemplar; }

    // Appends ExponentialHistogram.data_points with its tag; `attributes` are encoded, with theirs. The exemplar is told once.
    void append_to(Buffer& out, const char* attributes, std::size_t size, std::uint64_t start_ns,
                   std::uint64_t time_ns) noexcept;

    std::uint64_t count() const noexcept { return count_; }
    std::uint64_t zero_count() const noexcept { return zeros_; }
    std::int32_t scale() const noexcept { return count_ == zeros_ ? 0 : scale_; }
    double sum() const noexcept { return static_cast<double>(sum_ns_) / kNanoseconds; }
    double min() const noexcept { return static_cast<double>(min_ns_) / kNanoseconds; }
    double max() const noexcept { return static_cast<double>(max_ns_) / kNanoseconds; }
    // The buckets are those of index first() to first() + buckets() - 1.
    std::int32_t first() const noexcept { return first_; }
    std::int32_t buckets() const noexcept { return count_ == zeros_ ? 0 : last_ - first_ + 1; }
    std::uint64_t bucket(std::int32_t index) const noexcept { return counts_[place_of(index)]; }

private:
    static constexpr double kNanoseconds = 1e9;

    // A ring, so that it can grow at either end.
    static std::size_t place_of(std::int32_t index) noexcept {
        constexpr std::uint32_t kWholeTurns = (std::uint32_t{1} << 31) / kMostBuckets * kMostBuckets;
        return (static_cast<std::uint32_t>(index) + kWholeTurns) % kMostBuckets;
    }
    std::int32_t index_of(double seconds) const noexcept;
    void set_scale(std::int32_t scale) noexcept;
    void make_wider(std::int32_t low, std::int32_t high) noexcept;

    std::uint64_t count_;
    std::uint64_t zeros_;
    std::uint64_t sum_ns_;
    std::uint64_t min_ns_;
    std::uint64_t max_ns_;
    double factor_;  // index = floor(log(seconds) * factor)
    std::int32_t scale_;
    std::int32_t first_;
    std::int32_t last_;
    Exemplar exemplar_;
    std::uint64_t counts_[kMostBuckets];
};

}  // namespace tango_telemetry
