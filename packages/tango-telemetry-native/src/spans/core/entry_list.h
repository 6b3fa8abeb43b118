// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include "buffer.h"

namespace tango_telemetry {

// The encoded events or links of a span, bounded in number: a full list loses its oldest, as the SDK's
// BoundedList does.
class EntryList {
public:
    void reset() noexcept {
        bytes_.clear();
        offsets_.clear();
        first_ = 0;
        dropped_ = 0;
    }
    void release() noexcept {
        bytes_.release();
        offsets_.release();
        reset();
    }

    // Write one entry to bytes() and commit it; a failed write is taken back.
    Buffer& bytes() noexcept { return bytes_; }
    bool commit(std::size_t start, std::int64_t limit) noexcept {
        if (bytes_.failed() || !offsets_.push_back(static_cast<std::uint32_t>(start))) {
            bytes_.truncate(start);
            dropped_++;
            return false;
        }
        if (limit >= 0 && static_cast<std::int64_t>(count()) > limit) {
            first_++;
            dropped_++;
            // Without this a span that lives for a year would keep every event it ever dropped.
            if (first_ > 32 && first_ > offsets_.size() / 2) {
                compact();
            }
        }
        return true;
    }

    std::size_t count() const noexcept { return offsets_.size() - first_; }
    std::uint64_t dropped() const noexcept { return dropped_; }
    const char* data() const noexcept { return bytes_.data() + skipped(); }
    std::size_t encoded_size() const noexcept { return bytes_.size() - skipped(); }
    std::size_t memory() const noexcept { return bytes_.capacity(); }

private:
    std::size_t skipped() const noexcept {
        return first_ == 0 ? 0 : first_ < offsets_.size() ? offsets_[first_] : bytes_.size();
    }
    void compact() noexcept {
        const std::size_t skip = skipped();
        std::memmove(bytes_.data(), bytes_.data() + skip, bytes_.size() - skip);
        bytes_.truncate(bytes_.size() - skip);
        for (std::size_t i = first_; i < offsets_.size(); i++) {
            offsets_[i - first_] = offsets_[i] - static_cast<std::uint32_t>(skip);
        }
        offsets_.resize_down(offsets_.size() - first_);
        first_ = 0;
    }

    Buffer bytes_;
    PodVector<std::uint32_t> offsets_;
    std::size_t first_ = 0;
    std::uint64_t dropped_ = 0;
};

}  // namespace tango_telemetry
