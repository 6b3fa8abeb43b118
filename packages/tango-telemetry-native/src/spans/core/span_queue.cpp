// SPDX-License-Identifier: LGPL-3.0-or-later
#include "span_queue.h"

#include <pthread.h>

#include <new>

namespace tango_telemetry {
namespace {

// Every queue of the process, so that a fork can hold still each of them.
std::mutex queues_mutex;
SpanQueue* all_queues = nullptr;

// One drain at a time in the process: a drain threads its groups through the scopes, which queues may share.
std::mutex drain_mutex;
std::uint64_t drain_epoch = 0;  // guarded by drain_mutex

}  // namespace

Resource* Resource::create() noexcept { return allocation_allowed() ? new (std::nothrow) Resource : nullptr; }

void Resource::release() noexcept {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete this;
    }
}

Scope* Scope::create(Resource* resource) noexcept {
    Scope* const scope = allocation_allowed() ? new (std::nothrow) Scope(resource) : nullptr;
    if (scope) {
        resource->retain();
    }
    return scope;
}

void Scope::release() noexcept {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        resource->release();
        delete this;
    }
}

QueuedSpan* QueuedSpan::create(Scope* scope, std::size_t size) noexcept {
    if (size > 0xFFFFFFFFu - kHeader) {
        return nullptr;
    }
    void* const memory = allocate(kHeader + size);
    if (!memory) {
        return nullptr;
    }
    auto* const span = static_cast<QueuedSpan*>(memory);
    span->next = nullptr;
    span->scope = scope;
    span->size = static_cast<std::uint32_t>(size);
    scope->retain();
    return span;
}

void QueuedSpan::destroy() noexcept {
    scope->release();
    std::free(this);
}

SpanQueue::SpanQueue(std::size_t max_spans, std::size_t max_bytes, std::size_t wake_spans) noexcept
    : max_spans_(max_spans), max_bytes_(max_bytes), wake_spans_(wake_spans), wake_bytes_(max_bytes / 2) {
    std::lock_guard<std::mutex> lock(queues_mutex);
    next_queue_ = all_queues;
    if (all_queues) {
        all_queues->previous_queue_ = this;
    }
    all_queues = this;
}

SpanQueue::~SpanQueue() {
    {
        std::lock_guard<std::mutex> lock(queues_mutex);
        if (previous_queue_) {
            previous_queue_->next_queue_ = next_queue_;
        } else {
            all_queues = next_queue_;
        }
        if (next_queue_) {
            next_queue_->previous_queue_ = previous_queue_;
        }
    }
    destroy_list(incoming_.head);
    destroy_list(staged_);
}

void SpanQueue::destroy_list(QueuedSpan* head) noexcept {
    while (head) {
        QueuedSpan* const next = head->next;
        head->destroy();
        head = next;
    }
}

SpanQueue::Push SpanQueue::push(QueuedSpan* span) noexcept {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (span && spans_ < max_spans_ && span->memory() <= max_bytes_ - bytes_) {
            incoming_.append(span);
            spans_++;
            bytes_ += span->memory();
            accepted_++;
            const bool first = accepted_ == 1;  // the consumer may have threads to start
            const bool enough = spans_ >= wake_spans_ || bytes_ >= wake_bytes_;
            if (first || (armed_ && enough)) {
                armed_ = !enough;
                return Push::kQueuedWake;
            }
            return Push::kQueued;
        }
        dropped_++;
    }
    if (span) {
        span->destroy();
    }
    return Push::kRefused;
}

SpanQueue::Counts SpanQueue::counts() const noexcept {
    std::lock_guard<std::mutex> lock(mutex_);
    return {spans_, bytes_, dropped_, accepted_};
}

SpanQueue::Drain::Drain(SpanQueue& queue) noexcept : queue_(queue), one_at_a_time_(drain_mutex) {
    epoch_ = ++drain_epoch;
}

void SpanQueue::Drain::add(QueuedSpan* span) noexcept {
    Scope* const scope = span->scope;
    Resource* const resource = scope->resource;
    if (resource->epoch != epoch_) {
        resource->epoch = epoch_;
        resource->first_scope = resource->last_scope = nullptr;
        resource->next = nullptr;
        (last_ ? last_->next : first_) = resource;
        last_ = resource;
    }
    if (scope->epoch != epoch_) {
        scope->epoch = epoch_;
        scope->first_span = scope->last_span = nullptr;
        scope->next = nullptr;
        scope->size = scope->head.size() + scope->tail.size();
        (resource->last_scope ? resource->last_scope->next : resource->first_scope) = scope;
        resource->last_scope = scope;
    }
    span->next = nullptr;
    (scope->last_span ? scope->last_span->next : scope->first_span) = span;
    scope->last_span = span;
    scope->size += span->size;
}

