// SPDX-License-Identifier: LGPL-3.0-or-later
#include "events.h"

#include "event_frame.h"
#include "loaded_library.h"
#include "platform.h"
#include "thread_state.h"

#include "../span_texts.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>
#include <new>

namespace tango_telemetry::events {
namespace {

// zmq.h, ZeroMQ 4: an opaque message of 64 bytes.
struct Message {
    unsigned char opaque[64];
};
constexpr int send_more = 2; // ZMQ_SNDMORE

struct ZeroMq {
    int (*send)(Message *, void *socket, int flags);
    int (*receive)(Message *, void *socket, int flags);
    int (*init_size)(Message *, std::size_t);
    int (*close)(Message *);
    void *(*data)(Message *);
    std::size_t (*size)(const Message *);
    int (*more)(const Message *);
};

ZeroMq zmq{};
std::atomic<bool> installed{false};
// Whether events carry contexts and are asked for them; the patches stay where they are, because a thread may be inside.
std::atomic<bool> enabled{false};

struct Counters {
    std::atomic<std::uint64_t> sent{0};
    std::atomic<std::uint64_t> contexts_sent{0};
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> contexts_received{0};
    std::atomic<std::uint64_t> ignored{0};
    std::atomic<std::uint64_t> send_failures{0};
} counters;

void count(std::atomic<std::uint64_t> &counter) noexcept { counter.fetch_add(1, std::memory_order_relaxed); }

constexpr char topic_beginning[] = "tango://";
constexpr char heartbeat[] = "heartbeat";

// cppTango reads the attributes of a device that are polled with the same period one after the other, and then sends
// the events of all of them.
struct Polled {
    static constexpr int most = 64;
    struct Entry {
        std::uint64_t subject; // its hash
        SpanNumbers span;
    };
    Entry entries[most];
    int count;
    int oldest; // what is replaced where there is no room

