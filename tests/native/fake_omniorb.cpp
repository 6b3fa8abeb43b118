// SPDX-License-Identifier: LGPL-3.0-or-later
//
// Stands in for omniORB where the real one cannot be made to misbehave: other versions, other layouts, and lists of
// service contexts that no ORB would build. Compiled and driven by test_fake_omniorb.py.
#include <cstdint>
#include <cstring>

// Not in an anonymous namespace: the functions that take them have to be exported.
struct OctetSequence {
    std::uint32_t max, length;
    bool releases, bounded;
    unsigned char *buffer;
};

struct Context {
    std::uint32_t id;
    OctetSequence data;
};

struct ContextList {
    std::uint32_t max, length;
    bool releases, bounded;
    Context *buffer;
};

struct ClientRequest {
    void *giop_c;
    ContextList contexts;
};

struct ServerRequest {
    char *giop_s;
};

namespace {

std::uint32_t version = 0x04030400;
bool (*client)(ClientRequest &);
bool (*server)(ServerRequest &);
const char *operation_name = "command_inout_5";

} // namespace

#define NAMED(name) asm(name)
#define INTERCEPTORS "_ZN4omni16omniInterceptors"
std::uint32_t version_hex() NAMED("_ZN7omniORB10versionHexEv");
const char *version_string() NAMED("_ZN7omniORB13versionStringEv");
void add_client(void *, bool (*)(ClientRequest &)) NAMED(INTERCEPTORS "19clientSendRequest_T3addEPFbRNS1_6info_TEE");
void add_reply(void *, void *) NAMED(INTERCEPTORS "20clientReceiveReply_T3addEPFbRNS1_6info_TEE");
void add_server(void *, bool (*)(ServerRequest &)) NAMED(INTERCEPTORS "22serverReceiveRequest_T3addEPFbRNS1_6info_TEE");
void add_worker(void *, void *) NAMED(INTERCEPTORS "17assignAMIThread_T3addEPFvRNS1_6info_TEE");
const char *client_operation(void *) NAMED(INTERCEPTORS "19clientSendRequest_T6info_T9operationEv");
const char *reply_operation(void *) NAMED(INTERCEPTORS "20clientReceiveReply_T6info_T9operationEv");
const char *server_operation(void *) NAMED(INTERCEPTORS "22serverReceiveRequest_T6info_T9operationEv");
void invoke_async(void *, void *) NAMED("_ZN10omniObjRef13_invoke_asyncEP23omniAsyncCallDescriptor");

std::uint32_t version_hex() { return version; }
const char *version_string() { return "fake"; }
void add_client(void *, bool (*function)(ClientRequest &)) { client = function; }
void add_reply(void *, void *) { }
void add_server(void *, bool (*function)(ServerRequest &)) { server = function; }
void add_worker(void *, void *) { }
const char *client_operation(void *) { return operation_name; }
const char *reply_operation(void *) { return operation_name; }
const char *server_operation(void *) { return operation_name; }
void invoke_async(void *, void *) { }

extern "C" void fake_set_version(std::uint32_t value) {
    version = value;
}

// One request. `where` is the offset in GIOP_S of the operation's name, or 0 for elsewhere; the list says it has
// `length` of `list_max` entries, and the first says it has `size` of `data_max` bytes at `data`.
extern "C" void fake_serve(const char *name, std::uint32_t where, bool bounded, std::uint32_t length,
                           std::uint32_t list_max, std::uint32_t id, const unsigned char *data, std::uint32_t size,
                           std::uint32_t data_max) {
    alignas(16) char giop_s[1024] = {};
    operation_name = name;
    if(where != 0) {
        std::strncpy(giop_s + where, name, 31);
        operation_name = giop_s + where;
    }
    Context contexts[100] = {};
    contexts[0] = {id, {data_max, size, false, false, const_cast<unsigned char *>(data)}};
    ContextList list{list_max, length, false, bounded, list_max == 0 ? nullptr : contexts};
    std::memcpy(giop_s + 424, &list, sizeof list);
    ServerRequest request{giop_s};
    server(request);
}

// Returns how many contexts are in the list after the client's interceptor, of `length` of `list_max` before.
extern "C" std::uint32_t fake_send(bool bounded, std::uint32_t length, std::uint32_t list_max) {
    ClientRequest request{nullptr, {list_max, length, true, bounded, nullptr}};
    client(request);
    return request.contexts.length;
}
