// SPDX-License-Identifier: LGPL-3.0-or-later
// A growing byte buffer with the protobuf primitives, and a sticky failure flag instead of exceptions.
#pragma once

#include "memory.h"
#include "wire.h"

namespace tango_telemetry {

// Writes after a failed allocation do nothing and leave `failed()` set, so that a whole message is written
// plainly and checked once at its end. `truncate` goes back to a good state.
class Buffer {
public:
    // Offsets into a buffer are kept in 32 bits; what does not fit is refused like an allocation that failed.
    static constexpr std::size_t kMaxSize = std::size_t{1} << 28;

    Buffer() noexcept = default;
    ~Buffer() { std::free(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    const char* data() const noexcept { return data_; }
    char* data() noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::size_t capacity() const noexcept { return capacity_; }
    bool empty() const noexcept { return size_ == 0; }
    bool failed() const noexcept { return failed_; }

    void clear() noexcept { truncate(0); }
    void truncate(std::size_t size) noexcept {
        size_ = size;
        failed_ = false;
    }
    void release() noexcept {
        std::free(data_);
        data_ = nullptr;
        size_ = capacity_ = 0;
        failed_ = false;
    }

    // Room for `extra` bytes after the end, not yet part of the buffer; null (and failed) if there is none.
    char* room(std::size_t extra) noexcept {
        if (__builtin_expect(extra > capacity_ - size_, 0) && !grow(extra)) {
            return nullptr;
        }
        return data_ + size_;
    }
    void advance(std::size_t count) noexcept { size_ += count; }

    void append(const void* bytes, std::size_t count) noexcept {
        char* out = room(count);
        if (out && count) {
            std::memcpy(out, bytes, count);
            size_ += count;
        }
    }
    void byte(std::uint8_t value) noexcept {
        if (char* out = room(1)) {
            *out = static_cast<char>(value);
            size_ += 1;
        }
    }
    void varint(std::uint64_t value) noexcept {
        if (char* out = room(kMaxVarint)) {
            size_ += static_cast<std::size_t>(write_varint(out, value) - out);
        }
    }
    void fixed64(std::uint64_t value) noexcept { append(&value, 8); }
    void fixed32(std::uint32_t value) noexcept { append(&value, 4); }
    void bytes_field(std::uint8_t tag, const void* bytes, std::size_t count) noexcept {
        byte(tag);
        varint(count);
        append(bytes, count);
    }

    // Starts a length-delimited message whose length is not known yet; pass the result to close().
    std::size_t open(std::uint8_t tag) noexcept {
        byte(tag);
        byte(0);
        return size_;
    }
    void close(std::size_t start) noexcept {
        if (failed_) {
            return;
        }
        const std::size_t length = size_ - start;
        const std::size_t extra = varint_size(length) - 1;
        if (extra) {
            if (!room(extra)) {
                return;
            }
            std::memmove(data_ + start + extra, data_ + start, length);
            size_ += extra;
        }
        write_varint(data_ + start - 1, length);
    }

private:
    bool grow(std::size_t extra) noexcept {
        if (failed_ || extra > kMaxSize || size_ + extra > kMaxSize) {
            failed_ = true;
            return false;
        }
        std::size_t grown = capacity_ ? capacity_ * 2 : 256;
        while (grown < size_ + extra) {
            grown *= 2;
        }
        void* data = reallocate(data_, grown);
        if (!data) {
            failed_ = true;
            return false;
        }
        data_ = static_cast<char*>(data);
        capacity_ = grown;
        return true;
    }

    char* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
    bool failed_ = false;
};

}  // namespace tango_telemetry