    Entry *find(std::uint64_t subject) noexcept {
        Entry *const end = entries + count;
        Entry *const found = std::find_if(entries, end, [&](const Entry &entry) { return entry.subject == subject; });
        return found == end ? nullptr : found;
    }
};

// Trivial on purpose: no destructor runs at thread exit, when ZeroMQ may still use the thread.
struct ThreadState {
    Outgoing outgoing;
    Polled polled;
    // The frames of the event that is being sent, and of the one that is being received.
    int send_part;
    int receive_part;
    bool adds_context;
    SpanNumbers adds;
    bool has_topic;
    std::uint64_t subject;
    std::uint64_t type;
    std::int64_t arrived; // microseconds since the epoch
    bool has_incoming;
    SpanNumbers incoming;
};

thread_local ThreadState thread_state;

std::uint64_t hash(const char *text, std::size_t length) noexcept {
    std::uint64_t value = 0xcbf29ce484222325U; // FNV-1a
    for(std::size_t i = 0; i < length; ++i) {
        value = (value ^ static_cast<unsigned char>(text[i])) * 0x100000001b3U;
    }
    return value | 1; // never 0, which stands for none
}

// "tango://host:port/domain/family/member/attribute[#dbase=no].idl5_change" in two hashes: "domain/.../attribute", and
// "change". The prefix of the type says which IDL version the event is for (cppTango >= 8). Heartbeats are no events.
bool read_topic(const char *topic, std::size_t length, std::uint64_t &subject, std::uint64_t &type) noexcept {
    constexpr std::size_t beginning = sizeof topic_beginning - 1;
    if(length <= beginning || std::memcmp(topic, topic_beginning, beginning) != 0) {
        return false;
    }
    const char *const end = topic + length;
    const char *const slash = std::find(topic + beginning, end, '/');
    const char *const dot = [&] {
        for(const char *at = end; at != slash;) {
            if(*--at == '.') {
                return at;
            }
        }
        return end;
    }();
    if(slash == end || dot == end) {
        return false;
    }
    const char *const name_end = std::find(slash, dot, '#');
    subject = hash(slash + 1, static_cast<std::size_t>(name_end - slash - 1));
    const char *kind = dot + 1;
    if(end - kind > 5 && std::memcmp(kind, "idl", 3) == 0 && kind[4] == '_') {
        kind += 5;
    }
    const auto kind_length = static_cast<std::size_t>(end - kind);
    if(kind_length == sizeof heartbeat - 1 && std::memcmp(kind, heartbeat, kind_length) == 0) {
        return false;
    }
    type = hash(kind, kind_length);
    return true;
}

// What has arrived, for callbacks that run on another thread than ZeroMQ's. Leaked: threads may outlive main().
struct Arrival {
    std::uint64_t subject;
    std::uint64_t type;
    std::int64_t microseconds;
    SpanNumbers span; // of zeros for an event that names none
};
constexpr std::size_t most_arrivals = 4096;
constexpr std::int64_t longest_wait = 1000000; // microseconds

struct Arrivals {
    std::mutex mutex;
    std::uint64_t next = 0;
    Arrival entries[most_arrivals];
};
Arrivals *arrivals = nullptr;

std::int64_t now() noexcept {
    timespec time{};
    ::clock_gettime(CLOCK_REALTIME, &time); // cppTango dates the arrival by the same clock
    return static_cast<std::int64_t>(time.tv_sec) * 1000000 + time.tv_nsec / 1000;
}

// An event without a context is remembered too: the one before it must not be taken for it.
void remember_arrival(const ThreadState &thread) noexcept {
    Arrivals *const known = arrivals;
    if(known != nullptr) {
        const SpanNumbers span = thread.has_incoming ? thread.incoming : SpanNumbers{};
        std::lock_guard<std::mutex> lock(known->mutex);
        known->entries[known->next++ % most_arrivals] = {thread.subject, thread.type, thread.arrived, span};
    }
}

// What a client asked for is done by cppTango itself, which tells of it: a new configuration of an attribute. The request
// names the client's span. A call into the same process passes no interceptor, and `outgoing` is set then.
bool read_request(SpanNumbers &span) noexcept {
    const giop::ThreadState &thread = giop::this_thread();
    return thread.serves && thread.outgoing.state == giop::Outgoing::State::unset && thread.incoming.present &&
           read_parent(thread.incoming.context.traceparent, wire::traceparent_size, span) && span.span_id != 0;
}

// Whether the event of this subject is to carry a context, and which.
bool choose_context(ThreadState &thread, std::uint64_t subject) noexcept {
    if(thread.outgoing.present) {
        thread.adds = thread.outgoing.span;
        return thread.adds.span_id != 0;
    }
    if(const Polled::Entry *const polled = thread.polled.find(subject)) {
        thread.adds = polled->span;
        return true;
    }
    // A forwarded attribute's event: this thread hands on what it has just received.
    if(thread.has_incoming) {
        thread.adds = thread.incoming;
        return true;
    }
    return read_request(thread.adds);
}

// The second frame with the context behind its byte; the caller keeps its own message, and closes it.
int send_with_context(ThreadState &thread, Message *message, void *socket, int flags) noexcept {
    Message longer;
    if(zmq.init_size(&longer, event_frame::size) != 0) {
        return zmq.send(message, socket, flags);
    }
    unsigned char frame[event_frame::size];
    event_frame::encode(frame, *static_cast<const unsigned char *>(zmq.data(message)), thread.adds);
    std::memcpy(zmq.data(&longer), frame, sizeof frame);
    const int sent = zmq.send(&longer, socket, flags);
    if(sent < 0) {
        count(counters.send_failures);
        const int error = errno;
        zmq.close(&longer);
        errno = error;
        return sent;
    }
    count(counters.contexts_sent);
    return 1; // the caller's message has one byte
}

int send(Message *message, void *socket, int flags) {
    if(!enabled.load(std::memory_order_relaxed)) {
        return zmq.send(message, socket, flags);
    }
    ThreadState &thread = thread_state;
    const bool more = (flags & send_more) != 0;
    // A frame that looks like the first of an event is the first: after a failed send the counting begins anew.
    std::uint64_t subject = 0;
    std::uint64_t type = 0;
    if(more && read_topic(static_cast<const char *>(zmq.data(message)), zmq.size(message), subject, type)) {
        thread.send_part = 0;
        thread.adds_context = choose_context(thread, subject);
        count(counters.sent);
    }
    const int part = thread.send_part;
    const bool adds = thread.adds_context && part == 1 && more && zmq.size(message) == 1;
    const int sent = adds ? send_with_context(thread, message, socket, flags) : zmq.send(message, socket, flags);
    if(sent >= 0) {
        thread.send_part = more ? part + 1 : 0;
        thread.adds_context = thread.adds_context && part == 0 && more;
    }
    return sent;
}

int receive(Message *message, void *socket, int flags) {
    const int received = zmq.receive(message, socket, flags);
    if(received < 0 || !enabled.load(std::memory_order_relaxed)) {
        return received;
    }
    ThreadState &thread = thread_state;
    const int part = thread.receive_part;
    const bool more = zmq.more(message) != 0;
    if(part == 0) {
        thread.has_incoming = false;
        thread.has_topic = more && read_topic(static_cast<const char *>(zmq.data(message)), zmq.size(message),
                                              thread.subject, thread.type);
        if(thread.has_topic) {
            count(counters.received);
        }
    } else if(part == 1 && thread.has_topic && more) {
        const std::size_t size = zmq.size(message);
        if(size != 1) {
            thread.has_incoming =
                event_frame::decode(static_cast<const unsigned char *>(zmq.data(message)), size, thread.incoming);
            count(thread.has_incoming ? counters.contexts_received : counters.ignored);
        }
        thread.arrived = now();
        remember_arrival(thread);
    }
    thread.receive_part = more ? part + 1 : 0;
    return received;
}

std::mutex &install_mutex = *new std::mutex;
std::string &reason = *new std::string("install() was not called");

const char *bind(const LoadedLibrary &library, ZeroMq &functions) {
#define TANGO_TELEMETRY_BIND(member, name)                                                                             \
    if(!library.bind(functions.member, name))                                                                          \
        return name;
    TANGO_TELEMETRY_BIND(send, "zmq_msg_send")
    TANGO_TELEMETRY_BIND(receive, "zmq_msg_recv")
    TANGO_TELEMETRY_BIND(init_size, "zmq_msg_init_size")
    TANGO_TELEMETRY_BIND(close, "zmq_msg_close")
    TANGO_TELEMETRY_BIND(data, "zmq_msg_data")
    TANGO_TELEMETRY_BIND(size, "zmq_msg_size")
    TANGO_TELEMETRY_BIND(more, "zmq_msg_more")
#undef TANGO_TELEMETRY_BIND
    return nullptr;
}

bool patch(const char *symbol, void *replacement) {
    const ImportPatch result = patch_import("", "libtango", symbol, replacement);
    if(result == ImportPatch::not_found || result == ImportPatch::failed) {
        reason = std::string("libtango's import of ") + symbol +
                 (result == ImportPatch::failed ? " is read-only" : " was not found");
        return false;
    }
    return true;
}

} // namespace

Outgoing &outgoing() noexcept { return thread_state.outgoing; }

void leave_for_polling(const char *subject, std::size_t length, const SpanNumbers &span) noexcept {
    // A client's request: whatever this thread sends later has nothing to do with it.
    if(giop::this_thread().serves) {
        return;
    }
    Polled &polled = thread_state.polled;
    const std::uint64_t name = hash(subject, length);
    Polled::Entry *entry = polled.find(name);
    if(span.span_id == 0) {
        if(entry != nullptr) {
            *entry = polled.entries[--polled.count];
        }
        return;
    }
    if(entry == nullptr) {
        entry = polled.entries + (polled.count < Polled::most ? polled.count++ : polled.oldest++ % Polled::most);
    }
    *entry = {name, span};
}

void forget_polling() noexcept { thread_state.polled.count = 0; }

bool find_incoming(const char *subject, std::size_t length, const char *type, std::size_t type_length,
                   std::int64_t microseconds, bool elsewhere, SpanNumbers &span) noexcept {
    const std::uint64_t subject_hash = hash(subject, length);
    const std::uint64_t type_hash = hash(type, type_length);
    const ThreadState &thread = thread_state;
    if(thread.has_topic && thread.subject == subject_hash && thread.type == type_hash &&
       thread.arrived <= microseconds) {
        span = thread.incoming;
        return thread.has_incoming;
    }
    Arrivals *const known = arrivals;
    if(!elsewhere || known == nullptr) {
        return false;
    }
    std::lock_guard<std::mutex> lock(known->mutex);
    for(std::uint64_t i = 0; i < most_arrivals && i < known->next; ++i) {
        const Arrival &arrival = known->entries[(known->next - 1 - i) % most_arrivals];
        if(arrival.microseconds < microseconds - longest_wait) {
            return false;
        }
        if(arrival.microseconds <= microseconds && arrival.subject == subject_hash && arrival.type == type_hash) {
            span = arrival.span;
            return span.span_id != 0;
        }
    }
    return false;
}

bool install(const std::string &path) noexcept {
    try {
        std::lock_guard<std::mutex> lock(install_mutex);
        if(installed.load(std::memory_order_relaxed)) {
            enabled.store(true, std::memory_order_relaxed);
            return true;
        }
        if(!is_known_platform) {
            reason = "only Linux with glibc on x86-64 or aarch64 is supported";
            return false;
        }
        const LoadedLibrary library(path.c_str());
        if(!library) {
            reason = "not loaded: " + path;
            return false;
        }
        ZeroMq functions{};
        if(const char *missing = bind(library, functions)) {
            reason = std::string("ZeroMQ has no symbol ") + missing;
            return false;
        }
        if(arrivals == nullptr) {
            arrivals = new Arrivals;
        }
        zmq = functions;
        // Receiving first: a process that adds contexts can read its own.
        if(!patch("zmq_msg_recv", reinterpret_cast<void *>(&receive)) ||
           !patch("zmq_msg_send", reinterpret_cast<void *>(&send))) {
            return false;
        }
        reason.clear();
        installed.store(true, std::memory_order_relaxed);
        enabled.store(true, std::memory_order_relaxed);
        return true;
    } catch(const std::bad_alloc &) {
        return false;
    }
}

void release() noexcept { enabled.store(false, std::memory_order_relaxed); }

void after_fork_in_child() noexcept {
    // Leaked, not unlocked: the thread that may hold it does not exist here.
    if(arrivals != nullptr) {
        arrivals = new(std::nothrow) Arrivals;
    }
}

Status status() {
    std::lock_guard<std::mutex> lock(install_mutex);
    const auto read = [](const std::atomic<std::uint64_t> &counter) { return counter.load(std::memory_order_relaxed); };
    return {installed.load(std::memory_order_relaxed),
            enabled.load(std::memory_order_relaxed),
            reason,
            {{"events_sent", read(counters.sent)},
             {"contexts_sent", read(counters.contexts_sent)},
             {"events_received", read(counters.received)},
             {"contexts_received", read(counters.contexts_received)},
             {"ignored", read(counters.ignored)},
             {"send_failures", read(counters.send_failures)}}};
}

} // namespace tango_telemetry::events
