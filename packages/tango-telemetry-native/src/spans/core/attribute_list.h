// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include <cstdint>

#include "buffer.h"

namespace tango_telemetry {

struct Key {
    const char* data;
    std::uint32_t size;
    std::uint32_t hash;  // any hash, the same for the same bytes within one list
};

// Attributes of a span, an event, a link, a resource or a scope: encoded as they are set, in order, one for
// each key, bounded in number. The rules are those of opentelemetry.attributes.BoundedAttributes: setting a key
// again moves it to the end, and a full list loses its oldest.
class AttributeList {
public:
    enum class Outcome { kSet, kSetAndDroppedOldest, kFailed };

    explicit AttributeList(std::uint8_t tag = tag::kSpanAttribute) noexcept : tag_(tag) {}

    void reset(std::uint8_t tag) noexcept;
    void release() noexcept;

    // Space for the encoded AnyValue of `size` bytes; fill it and call commit() with nothing in between.
    // Null if there is no memory.
    char* begin(const Key& key, std::size_t size) noexcept;
    Outcome commit(std::int64_t limit) noexcept;

    // An attribute that counts for the limit and replaces its key, but cannot be sent: an integer of more than
    // 64 bits. The SDK keeps it and its encoder leaves it out.
    Outcome set_hidden(const Key& key, std::int64_t limit) noexcept;

    // The same attributes as another list without an index; false, and this one is empty, if there is no memory.
    bool copy(const AttributeList& other) noexcept;

    void count_dropped(std::uint64_t count = 1) noexcept { dropped_ += count; }
    std::uint64_t dropped() const noexcept { return dropped_; }
    std::size_t size() const noexcept { return live_; }

    std::size_t encoded_size() const noexcept;
    char* write(char* out) const noexcept;
    void append_to(Buffer& out) const noexcept;
    std::size_t memory() const noexcept { return bytes_.capacity() + slots_.capacity() * sizeof(Slot); }

private:
    struct Slot {
        std::uint32_t hash;
        std::uint32_t offset;
        std::uint32_t size;  // of the whole KeyValue with its tag; 0: this slot is dead
        std::uint32_t key_offset;
        std::uint32_t key_size;
        std::uint32_t hidden;
    };

    static constexpr std::size_t kNone = ~std::size_t{0};
    static constexpr std::size_t kIndexFrom = 24;  // below, looking at every slot is quicker than a table

    std::size_t find(const Key& key) const noexcept;
    bool matches(const Slot& slot, const Key& key) const noexcept;
    void kill(std::size_t position) noexcept;
    Outcome add(Slot slot, std::int64_t limit) noexcept;
    void compact() noexcept;
    void build_index() noexcept;
    void index_slot(std::size_t position) noexcept;

    Buffer bytes_;
    PodVector<Slot> slots_;
    PodVector<std::uint32_t> index_;  // open addressing: 0 is free, else position + 1; empty: not in use
    Slot pending_{};
    std::size_t live_ = 0;
    std::size_t oldest_ = 0;  // no slot before it is alive
    std::size_t dead_bytes_ = 0;    // of slots that were replaced or dropped
    std::size_t hidden_bytes_ = 0;  // of slots that are kept and not sent
    std::uint64_t dropped_ = 0;
    std::uint8_t tag_;
};

}  // namespace tango_telemetry
