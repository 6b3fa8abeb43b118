// SPDX-License-Identifier: LGPL-3.0-or-later
#include "giop.h"

#include "loaded_library.h"
#include "omniorb_abi.h"
#include "pending_requests.h"

#include <cstring>
#include <mutex>
#include <new>

namespace tango_telemetry::giop {

namespace {

using omniorb::AsynchronousWorker;
using omniorb::ClientReply;
using omniorb::ClientRequest;
using omniorb::ServerLayout;
using omniorb::ServerRequest;
using omniorb::ServiceContext;
using omniorb::ServiceContextList;

// A peer chooses how many contexts it sends; these bound what is looked at and what is added to.
constexpr std::uint32_t max_contexts_read = 64;
constexpr std::uint32_t max_contexts_copied = 64;

struct Counters {
    std::atomic<std::uint64_t> requests_sent{0};
    std::atomic<std::uint64_t> contexts_sent{0};
    std::atomic<std::uint64_t> requests_received{0};
    std::atomic<std::uint64_t> contexts_received{0};
    std::atomic<std::uint64_t> dropped_too_large{0};
    std::atomic<std::uint64_t> dropped_malformed{0};
    std::atomic<std::uint64_t> dropped_tracestate{0};
    std::atomic<std::uint64_t> dropped_unverified{0};
    std::atomic<std::uint64_t> dropped_by_client{0};
    std::atomic<std::uint64_t> outgoing_rejected{0};
    std::atomic<std::uint64_t> asynchronous_submitted{0};
    std::atomic<std::uint64_t> asynchronous_sent{0};
    std::atomic<std::uint64_t> asynchronous_evicted{0};
    std::atomic<std::uint64_t> registered_again{0};
    std::atomic<std::uint64_t> failed_checks{0};
};

// Leaked: omniORB's threads may call in while the process's static objects are being destroyed.
Counters &counters = *new Counters;
PendingRequests *pending = new PendingRequests;
std::mutex *install_mutex = new std::mutex;

thread_local ThreadState thread_state;

void count(std::atomic<std::uint64_t> &counter) noexcept {
    counter.fetch_add(1, std::memory_order_relaxed);
}

using OperationOf = const char *(*) (void *info);
using InvokeAsync = void (*)(void *object_reference, void *call_descriptor);

// Written by install() before the interceptors that read it are registered.
struct Bound {
    OperationOf client_operation = nullptr;
    OperationOf reply_operation = nullptr;
    OperationOf server_operation = nullptr;
    InvokeAsync invoke_async = nullptr;
    ServerLayout layout{};
};

Bound bound;
std::atomic<bool> client_enabled{false};
std::atomic<bool> server_enabled{false};
std::atomic<bool> asynchronous_enabled{false};

// Guarded by install_mutex. Raw pointers to literals or leaked strings, for the same reason as above.
struct InstallState {
    bool installed = false;
    std::string reason = "install() was not called";
    std::string asynchronous_reason;
    std::string library;
    std::string version;
};

InstallState &install_state = *new InstallState;
std::atomic<const char *> disabled_because{nullptr};

void disable(std::atomic<bool> &feature, const char *reason) noexcept {
    count(counters.failed_checks);
    feature.store(false, std::memory_order_relaxed);
    disabled_because.store(reason, std::memory_order_relaxed);
}

// ---- client ---------------------------------------------------------------------------------------------------

// What omniORB's _CORBA_Sequence<T> does in copybuffer().
bool make_room(ServiceContextList &list) noexcept {
    if(list.buffer != nullptr && list.length < list.max) {
        return true;
    }
    const std::uint32_t new_max = list.max > list.length ? list.max : list.length + 4;
    auto *grown = new(std::nothrow) ServiceContext[new_max];
    if(grown == nullptr) {
        return false;
    }
    for(std::uint32_t i = 0; i < list.length; ++i) {
        ServiceContext &from = list.buffer[i];
        ServiceContext &to = grown[i];
        to.id = from.id;
        to.data.max = from.data.max;
        to.data.length = from.data.length;
        to.data.releases = from.data.releases;
        to.data.bounded = from.data.bounded;
        to.data.buffer = from.data.buffer;
        from.data.releases = false; // the new element owns it
    }
    if(list.releases) {
        delete[] list.buffer;
    }
    list.releases = true;
    list.buffer = grown;
    list.max = new_max;
    return true;
}

// `payload` is borrowed: omniORB marshals the list on this thread as soon as the interceptors have returned.
void add_service_context(ServiceContextList &list, const unsigned char *payload, std::size_t size) noexcept {
    if(list.bounded || list.length > list.max || (list.length != 0 && list.buffer == nullptr)) {
        disable(client_enabled, "the client's list of service contexts has another layout than expected");
        return;
    }
    if(list.max > max_contexts_copied || !make_room(list)) {
        count(counters.dropped_by_client);
        return;
    }
    ServiceContext &added = list.buffer[list.length];
    if(added.data.releases) {
        delete[] added.data.buffer;
    }
    added.id = wire::context_id;
    added.data.max = added.data.length = static_cast<std::uint32_t>(size);
    added.data.releases = false;
    added.data.bounded = false;
    added.data.buffer = const_cast<unsigned char *>(payload);
    ++list.length;
    count(counters.contexts_sent);
}

bool on_client_send_request(ClientRequest &request) {
    count(counters.requests_sent);
    if(!client_enabled.load(std::memory_order_relaxed)) {
        return true;
    }
    ThreadState &thread = thread_state;
    if(thread.outgoing.state == Outgoing::State::set) {
        add_service_context(request.service_contexts, thread.outgoing.payload, thread.outgoing.size);
    } else if(thread.sends_for_others && thread.outgoing.state == Outgoing::State::unset && !pending->empty()) {
        // The worker's own buffer: the entry may be evicted by another thread before it is marshalled.
        const std::size_t size = pending->get(bound.client_operation(&request), thread.outgoing.payload);
        if(size != 0) {
            add_service_context(request.service_contexts, thread.outgoing.payload, size);
            count(counters.asynchronous_sent);
        }
    }
    return true;
}

bool on_client_receive_reply(ClientReply &reply) {
    if(!pending->empty() && this_thread().sends_for_others) {
        pending->erase(bound.reply_operation(&reply));
    }
    return true;
}

// ---- asynchronous requests ------------------------------------------------------------------------------------

const void *operation_key(const void *call_descriptor) noexcept {
    const void *key = nullptr;
    std::memcpy(&key, static_cast<const char *>(call_descriptor) + omniorb::call_descriptor_operation, sizeof key);
    return key;
}

void remember_submission(const void *call_descriptor) noexcept {
    const ThreadState &thread = thread_state;
    const void *key = operation_key(call_descriptor);
    if(thread.outgoing.state != Outgoing::State::set) {
        pending->erase(key); // the address may have been that of a request which was never answered
        return;
    }
    try {
        const std::size_t evicted = pending->put(key, thread.outgoing.payload, thread.outgoing.size);
        counters.asynchronous_evicted.fetch_add(evicted, std::memory_order_relaxed);
        count(counters.asynchronous_submitted);
    } catch(const std::bad_alloc &) {
        count(counters.dropped_by_client);
    }
}

// Stands in for omniObjRef::_invoke_async(omniAsyncCallDescriptor*) where omniORB's dynamic invocation calls it: on
// the submitting thread, once for each request, and before any other thread sees it.
void invoke_async(void *object_reference, void *call_descriptor) {
    if(asynchronous_enabled.load(std::memory_order_relaxed) && call_descriptor != nullptr) {
        remember_submission(call_descriptor);
    }
    bound.invoke_async(object_reference, call_descriptor);
}

// Wraps the life of a worker that sends asynchronous requests. omniORB's pools share their threads: this one may
// have served an upcall before.
void on_assign_asynchronous_worker(AsynchronousWorker &worker) {
    ThreadState &thread = thread_state;
    thread.begin(false);
    thread.sends_for_others = true;
    worker.run();
    thread.sends_for_others = false;
}

// ---- server ---------------------------------------------------------------------------------------------------

enum class Verified { yes, no, unknown };

// A name too long for the inline buffer stands elsewhere and proves nothing. The peer chooses the name, so this must
// not count as a failed check.
Verified verify_layout(const ServerRequest &request, const char *operation) noexcept {
    if(operation == nullptr) {
        return Verified::no;
    }
    if(operation == request.giop_s + bound.layout.operation_buffer) {
        return Verified::yes;
    }
    return ::strnlen(operation, omniorb::operation_buffer_size) < omniorb::operation_buffer_size ? Verified::no :
                                                                                                     Verified::unknown;
}

void read_context(const ServiceContext &context, Incoming &incoming) noexcept {
    if(context.data.length > context.data.max || (context.data.length != 0 && context.data.buffer == nullptr)) {
        count(counters.dropped_malformed);
        return;
    }
    switch(wire::parse(context.data.buffer, context.data.length, incoming.context)) {
    case wire::Verdict::tracestate_dropped:
        count(counters.dropped_tracestate);
        [[fallthrough]];
    case wire::Verdict::ok:
        incoming.present = true;
        count(counters.contexts_received);
        break;
    case wire::Verdict::too_large:
        count(counters.dropped_too_large);
        break;
    default:
        count(counters.dropped_malformed);
        break;
    }
}

void read_contexts(const ServiceContextList &list, Incoming &incoming) noexcept {
    if(list.bounded || list.length > list.max || (list.length != 0 && list.buffer == nullptr)) {
        disable(server_enabled, "the server's list of service contexts has another layout than expected");
        return;
    }
    const std::uint32_t length = list.length < max_contexts_read ? list.length : max_contexts_read;
    for(std::uint32_t i = 0; i < length; ++i) {
        if(list.buffer[i].id == wire::context_id) {
            read_context(list.buffer[i], incoming);
            return; // a second one of ours is not looked at
        }
    }
}

bool on_server_receive_request(ServerRequest &request) {
    count(counters.requests_received);
    ThreadState &thread = thread_state;
    // Before any check: a request without a context of ours must not see that of the request before it, nor what
    // user code on this thread left set.
    thread.begin(true);
    if(!server_enabled.load(std::memory_order_relaxed)) {
        return true;
    }
    switch(verify_layout(request, bound.server_operation(&request))) {
    case Verified::yes:
        read_contexts(*reinterpret_cast<const ServiceContextList *>(request.giop_s + bound.layout.service_contexts),
                      thread.incoming);
        break;
    case Verified::no:
        disable(server_enabled, "the server's request has another layout than expected");
        break;
    case Verified::unknown:
        count(counters.dropped_unverified);
        break;
    }
    return true;
}

// ---- installation ---------------------------------------------------------------------------------------------

constexpr const char *invoke_async_symbol = "_ZN10omniObjRef13_invoke_asyncEP23omniAsyncCallDescriptor";

using AddClient = void (*)(void *, bool (*)(ClientRequest &));
using AddReply = void (*)(void *, bool (*)(ClientReply &));
using AddServer = void (*)(void *, bool (*)(ServerRequest &));
using AddWorker = void (*)(void *, void (*)(AsynchronousWorker &));

struct Symbols {
    AddClient add_client;
    AddReply add_reply;
    AddServer add_server;
    AddWorker add_worker;
    std::uint32_t (*version_hex)();
    const char *(*version_string)();
    // Head of omniORB's list of assignAMIThread interceptors; optional. omniORB empties all lists at once, and puts
    // interceptors of its own (code sets) into others, as cppTango does; this one holds ours only.
    void *const *worker_list;
    Bound functions;
};

// What is registered, and is read by keep_installed(); null before. Leaked, like all that outlives main().
std::atomic<const Symbols *> registered{nullptr};

// Returns the name of the first symbol that is missing, or null.
const char *bind_symbols(const LoadedLibrary &library, Symbols &symbols) {
#define TANGO_TELEMETRY_BIND(member, name)                                                                             \
    if(!library.bind(symbols.member, name))                                                                            \
        return name;
#define INTERCEPTORS "_ZN4omni16omniInterceptors"
    TANGO_TELEMETRY_BIND(version_hex, "_ZN7omniORB10versionHexEv")
    TANGO_TELEMETRY_BIND(version_string, "_ZN7omniORB13versionStringEv")
    TANGO_TELEMETRY_BIND(add_client, INTERCEPTORS "19clientSendRequest_T3addEPFbRNS1_6info_TEE")
    TANGO_TELEMETRY_BIND(add_reply, INTERCEPTORS "20clientReceiveReply_T3addEPFbRNS1_6info_TEE")
    TANGO_TELEMETRY_BIND(add_server, INTERCEPTORS "22serverReceiveRequest_T3addEPFbRNS1_6info_TEE")
    TANGO_TELEMETRY_BIND(add_worker, INTERCEPTORS "17assignAMIThread_T3addEPFvRNS1_6info_TEE")
    TANGO_TELEMETRY_BIND(functions.client_operation, INTERCEPTORS "19clientSendRequest_T6info_T9operationEv")
    TANGO_TELEMETRY_BIND(functions.reply_operation, INTERCEPTORS "20clientReceiveReply_T6info_T9operationEv")
    TANGO_TELEMETRY_BIND(functions.server_operation, INTERCEPTORS "22serverReceiveRequest_T6info_T9operationEv")
    TANGO_TELEMETRY_BIND(functions.invoke_async, invoke_async_symbol)
#undef INTERCEPTORS
#undef TANGO_TELEMETRY_BIND
    library.bind(symbols.worker_list, "_ZN4omni16omniInterceptorP15assignAMIThreadE");
    return nullptr;
}

bool choose_layout(std::uint32_t version, ServerLayout &layout) noexcept {
    switch(version >> 16) {
    case 0x0402:
        layout = omniorb::layout_4_2;
        return true;
    case 0x0403:
        layout = omniorb::layout_4_3;
        return true;
    default:
        return false;
    }
}

void patch_asynchronous(const std::string &library) {
    const std::string directory = library.substr(0, library.rfind('/') + 1);
    switch(patch_import(directory, "libomniDynamic4", invoke_async_symbol, reinterpret_cast<void *>(&invoke_async))) {
    case ImportPatch::patched:
    case ImportPatch::already_patched:
        asynchronous_enabled.store(true, std::memory_order_relaxed);
        install_state.asynchronous_reason.clear();
        break;
    case ImportPatch::not_found:
        count(counters.failed_checks);
        install_state.asynchronous_reason = "omniORB's dynamic invocation library does not import _invoke_async";
        break;
    case ImportPatch::failed:
        count(counters.failed_checks);
        install_state.asynchronous_reason = "the import table of omniORB's dynamic invocation library is read-only";
        break;
    }
}

bool refuse(std::string reason) {
    count(counters.failed_checks);
    install_state.reason = std::move(reason);
    return false;
}

void register_interceptors(const Symbols &symbols) {
    // add() of 4.2 and 4.3 ignores `this` and removes duplicates, and may be called before an ORB exists.
    static char no_interceptors_object[64];
    symbols.add_reply(no_interceptors_object, on_client_receive_reply);
    symbols.add_client(no_interceptors_object, on_client_send_request);
    symbols.add_server(no_interceptors_object, on_server_receive_request);
    symbols.add_worker(no_interceptors_object, on_assign_asynchronous_worker); // last: see keep_installed()
}

bool install_locked(const std::string &path) {
    if(!omniorb::is_supported_platform) {
        return refuse("only Linux with glibc is supported, on x86-64 and aarch64");
    }
    const LoadedLibrary library(path.c_str());
    if(!library) {
        return refuse("not loaded: " + path);
    }
    Symbols symbols{};
    if(const char *missing = bind_symbols(library, symbols)) {
        return refuse(std::string("omniORB has no symbol ") + missing);
    }
    const std::string file = file_of(reinterpret_cast<const void *>(symbols.add_client));
    if(install_state.installed && install_state.library != file) {
        return refuse("another omniORB is in use already: " + install_state.library);
    }
    if(!choose_layout(symbols.version_hex(), symbols.functions.layout)) {
        return refuse(std::string("omniORB ") + symbols.version_string() + " is not supported; 4.2 and 4.3 are");
    }
    if(!install_state.installed) {
        bound = symbols.functions;
        install_state.library = file;
        install_state.version = symbols.version_string();
        registered.store(new Symbols(symbols), std::memory_order_release);
        client_enabled.store(true, std::memory_order_relaxed);
        server_enabled.store(true, std::memory_order_relaxed);
    }
    patch_asynchronous(file);
    register_interceptors(symbols);
    install_state.installed = true;
    install_state.reason.clear();
    return true;
}

} // namespace

// Never inlined: in a shared library GCC 12 asks for the address of a thread_local anew at every use, 49 times to read a
// context.
[[gnu::noinline]] ThreadState &this_thread() noexcept { return thread_state; }

void set_outgoing(Outgoing &outgoing, const char *traceparent, std::size_t parent_size, const char *tracestate,
                  std::size_t state_size) noexcept {
    outgoing.state = Outgoing::State::none;
    if(parent_size == 0) {
        return;
    }
    const std::size_t size = wire::encode(outgoing.payload, traceparent, parent_size, tracestate, state_size);
    if(size == 0) {
        count(counters.outgoing_rejected);
        return;
    }
    outgoing.size = static_cast<std::uint16_t>(size);
    outgoing.state = Outgoing::State::set;
}

bool install(const std::string &path) noexcept {
    try {
        std::lock_guard<std::mutex> lock(*install_mutex);
        return install_locked(path);
    } catch(const std::bad_alloc &) {
        count(counters.failed_checks);
        return false;
    }
}

void keep_installed() noexcept {
    const Symbols *symbols = registered.load(std::memory_order_acquire);
    if(symbols == nullptr || symbols->worker_list == nullptr ||
       __atomic_load_n(symbols->worker_list, __ATOMIC_RELAXED) != nullptr) {
        return;
    }
    std::lock_guard<std::mutex> lock(*install_mutex);
    register_interceptors(*symbols);
    count(counters.registered_again);
}

void after_fork_in_child() noexcept {
    // Leaked, not destroyed: both may be locked by a thread that does not exist here.
    pending = new PendingRequests;
    install_mutex = new std::mutex;
}

Status status() {
    std::lock_guard<std::mutex> lock(*install_mutex);
    Status result;
    result.installed = install_state.installed;
    result.client = client_enabled.load(std::memory_order_relaxed);
    result.server = server_enabled.load(std::memory_order_relaxed);
    result.asynchronous = asynchronous_enabled.load(std::memory_order_relaxed);
    result.library = install_state.library;
    result.version = install_state.version;
    result.reason = install_state.reason;
    for(const std::string &more :
        {install_state.asynchronous_reason,
         std::string(disabled_because.load() == nullptr ? "" : disabled_because.load())}) {
        result.reason += (result.reason.empty() || more.empty() ? "" : "; ") + more;
    }
#define TANGO_TELEMETRY_COUNTER(name) {#name, counters.name.load(std::memory_order_relaxed)}
    result.counters = {
        TANGO_TELEMETRY_COUNTER(requests_sent),
        TANGO_TELEMETRY_COUNTER(contexts_sent),
        TANGO_TELEMETRY_COUNTER(requests_received),
        TANGO_TELEMETRY_COUNTER(contexts_received),
        TANGO_TELEMETRY_COUNTER(dropped_too_large),
        TANGO_TELEMETRY_COUNTER(dropped_malformed),
        TANGO_TELEMETRY_COUNTER(dropped_tracestate),
        TANGO_TELEMETRY_COUNTER(dropped_unverified),
        TANGO_TELEMETRY_COUNTER(dropped_by_client),
        TANGO_TELEMETRY_COUNTER(outgoing_rejected),
        TANGO_TELEMETRY_COUNTER(asynchronous_submitted),
        TANGO_TELEMETRY_COUNTER(asynchronous_sent),
        TANGO_TELEMETRY_COUNTER(asynchronous_evicted),
        TANGO_TELEMETRY_COUNTER(registered_again),
        TANGO_TELEMETRY_COUNTER(failed_checks),
        {"asynchronous_pending", pending->size()},
    };
#undef TANGO_TELEMETRY_COUNTER
    return result;
}

} // namespace tango_telemetry::giop
