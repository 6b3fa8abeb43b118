// SPDX-License-Identifier: LGPL-3.0-or-later
//
// Fuzzes the parsers of GIOP service contexts and of event frames, compiled alone.
//
//   clang++ -g -O1 -std=c++17 -fsanitize=fuzzer,address,undefined -I BRIDGE fuzz_wire.cpp -o fuzz && ./fuzz corpus
//   g++ -g -O1 -std=c++17 -DSTANDALONE -fsanitize=address,undefined -I BRIDGE fuzz_wire.cpp -o fuzz
//   ./fuzz SECONDS SEED corpus/*
#include "event_frame.h"
#include "wire.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace wire = tango_telemetry::wire;

namespace {

void require(bool condition, const char *what) {
    if(!condition) {
        std::fprintf(stderr, "does not hold: %s\n", what);
        std::abort();
    }
}

// An event's second frame: what was read can be written, and read again as the same.
void check_event_frame(const unsigned char *data, std::size_t size) {
    namespace event_frame = tango_telemetry::event_frame;
    tango_telemetry::SpanNumbers span{};
    if(!event_frame::decode(data, size, span)) {
        return;
    }
    require(size == event_frame::size, "only a whole frame is read");
    unsigned char frame[event_frame::size];
    event_frame::encode(frame, data[0], span);
    frame[event_frame::size - 1] = data[event_frame::size - 1]; // of the flags only two bits are kept
    require(std::memcmp(frame, data, sizeof frame) == 0, "what was read is written again");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
    // A copy of exactly this size: one byte read behind it is an error AddressSanitizer sees.
    std::unique_ptr<unsigned char[]> exact(new unsigned char[size]);
    if(size != 0) {
        std::memcpy(exact.get(), data, size);
    }
    check_event_frame(exact.get(), size);
    auto context = std::make_unique<wire::TraceContext>(); // on the heap for the same reason
    const auto verdict = wire::parse(exact.get(), size, *context);
    const bool good = verdict == wire::Verdict::ok || verdict == wire::Verdict::tracestate_dropped;
    if(!good) {
        require(verdict != wire::Verdict::too_large || size > wire::max_payload_size, "too large only if it is");
        return 0;
    }
    require(size <= wire::max_payload_size, "nothing larger is read");
    require(context->tracestate_size <= wire::max_tracestate_size, "the tracestate fits");
    require(verdict == wire::Verdict::ok || context->tracestate_size == 0, "a dropped tracestate is empty");
    require(wire::is_valid_tracestate(context->tracestate, context->tracestate_size), "the tracestate is printable");

    // What was read can be written, and read again as the same.
    unsigned char payload[wire::max_encoded_size];
    char parent[wire::traceparent_size];
    std::memcpy(parent, context->traceparent, sizeof parent);
    const std::size_t written =
        wire::encode(payload, parent, sizeof parent, context->tracestate, context->tracestate_size);
    require(written != 0 && written <= sizeof payload, "what was read is valid");
    wire::TraceContext again{};
    require(wire::parse(payload, written, again) == wire::Verdict::ok, "what was written can be read");
    require(std::memcmp(again.traceparent, context->traceparent, wire::traceparent_size) == 0, "the same traceparent");
    require(again.tracestate_size == context->tracestate_size &&
                std::memcmp(again.tracestate, context->tracestate, again.tracestate_size) == 0,
            "the same tracestate");
    return 0;
}

#ifdef STANDALONE

#include <random>
#include <string>
#include <vector>

namespace {

using Input = std::vector<unsigned char>;

bool read_file(const char *path, Input &input) {
    std::FILE *file = std::fopen(path, "rb");
    if(file == nullptr) {
        return false;
    }
    unsigned char buffer[8192];
    std::size_t count = 0;
    while((count = std::fread(buffer, 1, sizeof buffer, file)) != 0) {
        input.insert(input.end(), buffer, buffer + count);
    }
    std::fclose(file);
    return true;
}

class Mutator {
  public:
    explicit Mutator(unsigned seed) : random_{seed} { }

    std::size_t below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

    Input mutate(const std::vector<Input> &corpus) {
        Input input = corpus[below(corpus.size())];
        for(std::size_t times = 1 + below(4); times != 0; --times) {
            once(input, corpus);
        }
        return input;
    }

  private:
    void once(Input &input, const std::vector<Input> &corpus) {
        static constexpr unsigned char interesting[] = {0, 1, 2, 0x1f, 0x20, 0x2d, 0x30, 0x7e, 0x7f, 0x80, 0xfe, 0xff};
        const std::size_t at = below(input.size());
        switch(below(8)) {
        case 0:
            if(!input.empty()) {
                input[at] ^= static_cast<unsigned char>(1u << below(8));
            }
            break;
        case 1:
            if(!input.empty()) {
                input[at] = interesting[below(sizeof interesting)];
            }
            break;
        case 2:
            input.resize(at);
            break;
        case 3:
            input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), 1 + below(700), interesting[below(12)]);
            break;
        case 4:
            if(!input.empty()) {
                input.erase(input.begin() + static_cast<std::ptrdiff_t>(at));
            }
            break;
        case 5: // a length: aligned, and near what is there or near a power of two
            if(input.size() >= 8) {
                const std::size_t word = at & ~static_cast<std::size_t>(3);
                const std::uint32_t value = below(2) != 0 ? static_cast<std::uint32_t>(input.size() + 8 - below(16)) :
                                                            (1u << below(32)) - static_cast<std::uint32_t>(below(2));
                for(std::size_t i = 0; i < 4 && word + i < input.size(); ++i) {
                    input[word + i] = static_cast<unsigned char>(value >> (8 * (below(8) == 0 ? 3 - i : i)));
                }
            }
            break;
        case 6: { // the head of this, the tail of another
            const Input &other = corpus[below(corpus.size())];
            input.resize(at);
            const std::size_t from = below(other.size());
            input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
            break;
        }
        default:
            input.push_back(static_cast<unsigned char>(random_()));
            break;
        }
    }

    std::mt19937 random_;
};

} // namespace

int main(int count, char **arguments) {
    if(count < 4) {
        std::fprintf(stderr, "usage: %s INPUTS SEED FILE...\n", arguments[0]);
        return 2;
    }
    std::vector<Input> corpus;
    for(int i = 3; i < count; ++i) {
        corpus.emplace_back();
        if(!read_file(arguments[i], corpus.back())) {
            std::fprintf(stderr, "cannot read %s\n", arguments[i]);
            return 2;
        }
        LLVMFuzzerTestOneInput(corpus.back().data(), corpus.back().size());
    }
    Mutator mutator(static_cast<unsigned>(std::atoi(arguments[2])));
    const unsigned long inputs = std::strtoul(arguments[1], nullptr, 10);
    for(unsigned long i = 0; i < inputs; ++i) {
        const Input input = mutator.mutate(corpus);
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    std::printf("%lu inputs\n", inputs);
    return 0;
}

#endif
