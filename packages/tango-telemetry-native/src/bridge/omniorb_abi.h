// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The part of omniORB's binary interface that the interceptors touch, declared by hand.
//
// Code compiled against the headers of omniORB 4.2 reads garbage on 4.3 and the reverse, silently; this works on
// both, because the few places that differ are offsets chosen by omniORB::versionHex() and checked on every request.
// Itanium C++ ABI, LP64. Checked with omniORB 4.2.5, 4.3.1, 4.3.3 and 4.3.4 on x86-64, with 4.2.5 and 4.3.4 on aarch64.
#pragma once

#include "platform.h"

#include <cstddef>
#include <cstdint>

namespace tango_telemetry::omniorb {

inline constexpr bool is_supported_platform = is_known_platform;

// _CORBA_Unbounded_Sequence_Octet
struct OctetSequence {
    std::uint32_t max = 0;
    std::uint32_t length = 0;
    bool releases = true;
    bool bounded = false;
    unsigned char *buffer = nullptr;

    OctetSequence() = default;
    OctetSequence(const OctetSequence &) = delete;
    OctetSequence &operator=(const OctetSequence &) = delete;

    // Not trivial, as the original's is not: new[] then stores the element count that omniORB's delete[] reads.
    ~OctetSequence() {
        if(releases) {
            delete[] buffer;
        }
    }
};

// IOP::ServiceContext
struct ServiceContext {
    std::uint32_t id = 0;
    OctetSequence data;
};

// IOP::ServiceContextList
struct ServiceContextList {
    std::uint32_t max;
    std::uint32_t length;
    bool releases;
    bool bounded;
    ServiceContext *buffer;
};

// omniInterceptors::clientSendRequest_T::info_T; clientReceiveReply_T's begins the same way.
struct ClientRequest {
    void *giop_c;
    ServiceContextList service_contexts;
};

// omniInterceptors::serverReceiveRequest_T::info_T
struct ServerRequest {
    char *giop_s;
};

struct ClientReply;

// omniInterceptors::assignAMIThread_T::info_T: an abstract class whose first virtual function is run(). Not declared
// as one: the compiler may assume that it knows every class derived from it, find none, and remove the call.
struct AsynchronousWorker {
    void (*const *virtual_table)(AsynchronousWorker &);

    void run() { virtual_table[0](*this); }
};

static_assert(!is_supported_platform || (sizeof(OctetSequence) == 24 && sizeof(ServiceContext) == 32 &&
                                         sizeof(ServiceContextList) == 24 && sizeof(ClientRequest) == 32));

// Private members of GIOP_S, which omniORB gives no accessor for. `operation_buffer` serves to check the other: the
// public operation() of a short name points there.
struct ServerLayout {
    std::size_t operation_buffer;
    std::size_t service_contexts;
};

inline constexpr ServerLayout layout_4_2{328, 408};
inline constexpr ServerLayout layout_4_3{344, 424};
inline constexpr std::size_t operation_buffer_size = 32; // GIOP_S_INLINE_BUF_SIZE, with the NUL

// omniCallDescriptor::pd_op, behind the virtual table and two function pointers.
inline constexpr std::size_t call_descriptor_operation = 24;

} // namespace tango_telemetry::omniorb
