// SPDX-License-Identifier: LGPL-3.0-or-later
#include "attribute_list.h"

namespace tango_telemetry {

void AttributeList::reset(std::uint8_t tag) noexcept {
    bytes_.clear();
    slots_.clear();
    index_.clear();
    live_ = oldest_ = dead_bytes_ = hidden_bytes_ = 0;
    dropped_ = 0;
    tag_ = tag;
}

void AttributeList::release() noexcept {
    bytes_.release();
    slots_.release();
    index_.release();
    reset(tag_);
}

bool AttributeList::copy(const AttributeList& other) noexcept {
    reset(other.tag_);
    if (other.index_.size() || !slots_.reserve(other.slots_.size())) {
        return false;
    }
    bytes_.append(other.bytes_.data(), other.bytes_.size());
    if (bytes_.failed()) {
        bytes_.clear();
        return false;
    }
    for (std::size_t i = 0; i < other.slots_.size(); i++) {
        slots_.push_back(other.slots_[i]);
    }
    live_ = other.live_;
    oldest_ = other.oldest_;
    dead_bytes_ = other.dead_bytes_;
    hidden_bytes_ = other.hidden_bytes_;
    dropped_ = other.dropped_;
    return true;
}

char* AttributeList::begin(const Key& key, std::size_t size) noexcept {
    const std::size_t body = 1 + varint_size(key.size) + key.size + 1 + varint_size(size) + size;
    const std::size_t total = 1 + varint_size(body) + body;
    char* const start = bytes_.room(total);
    if (!start) {
        bytes_.truncate(bytes_.size());
        return nullptr;
    }
    char* out = start;
    *out++ = static_cast<char>(tag_);
    out = write_varint(out, body);
    *out++ = static_cast<char>(tag::kKey);
    out = write_varint(out, key.size);
    const auto offset = static_cast<std::uint32_t>(bytes_.size());
    const auto key_offset = offset + static_cast<std::uint32_t>(out - start);
    out = write_bytes(out, key.data, key.size);
    *out++ = static_cast<char>(tag::kValue);
    out = write_varint(out, size);
    pending_ = {key.hash, offset, static_cast<std::uint32_t>(total), key_offset, key.size, 0};
    return out;
}

AttributeList::Outcome AttributeList::commit(std::int64_t limit) noexcept { return add(pending_, limit); }

AttributeList::Outcome AttributeList::set_hidden(const Key& key, std::int64_t limit) noexcept {
    if (!begin(key, 0)) {
        return Outcome::kFailed;
    }
    pending_.hidden = 1;
    return add(pending_, limit);
}

AttributeList::Outcome AttributeList::add(Slot slot, std::int64_t limit) noexcept {
    if (limit == 0) {
        dropped_++;
        return Outcome::kSetAndDroppedOldest;
    }
    // The only step that can fail comes first: afterwards the list changes as a whole.
    if (!slots_.reserve(slots_.size() + 1)) {
        return Outcome::kFailed;
    }
    bytes_.advance(slot.size);
    const Key key{bytes_.data() + slot.key_offset, slot.key_size, slot.hash};
    const std::size_t same = find(key);
    if (same != kNone) {
        kill(same);
    }
    Outcome outcome = Outcome::kSet;
    if (limit >= 0 && static_cast<std::int64_t>(live_) >= limit) {
        while (oldest_ < slots_.size() && slots_[oldest_].size == 0) {
            oldest_++;
        }
        if (oldest_ < slots_.size()) {
            kill(oldest_);
        }
        dropped_++;
        outcome = Outcome::kSetAndDroppedOldest;
    }
    if (slot.hidden) {
        hidden_bytes_ += slot.size;
    }
    slots_.push_back(slot);
    live_++;
    if (index_.size()) {
        if (slots_.size() * 2 > index_.size()) {
            build_index();
        } else {
            index_slot(slots_.size() - 1);
        }
    } else if (slots_.size() >= kIndexFrom) {
        build_index();
    }
    // A key set again and again, or a long life at the limit, must not grow the buffer without bound.
    if (slots_.size() >= 2 * live_ + 32 || dead_bytes_ > bytes_.size() / 2 + 4096) {
        compact();
    }
    return outcome;
}

bool AttributeList::matches(const Slot& slot, const Key& key) const noexcept {
    return slot.size && slot.hash == key.hash && slot.key_size == key.size &&
           std::memcmp(bytes_.data() + slot.key_offset, key.data, key.size) == 0;
}

std::size_t AttributeList::find(const Key& key) const noexcept {
    if (index_.size()) {
        const std::size_t mask = index_.size() - 1;
        for (std::size_t probe = key.hash * 0x9E3779B1u & mask; index_[probe]; probe = (probe + 1) & mask) {
            const std::size_t position = index_[probe] - 1;
            if (matches(slots_[position], key)) {
                return position;
            }
        }
        return kNone;
    }
    for (std::size_t i = oldest_; i < slots_.size(); i++) {
        if (matches(slots_[i], key)) {
            return i;
        }
    }
    return kNone;
}

void AttributeList::kill(std::size_t position) noexcept {
    Slot& slot = slots_[position];
    if (slot.hidden) {
        hidden_bytes_ -= slot.size;
    }
    dead_bytes_ += slot.size;
    slot.size = 0;
    live_--;
}

void AttributeList::compact() noexcept {
    std::size_t kept = 0;
    std::uint32_t end = 0;
    dead_bytes_ = 0;
    for (std::size_t i = 0; i < slots_.size(); i++) {
        Slot slot = slots_[i];
        if (slot.size == 0) {
            continue;
        }
        std::memmove(bytes_.data() + end, bytes_.data() + slot.offset, slot.size);
        slot.key_offset -= slot.offset - end;
        slot.offset = end;
        end += slot.size;
        slots_[kept++] = slot;
    }
    slots_.resize_down(kept);
    bytes_.truncate(end);
    oldest_ = 0;
    if (index_.size()) {
        build_index();
    }
}

void AttributeList::build_index() noexcept {
    std::size_t wanted = 64;
    while (wanted < slots_.size() * 4) {
        wanted *= 2;
    }
    if (!index_.assign_zero(wanted)) {
        index_.clear();  // without memory for a table every slot is looked at: slower, still right
        return;
    }
    for (std::size_t i = 0; i < slots_.size(); i++) {
        if (slots_[i].size) {
            index_slot(i);
        }
    }
}

void AttributeList::index_slot(std::size_t position) noexcept {
    const std::size_t mask = index_.size() - 1;
    std::size_t probe = slots_[position].hash * 0x9E3779B1u & mask;
    while (index_[probe]) {
        probe = (probe + 1) & mask;
    }
    index_[probe] = static_cast<std::uint32_t>(position + 1);
}

std::size_t AttributeList::encoded_size() const noexcept { return bytes_.size() - dead_bytes_ - hidden_bytes_; }

char* AttributeList::write(char* out) const noexcept {
    if (dead_bytes_ + hidden_bytes_ == 0) {
        return write_bytes(out, bytes_.data(), bytes_.size());
    }
    for (std::size_t i = 0; i < slots_.size(); i++) {
        const Slot& slot = slots_[i];
        if (slot.size && !slot.hidden) {
            out = write_bytes(out, bytes_.data() + slot.offset, slot.size);
        }
    }
    return out;
}

void AttributeList::append_to(Buffer& out) const noexcept {
    const std::size_t size = encoded_size();
    if (char* start = out.room(size)) {
        write(start);
        out.advance(size);
    }
}

}  // namespace tango_telemetry