void SpanQueue::Drain::collect(std::size_t max_bytes) noexcept {
    std::size_t estimate = 0;
    // Two rounds: what an earlier drain left over, then what has come in since.
    for (int round = 0; round < 2; round++) {
        if (!queue_.staged_) {
            std::lock_guard<std::mutex> lock(queue_.mutex_);
            queue_.staged_ = queue_.incoming_.head;
            queue_.incoming_ = List{};
        }
        while (QueuedSpan* const span = queue_.staged_) {
            std::size_t cost = span->size;
            if (span->scope->epoch != epoch_) {
                cost += span->scope->head.size() + span->scope->tail.size() + 1 + kMaxVarint;
                Resource* const resource = span->scope->resource;
                if (resource->epoch != epoch_) {
                    cost += resource->head.size() + resource->tail.size() + 1 + kMaxVarint;
                }
            }
            // One span is always taken: a larger one than asked for would otherwise block the queue for ever.
            if (spans_ && estimate + cost > max_bytes) {
                round = 2;
                break;
            }
            estimate += cost;
            queue_.staged_ = span->next;
            add(span);
            spans_++;
            memory_ += span->memory();
        }
    }
    for (Resource* resource = first_; resource; resource = resource->next) {
        resource->size = resource->head.size() + resource->tail.size();
        for (Scope* scope = resource->first_scope; scope; scope = scope->next) {
            resource->size += 1 + varint_size(scope->size) + scope->size;
        }
        size_ += 1 + varint_size(resource->size) + resource->size;
    }
}

void SpanQueue::Drain::write(char* out) noexcept {
    QueuedSpan* written = nullptr;
    for (Resource* resource = first_; resource; resource = resource->next) {
        *out++ = static_cast<char>(tag::kResourceSpans);
        out = write_varint(out, resource->size);
        out = write_bytes(out, resource->head.data(), resource->head.size());
        for (Scope* scope = resource->first_scope; scope; scope = scope->next) {
            *out++ = static_cast<char>(tag::kScopeSpans);
            out = write_varint(out, scope->size);
            out = write_bytes(out, scope->head.data(), scope->head.size());
            for (QueuedSpan* span = scope->first_span; span; span = span->next) {
                out = write_bytes(out, span->bytes(), span->size);
            }
            out = write_bytes(out, scope->tail.data(), scope->tail.size());
            // Its spans may hold the last reference to a scope, so that nothing is destroyed before the end.
            scope->last_span->next = written;
            written = scope->first_span;
        }
        out = write_bytes(out, resource->tail.data(), resource->tail.size());
    }
    {
        std::lock_guard<std::mutex> lock(queue_.mutex_);
        queue_.spans_ -= spans_;
        queue_.bytes_ -= memory_;
        queue_.armed_ = true;
    }
    first_ = last_ = nullptr;
    destroy_list(written);
}

SpanQueue::Drain::~Drain() {
    // Not written: put the spans back before those that wait. Only the order among scopes is lost.
    QueuedSpan* last = nullptr;
    QueuedSpan* first = nullptr;
    for (Resource* resource = first_; resource; resource = resource->next) {
        for (Scope* scope = resource->first_scope; scope; scope = scope->next) {
            (last ? last->next : first) = scope->first_span;
            last = scope->last_span;
        }
    }
    if (first) {
        last->next = queue_.staged_;
        queue_.staged_ = first;
    }
}

// The child gets a copy of spans that the parent will send: it forgets them. What another thread had staged for
// a drain may be in the middle of a change, so it is left where it is; the rest is whole, for the forking thread
// holds each queue's mutex.
void SpanQueue::forget_after_fork() noexcept {
    destroy_list(incoming_.head);
    incoming_ = List{};
    staged_ = nullptr;
    spans_ = bytes_ = 0;
    dropped_ = accepted_ = 0;
    armed_ = true;
}

struct ForkHandlers {
    static void prepare() noexcept {
        queues_mutex.lock();
        for (SpanQueue* queue = all_queues; queue; queue = queue->next_queue_) {
            queue->mutex_.lock();
        }
    }
    static void unlock() noexcept {
        for (SpanQueue* queue = all_queues; queue; queue = queue->next_queue_) {
            queue->mutex_.unlock();
        }
        queues_mutex.unlock();
    }
    static void child() noexcept {
        for (SpanQueue* queue = all_queues; queue; queue = queue->next_queue_) {
            queue->forget_after_fork();
        }
        // A thread that was draining is not in this process and will never unlock it. Waiting for it in
        // prepare() would deadlock: it may need the GIL, which the forking thread holds.
        new (&drain_mutex) std::mutex;
        // Marks of the drain that was cut off must not look current. Its epoch may be read half-way through
        // nothing: it is one aligned word.
        drain_epoch += 2;
        unlock();
    }
};

void SpanQueue::register_fork_handlers() noexcept {
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(ForkHandlers::prepare, ForkHandlers::unlock, ForkHandlers::child); });
}

}  // namespace tango_telemetry
