// SPDX-License-Identifier: LGPL-3.0-or-later
//
// Trace context in GIOP service contexts, by omniORB interceptors that are bound at run time.
// Nothing here knows Python. Nothing here ever throws into the ORB.
#pragma once

#include "thread_state.h"

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace tango_telemetry::giop {

// Strings that are not a valid context are counted, and the state becomes `none`.
void set_outgoing(Outgoing &outgoing, const char *traceparent, std::size_t parent_size, const char *tracestate,
                  std::size_t state_size) noexcept;

// Registers the interceptors with the omniORB that `path` (PyTango's extension module) depends on. May be called
// again at any time, and has to be once an ORB was destroyed: omniORB then forgets every interceptor.
bool install(const std::string &path) noexcept;

// Registers them again if omniORB has forgotten them, which it does without a word whenever an ORB is destroyed: by
// ApiUtil.cleanup(), and by Util in a client that becomes a server (seen on 9.5.1 and 10.3.1). Costs two loads.
void keep_installed() noexcept;

// In the child of a fork: another thread may have held a lock that no one will release.
void after_fork_in_child() noexcept;

struct Status {
    bool installed;
    bool client;
    bool server;
    bool asynchronous;
    std::string reason;
    std::string library;
    std::string version;
    std::vector<std::pair<const char *, std::uint64_t>> counters;
};

Status status();

} // namespace tango_telemetry::giop
