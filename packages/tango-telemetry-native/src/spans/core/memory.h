// SPDX-License-Identifier: LGPL-3.0-or-later
// Memory of the encoding core: plain malloc with every failure reported, never an exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

namespace tango_telemetry {

#ifdef TANGO_SPANS_FAIL_ALLOCATIONS
// The fuzz driver makes allocations fail at chosen moments, to prove that each one is checked.
bool allocation_allowed() noexcept;
#else
inline constexpr bool allocation_allowed() noexcept { return true; }
#endif

inline void* reallocate(void* old, std::size_t size) noexcept {
    return allocation_allowed() ? std::realloc(old, size) : nullptr;
}

inline void* allocate(std::size_t size) noexcept {
    return allocation_allowed() ? std::malloc(size) : nullptr;
}

// A vector of trivially copyable elements whose growth can fail without throwing.
template <typename T>
class PodVector {
    static_assert(std::is_trivially_copyable<T>::value, "moved by memcpy");

public:
    PodVector() noexcept = default;
    ~PodVector() { std::free(data_); }
    PodVector(const PodVector&) = delete;
    PodVector& operator=(const PodVector&) = delete;

    bool reserve(std::size_t wanted) noexcept {
        if (wanted <= capacity_) {
            return true;
        }
        std::size_t grown = capacity_ ? capacity_ * 2 : 8;
        while (grown < wanted) {
            grown *= 2;
        }
        void* data = reallocate(data_, grown * sizeof(T));
        if (!data) {
            return false;
        }
        data_ = static_cast<T*>(data);
        capacity_ = grown;
        return true;
    }

    bool push_back(const T& value) noexcept {
        if (size_ == capacity_ && !reserve(size_ + 1)) {
            return false;
        }
        data_[size_++] = value;
        return true;
    }

    void resize_down(std::size_t size) noexcept { size_ = size; }

    // Gives exactly `size` elements, all bytes zero.
    bool assign_zero(std::size_t size) noexcept {
        if (!reserve(size)) {
            return false;
        }
        size_ = size;
        if (size) {
            std::memset(static_cast<void*>(data_), 0, size * sizeof(T));
        }
        return true;
    }

    void clear() noexcept { size_ = 0; }
    void release() noexcept {
        std::free(data_);
        data_ = nullptr;
        size_ = capacity_ = 0;
    }
    std::size_t size() const noexcept { return size_; }
    std::size_t capacity() const noexcept { return capacity_; }
    T& operator[](std::size_t i) noexcept { return data_[i]; }
    const T& operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;
};

}  // namespace tango_telemetry
