// SPDX-License-Identifier: LGPL-3.0-or-later
// identification.cpp alone, under sanitizers: identifications as they are and as a hostile peer or another cppTango might
// make them. Ends with 0 and one line.
#include "identification.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace tango_telemetry::giop {
static ThreadState state;
ThreadState &this_thread() noexcept { return state; }
} // namespace tango_telemetry::giop

using namespace tango_telemetry;
using identification::Take;

#define CHECK(condition)                                                                                               \
    if(!(condition)) {                                                                                                 \
        std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                   \
        std::exit(1);                                                                                                  \
    }

namespace {

const std::string trace = "00-0af7651916cd43dd8448eb211c80319c-";
const std::string parent = trace + "b7ad6b7169203331-01";
const std::string entry = "tango=b7ad6b7169203331-01";

// What omniidl makes of Tango's IDL.
struct Texts {
    const char *traceparent;
    const char *tracestate;
};

struct CppClient6 {
    std::uint64_t pid;
    std::int32_t kind;
    Texts *texts;
};

struct Client {
    std::int32_t language;
    CppClient6 *member;
};

giop::ThreadState &thread = giop::this_thread();

// One request with this identification.
Take serve(const char *traceparent, const char *tracestate, std::int32_t language = 2, std::int32_t kind = 0) {
    static Texts texts;
    static CppClient6 member;
    static Client client;
    texts = {traceparent, tracestate};
    member = {42, kind, &texts};
    client = {language, &member};
    thread.begin(true);
    return identification::take(&client);
}

std::string incoming() {
    const wire::TraceContext *const found = identification::incoming(thread);
    return found == nullptr ? "-" :
                              std::string(found->traceparent, wire::traceparent_size) + "|" +
                                  std::string(found->tracestate, found->tracestate_size);
}

std::string answer() {
    identification::Text first{};
    identification::Text second{};
    return !identification::answer(first, second) ? "cppTango's" :
                                                    std::string(first.data, first.size) + "|" +
                                                        std::string(second.data, second.size);
}

void bring_by_giop(const std::string &traceparent, const std::string &tracestate) {
    thread.incoming.present = true;
    std::memcpy(thread.incoming.context.traceparent, traceparent.data(), traceparent.size());
    std::memcpy(thread.incoming.context.tracestate, tracestate.data(), tracestate.size());
    thread.incoming.context.tracestate_size = static_cast<std::uint16_t>(tracestate.size());
}

void set_outgoing(const std::string &traceparent, const std::string &tracestate) {
    thread.outgoing.state = giop::Outgoing::State::set;
    thread.outgoing.size = static_cast<std::uint16_t>(
        wire::encode(thread.outgoing.payload, traceparent.data(), traceparent.size(), tracestate.data(), tracestate.size()));
}

void check_disabled() {
    CHECK(serve(parent.c_str(), entry.c_str()) == Take::leave && incoming() == "-");
    set_outgoing(parent, entry);
    CHECK(answer() == "cppTango's");
}

void check_comparisons() {
    for(int i = 0; i < 8; ++i) {
        CHECK(serve(parent.c_str(), entry.c_str()) == Take::compare);
        const std::string same = trace + "1111111111111111-02"; // a span of cppTango's in the same trace
        identification::compare({same.data(), i == 0 ? 0 : same.size()}); // telemetry off: it says nothing
    }
    CHECK(serve(parent.c_str(), entry.c_str()) == Take::skip);
    CHECK(identification::status().server);
}

void check_what_is_taken() {
    const std::string unsampled = trace + "b7ad6b7169203331-00";
    CHECK(serve(parent.c_str(), entry.c_str()) == Take::skip && incoming() == parent + "|" + entry);
    CHECK(serve(parent.c_str(), nullptr) == Take::skip && incoming() == parent + "|");
    CHECK(serve("", "") == Take::skip && incoming() == "-");
    CHECK(serve(nullptr, nullptr) == Take::skip && incoming() == "-");
    CHECK(serve("nonsense", entry.c_str()) == Take::skip && incoming() == "-");
    CHECK(serve((parent + "x").c_str(), "") == Take::skip && incoming() == "-");
    CHECK(serve(std::string(100000, 'x').c_str(), "") == Take::skip && incoming() == "-");
    CHECK(serve(parent.c_str(), std::string(512, 'x').c_str()) == Take::skip && incoming().size() == 55 + 1 + 512);
    CHECK(serve(parent.c_str(), std::string(513, 'x').c_str()) == Take::skip && incoming() == parent + "|");
    CHECK(serve(parent.c_str(), "line\nbreak") == Take::skip && incoming() == parent + "|");
    // Of others: Tango 9's C++ and Java, Java of 10, a kind of context that there is none of yet.
    for(const std::int32_t language : {0, 1, 3, 4, -1}) {
        CHECK(serve(parent.c_str(), entry.c_str(), language) == Take::leave && incoming() == "-");
        CHECK(!identification::knows_incoming(thread)); // cppTango is asked
    }
    CHECK(serve(parent.c_str(), entry.c_str(), 2, 1) == Take::leave && incoming() == "-");
    // GIOP is believed where the identification says nothing that counts.
    CHECK(serve(unsampled.c_str(), "") == Take::skip && incoming() == unsampled + "|");
    bring_by_giop(parent, "a=1");
    CHECK(incoming() == parent + "|a=1");
    CHECK(serve(unsampled.c_str(), ("a=1," + entry).c_str()) == Take::skip);
    bring_by_giop(parent, "a=1");
    CHECK(incoming() == unsampled + "|a=1," + entry);
    for(const char *flags : {"01", "03", "ff"}) {
        const std::string recorded = trace + "b7ad6b7169203331-" + flags;
        CHECK(serve(recorded.c_str(), "") == Take::skip);
        bring_by_giop(trace + "1111111111111111-01", "");
        CHECK(incoming() == recorded + "|");
    }
}

void check_one_request() {
    CHECK(serve(parent.c_str(), entry.c_str()) == Take::skip);
    Client dummy{0, nullptr}; // write_read_attributes() calls on with an identification of nobody
    CHECK(identification::take(&dummy) == Take::skip && incoming() == parent + "|" + entry);
    CHECK(identification::knows_incoming(thread));
    thread.begin(true); // the next one, without an identification
    CHECK(incoming() == "-" && answer() == "cppTango's");
    thread.begin(false); // omniORB's thread sends for others now
    CHECK(identification::take(&dummy) == Take::leave && !identification::knows_incoming(thread));
}

void check_answers() {
    serve(parent.c_str(), entry.c_str());
    CHECK(answer() == parent + "|" + entry); // a call that was given nothing, in an upcall
    set_outgoing(trace + "1111111111111111-00", "tango=1111111111111111-00,b=2");
    CHECK(answer() == trace + "1111111111111111-00|tango=1111111111111111-00,b=2");
    Client inside{2, nullptr}; // the same process serves it on this thread: not a request that omniORB received
    CHECK(identification::take(&inside) == Take::skip);
    CHECK(!identification::knows_incoming(thread));
    thread.outgoing.state = giop::Outgoing::State::none;
    CHECK(answer() == "|");
    thread.outgoing.state = giop::Outgoing::State::unset;
    CHECK(answer() == parent + "|" + entry && identification::knows_incoming(thread));
    thread.begin(true);
    bring_by_giop(parent, "a=1");
    CHECK(answer() == parent + "|a=1");
    identification::enable(true); // cppTango's scopes too
    CHECK(serve(parent.c_str(), entry.c_str()) == Take::leave && incoming() == parent + "|" + entry);
    CHECK(identification::knows_incoming(thread));
    identification::enable(false);
}

void check_another_layout() {
    serve(parent.c_str(), entry.c_str());
    const std::string other = "00-ffffffffffffffffffffffffffffffff-1111111111111111-02";
    identification::compare({other.data(), other.size()});
    CHECK(!identification::status().server && identification::status().client);
    CHECK(std::strstr(identification::status().reason, "another trace") != nullptr);
    CHECK(serve(parent.c_str(), entry.c_str()) == Take::leave && incoming() == "-");
    identification::enable(false);
    CHECK(!identification::status().server); // for good
    identification::disable();
    CHECK(!identification::writes());
}

} // namespace

int main() {
    check_disabled();
    identification::enable(false);
    check_comparisons();
    check_what_is_taken();
    check_one_request();
    check_answers();
    check_another_layout();
    std::puts("ok");
}
