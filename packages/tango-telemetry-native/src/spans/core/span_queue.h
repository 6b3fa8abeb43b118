// SPDX-License-Identifier: LGPL-3.0-or-later
// Finished spans on their way to the pipeline: a first-in-first-out queue bounded in spans and in bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "buffer.h"

namespace tango_telemetry {

struct Scope;

// A thousand spans may share one resource and scope: those are encoded once, counted by reference, and written
// once for each payload.
struct Resource {
    std::atomic<std::size_t> references{1};
    Buffer head;  // ResourceSpans.resource, with its tag
    Buffer tail;  // ResourceSpans.schema_url, with its tag; empty if there is none

    // Of the drain that is under way, valid if `epoch` is the current one.
    std::uint64_t epoch = 0;
    Scope* first_scope = nullptr;
    Scope* last_scope = nullptr;
    Resource* next = nullptr;
    std::size_t size = 0;

    static Resource* create() noexcept;
    void retain() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;
};

struct QueuedSpan;

struct Scope {
    std::atomic<std::size_t> references{1};
    Resource* resource;
    Buffer head;  // ScopeSpans.scope
    Buffer tail;  // ScopeSpans.schema_url

    std::uint64_t epoch = 0;
    QueuedSpan* first_span = nullptr;
    QueuedSpan* last_span = nullptr;
    Scope* next = nullptr;
    std::size_t size = 0;

    static Scope* create(Resource* resource) noexcept;
    void retain() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;

private:
    explicit Scope(Resource* owner) noexcept : resource(owner) {}
};

// One finished span: this header and, in the same allocation, ScopeSpans.spans with its tag.
struct QueuedSpan {
    QueuedSpan* next;
    Scope* scope;  // counted
    std::uint32_t size;

    char* bytes() noexcept { return reinterpret_cast<char*>(&size) + sizeof size; }
    static constexpr std::size_t kHeader = 2 * sizeof(void*) + sizeof(std::uint32_t);
    std::size_t memory() const noexcept { return kHeader + size; }

    static QueuedSpan* create(Scope* scope, std::size_t size) noexcept;
    void destroy() noexcept;
};

class SpanQueue {
public:
    enum class Push { kQueued, kQueuedWake, kRefused };

    SpanQueue(std::size_t max_spans, std::size_t max_bytes, std::size_t wake_spans) noexcept;
    ~SpanQueue();
    SpanQueue(const SpanQueue&) = delete;
    SpanQueue& operator=(const SpanQueue&) = delete;

    // Takes the span over; a null one (there was no memory for it) counts as refused. kQueuedWake: it is time to
    // drain, told once until the next drain; and once for the first span of the process.
    Push push(QueuedSpan* span) noexcept;

    struct Counts {
        std::size_t spans;
        std::size_t bytes;
        std::uint64_t dropped;
        std::uint64_t accepted;
    };
    Counts counts() const noexcept;

    // A drain in three steps, all but the allocation between them without the GIL:
    //   Drain drain(queue); drain.collect(max_bytes); <allocate drain.size()>; drain.write(out)
    // Spans that were collected and not written go back to the queue.
    class Drain {
    public:
        explicit Drain(SpanQueue& queue) noexcept;
        ~Drain();
        Drain(const Drain&) = delete;
        Drain& operator=(const Drain&) = delete;

        void collect(std::size_t max_bytes) noexcept;
        std::size_t size() const noexcept { return size_; }
        std::size_t spans() const noexcept { return spans_; }
        void write(char* out) noexcept;

    private:
        void add(QueuedSpan* span) noexcept;

        SpanQueue& queue_;
        std::unique_lock<std::mutex> one_at_a_time_;
        std::uint64_t epoch_ = 0;
        Resource* first_ = nullptr;
        Resource* last_ = nullptr;
        std::size_t size_ = 0;
        std::size_t spans_ = 0;
        std::size_t memory_ = 0;
    };

    // To be called once by the process: keeps the queues whole over a fork, with an empty one in the child.
    static void register_fork_handlers() noexcept;

private:
    friend struct ForkHandlers;

    struct List {
        QueuedSpan* head = nullptr;
        QueuedSpan* tail = nullptr;
        void append(QueuedSpan* span) noexcept {
            span->next = nullptr;
            if (tail) {
                tail->next = span;
            } else {
                head = span;
            }
            tail = span;
        }
    };

    static void destroy_list(QueuedSpan* head) noexcept;
    void forget_after_fork() noexcept;

    mutable std::mutex mutex_;  // a leaf: nothing is called while it is held
    List incoming_;
    QueuedSpan* staged_ = nullptr;  // taken from incoming_ in one step, used by the one drain that is under way
    std::size_t spans_ = 0;
    std::size_t bytes_ = 0;
    std::uint64_t dropped_ = 0;
    std::uint64_t accepted_ = 0;
    bool armed_ = true;
    const std::size_t max_spans_;
    const std::size_t max_bytes_;
    const std::size_t wake_spans_;
    const std::size_t wake_bytes_;
    SpanQueue* next_queue_ = nullptr;
    SpanQueue* previous_queue_ = nullptr;
};

}  // namespace tango_telemetry
