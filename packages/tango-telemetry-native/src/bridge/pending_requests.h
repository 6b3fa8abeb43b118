// SPDX-License-Identifier: LGPL-3.0-or-later
//
// Contexts of asynchronous requests between their submission and their reply.
//
// omniORB sends such a request on a thread of its own. What both threads see is the request's own copy of the
// operation name (CORBA::string_dup in the constructor of the DII request, omniORB 4.2.5): an address that is unique
// among the requests that are alive. It is the key; what it points to is never read.
#pragma once

#include "wire.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

namespace tango_telemetry::giop {

class PendingRequests {
  public:
    // A request that is never answered (its connection failed) leaves its entry behind until its address is used
    // again; this bounds how many there can be.
    static constexpr std::size_t capacity = 4096;

    // Returns how many of the oldest entries had to go. May throw std::bad_alloc.
    std::size_t put(const void *key, const unsigned char *payload, std::size_t size) {
        std::lock_guard<std::mutex> lock(mutex_);
        std::size_t evicted = 0;
        remove(key);
        while(entries_.size() >= capacity) {
            entries_.erase(order_.front());
            order_.pop_front();
            ++evicted;
        }
        order_.push_back(key);
        try {
            entries_.emplace(key, Entry{std::string(reinterpret_cast<const char *>(payload), size), --order_.end()});
        } catch(...) {
            order_.pop_back();
            throw;
        }
        size_.store(entries_.size(), std::memory_order_release);
        return evicted;
    }

    // Copies what was put; it stays, because omniORB sends again when a connection turns out to be dead.
    std::size_t get(const void *key, unsigned char (&payload)[wire::max_encoded_size]) {
        if(empty()) {
            return 0;
        }
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = entries_.find(key);
        if(found == entries_.end()) {
            return 0;
        }
        const std::string &stored = found->second.payload;
        stored.copy(reinterpret_cast<char *>(payload), sizeof payload);
        return stored.size();
    }

    void erase(const void *key) {
        if(empty()) {
            return;
        }
        std::lock_guard<std::mutex> lock(mutex_);
        remove(key);
    }

    bool empty() const noexcept { return size_.load(std::memory_order_acquire) == 0; }

    std::size_t size() const noexcept { return size_.load(std::memory_order_acquire); }

  private:
    struct Entry {
        std::string payload;
        std::list<const void *>::iterator position;
    };

    void remove(const void *key) {
        const auto found = entries_.find(key);
        if(found != entries_.end()) {
            order_.erase(found->second.position);
            entries_.erase(found);
            size_.store(entries_.size(), std::memory_order_release);
        }
    }

    std::mutex mutex_;
    std::atomic<std::size_t> size_{0};
    std::list<const void *> order_; // oldest first
    std::unordered_map<const void *, Entry> entries_;
};

} // namespace tango_telemetry::giop
