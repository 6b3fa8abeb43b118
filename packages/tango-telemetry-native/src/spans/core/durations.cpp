// SPDX-License-Identifier: LGPL-3.0-or-later
#include "durations.h"

#include <cmath>

namespace tango_telemetry {
namespace {

// ExponentialHistogramDataPoint, its Buckets, and Exemplar of opentelemetry-proto 1.x.
namespace point {
constexpr std::uint8_t kDataPoint = 0x0A;
constexpr std::uint8_t kStart = 0x11;
constexpr std::uint8_t kTime = 0x19;
constexpr std::uint8_t kCount = 0x21;
constexpr std::uint8_t kSum = 0x29;
constexpr std::uint8_t kScale = 0x30;
constexpr std::uint8_t kZeroCount = 0x39;
constexpr std::uint8_t kPositive = 0x42;
constexpr std::uint8_t kExemplar = 0x5A;
constexpr std::uint8_t kMin = 0x61;
constexpr std::uint8_t kMax = 0x69;
constexpr std::uint8_t kOffset = 0x08;
constexpr std::uint8_t kBucketCounts = 0x12;
constexpr std::uint8_t kExemplarTime = 0x11;
constexpr std::uint8_t kExemplarDouble = 0x19;
constexpr std::uint8_t kExemplarSpanId = 0x22;
constexpr std::uint8_t kExemplarTraceId = 0x2A;
}  // namespace point

constexpr std::uint64_t kMantissa = (std::uint64_t{1} << 52) - 1;

std::uint64_t zigzag(std::int32_t value) noexcept {
    return (static_cast<std::uint32_t>(value) << 1) ^ static_cast<std::uint32_t>(value >> 31);
}

void fixed(Buffer& out, std::uint8_t field, std::uint64_t value) noexcept {
    out.byte(field);
    out.fixed64(value);
}

void number(Buffer& out, std::uint8_t field, double value) noexcept {
    out.byte(field);
    out.append(&value, sizeof value);
}

}  // namespace

void Durations::reset() noexcept {
    count_ = zeros_ = sum_ns_ = max_ns_ = 0;
    min_ns_ = ~std::uint64_t{0};
    first_ = 0;
    last_ = -1;
    exemplar_ = Exemplar{};
    std::memset(counts_, 0, sizeof counts_);
    set_scale(kFinestScale);
}

void Durations::set_scale(std::int32_t scale) noexcept {
    scale_ = scale;
    factor_ = std::ldexp(1 / std::log(2.0), scale);
}

// Buckets have their upper bound inside, so a power of two belongs to the bucket below it. Nanoseconds in 64 bits are between
// 2^-30 and 2^35 seconds: no scale below 1 is ever needed for 160 buckets.
std::int32_t Durations::index_of(double seconds) const noexcept {
    std::uint64_t bits;
    std::memcpy(&bits, &seconds, sizeof bits);
    if (!(bits & kMantissa)) {
        const auto exponent = static_cast<std::int32_t>(bits >> 52) - 1023;
        return exponent * (std::int32_t{1} << scale_) - 1;
    }
    return static_cast<std::int32_t>(std::floor(std::log(seconds) * factor_));
}

void Durations::make_wider(std::int32_t low, std::int32_t high) noexcept {
    int halvings = 0;
    for (; high - low >= kMostBuckets; low >>= 1, high >>= 1) {
        halvings++;
    }
    std::uint64_t merged[kMostBuckets] = {};
    for (std::int32_t index = first_; index <= last_; index++) {
        merged[place_of(index >> halvings)] += counts_[place_of(index)];
    }
    std::memcpy(counts_, merged, sizeof counts_);
    first_ >>= halvings;
    last_ >>= halvings;
    set_scale(scale_ - halvings);
}

void Durations::record(std::uint64_t took_ns) noexcept {
    count_++;
    sum_ns_ += took_ns;
    if (took_ns < min_ns_) {
        min_ns_ = took_ns;
    }
    if (took_ns > max_ns_) {
        max_ns_ = took_ns;
    }
    if (!took_ns) {
        zeros_++;
        return;
    }
    const double seconds = static_cast<double>(took_ns) / kNanoseconds;
    std::int32_t index = index_of(seconds);
    if (first_ > last_) {
        first_ = last_ = index;
    } else if (index < first_ || index > last_) {
        const std::int32_t low = index < first_ ? index : first_;
        const std::int32_t high = index > last_ ? index : last_;
        if (high - low >= kMostBuckets) {
            make_wider(low, high);
            index = index_of(seconds);
        }
        first_ = index < first_ ? index : first_;
        last_ = index > last_ ? index : last_;
    }
    counts_[place_of(index)]++;
}

void Durations::append_to(Buffer& out, const char* attributes, std::size_t size, std::uint64_t start_ns,
                          std::uint64_t time_ns) noexcept {
    const std::size_t data_point = out.open(point::kDataPoint);
    out.append(attributes, size);
    fixed(out, point::kStart, start_ns);
    fixed(out, point::kTime, time_ns);
    fixed(out, point::kCount, count_);
    number(out, point::kSum, sum());
    out.byte(point::kScale);
    out.varint(zigzag(scale()));
    fixed(out, point::kZeroCount, zeros_);
    if (buckets()) {
        const std::size_t positive = out.open(point::kPositive);
        out.byte(point::kOffset);
        out.varint(zigzag(first_));
        const std::size_t counts = out.open(point::kBucketCounts);
        for (std::int32_t index = first_; index <= last_; index++) {
            out.varint(bucket(index));
        }
        out.close(counts);
        out.close(positive);
    }
    if (exemplar_.span_id) {
        const std::size_t exemplar = out.open(point::kExemplar);
        fixed(out, point::kExemplarTime, exemplar_.time_ns);
        number(out, point::kExemplarDouble, static_cast<double>(exemplar_.took_ns) / kNanoseconds);
        char id[16];
        write_big_endian(id, exemplar_.span_id);
        out.bytes_field(point::kExemplarSpanId, id, 8);
        write_big_endian(write_big_endian(id, exemplar_.trace_id_high), exemplar_.trace_id_low);
        out.bytes_field(point::kExemplarTraceId, id, 16);
        out.close(exemplar);
        exemplar_ = Exemplar{};
    }
    if (count_) {
        number(out, point::kMin, min());
        number(out, point::kMax, max());
    }
    out.close(data_point);
}

}  // namespace tango_telemetry
