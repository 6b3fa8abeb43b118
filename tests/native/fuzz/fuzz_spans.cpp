// SPDX-License-Identifier: LGPL-3.0-or-later
//
// Fuzzes the encoding core of the tracer provider, compiled alone: what is recorded must come out of the queue as it
// went in, judged by a slow model of the SDK's rules and by a reader of protobuf's wire format written for this.
//
//   clang++ -g -O1 -std=c++17 -DTANGO_SPANS_FAIL_ALLOCATIONS -fsanitize=fuzzer,address,undefined
//       -I SPANS fuzz_spans.cpp SPANS/core/*.cpp -o fuzz && ./fuzz
//   g++ -g -O1 -std=c++17 -DTANGO_SPANS_FAIL_ALLOCATIONS -DSTANDALONE -fsanitize=address,undefined
//       -I SPANS fuzz_spans.cpp SPANS/core/*.cpp -o fuzz && ./fuzz INPUTS SEED
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/id_source.h"
#include "core/otlp_json.h"
#include "core/span_record.h"
#include "core/utf8.h"

namespace tango_telemetry {

// Counts down to the allocation that fails; negative: none does.
static long allocations_left = -1;
static bool allocation_failed = false;

bool allocation_allowed() noexcept {
    if (allocations_left < 0) {
        return true;
    }
    if (allocations_left-- == 0) {
        allocation_failed = true;
        return false;
    }
    return true;
}

}  // namespace tango_telemetry

namespace {

using namespace tango_telemetry;

void require(bool condition, const char* what) {
    if (!condition) {
        std::fprintf(stderr, "does not hold: %s\n", what);
        std::abort();
    }
}

// --- reading protobuf ------------------------------------------------------------------------------------------

struct Field {
    unsigned number;
    unsigned wire;
    std::uint64_t value;
    std::string bytes;
};

std::uint64_t read_varint(const std::string& message, std::size_t& at) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        require(at < message.size() && shift < 64, "a varint ends");
        const auto byte = static_cast<unsigned char>(message[at++]);
        value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
}

std::vector<Field> read_message(const std::string& message) {
    std::vector<Field> fields;
    std::size_t at = 0;
    while (at < message.size()) {
        const std::uint64_t key = read_varint(message, at);
        Field field{static_cast<unsigned>(key >> 3), static_cast<unsigned>(key & 7), 0, {}};
        require(field.number > 0, "a field has a number");
        if (field.wire == 0) {
            field.value = read_varint(message, at);
        } else {
            require(field.wire == 1 || field.wire == 2 || field.wire == 5, "a wire type that OTLP uses");
            const std::size_t size = field.wire == 1 ? 8 : field.wire == 5 ? 4 : read_varint(message, at);
            require(size <= message.size() - at, "a field ends inside its message");
            field.bytes = message.substr(at, size);
            if (field.wire != 2) {
                std::memcpy(&field.value, field.bytes.data(), size);
            }
            at += size;
        }
        fields.push_back(std::move(field));
    }
    return fields;
}

// --- the model -------------------------------------------------------------------------------------------------

struct ModelAttributes {
    std::deque<std::pair<std::string, std::string>> items;  // the value "hidden": counted, not sent
    std::uint64_t dropped = 0;

    void set(const std::string& key, const std::string& value, std::int64_t limit) {
        if (limit == 0) {
            dropped++;
            return;
        }
        for (auto item = items.begin(); item != items.end(); ++item) {
            if (item->first == key) {
                items.erase(item);
                break;
            }
        }
        if (limit > 0 && static_cast<std::int64_t>(items.size()) >= limit) {
            items.pop_front();
            dropped++;
        }
        items.emplace_back(key, value);
    }
};

const std::string kHidden("hidden");

struct ModelEntry {
    std::uint64_t number;  // an event's time, or a link's span id
    std::string text;
    bool remote;
    ModelAttributes attributes;
};

struct ModelSpan {
    std::string name, status_message, trace_state;
    std::uint64_t trace_high = 0, trace_low = 0, span_id = 0, parent = 0, start = 0, end = 0;
    unsigned kind = 0, status = 0;
    bool remote = false;
    ModelAttributes attributes;
    std::deque<ModelEntry> events, links;
    std::uint64_t dropped_events = 0, dropped_links = 0;
};

void append(std::deque<ModelEntry>& list, std::uint64_t& dropped, ModelEntry entry, std::int64_t limit) {
    list.push_back(std::move(entry));
    if (limit >= 0 && static_cast<std::int64_t>(list.size()) > limit) {
        list.pop_front();
        dropped++;
    }
}

// --- comparing -------------------------------------------------------------------------------------------------

class Attributes {
public:
    void add(const std::string& message) {
        const std::vector<Field> fields = read_message(message);
        require(fields.size() == 2 && fields[0].number == 1 && fields[1].number == 2, "a KeyValue has key and value");
        items_.emplace_back(fields[0].bytes, fields[1].bytes);
    }
    void check(const ModelAttributes& model, std::uint64_t dropped) const {
        require(dropped == model.dropped, "the number of dropped attributes");
        std::size_t i = 0;
        for (const auto& item : model.items) {
            if (item.second == kHidden) {
                continue;
            }
            require(i < items_.size() && items_[i] == item, "attributes in order");
            i++;
        }
        require(i == items_.size(), "no attribute too many");
    }

private:
    std::vector<std::pair<std::string, std::string>> items_;
};

std::uint64_t big_endian(const std::string& bytes, std::size_t at) {
    require(bytes.size() >= at + 8, "an id is whole");
    return read_big_endian(bytes.data() + at);
}

void check_entry(const std::string& message, const ModelEntry& model, bool event) {
    Attributes attributes;
    std::uint64_t number = 0, dropped = 0, flags = 0;
    std::string text;
    for (const Field& field : read_message(message)) {
        if (event) {
            switch (field.number) {
                case 1: number = field.value; break;
                case 2: text = field.bytes; break;
                case 3: attributes.add(field.bytes); break;
                case 4: dropped = field.value; break;
                default: require(false, "a field of Event");
            }
        } else {
            switch (field.number) {
                case 1: require(field.bytes.size() == 16, "a trace id has 16 bytes"); break;
                case 2: number = big_endian(field.bytes, 0); break;
                case 4: attributes.add(field.bytes); break;
                case 5: dropped = field.value; break;
                case 6: flags = field.value; break;
                default: require(false, "a field of Link");
            }
        }
    }
    require(number == model.number && text == model.text, "an event or link is the one that was added");
    require(event || flags == (model.remote ? 0x300u : 0x100u), "the flags of a link");
    attributes.check(model.attributes, dropped);
}

void append_message(std::string& out, unsigned number, const std::string& message) {
    char head[1 + kMaxVarint] = {static_cast<char>(number << 3 | 2)};
    out.append(head, static_cast<std::size_t>(write_varint(head + 1, message.size()) - head));
    out += message;
}

// One span as a request, whole and damaged: what is written is lines of printable ASCII, and nothing is read past the end.
void check_json(const std::string& span) {
    std::string scope, resource, request;
    append_message(scope, 2, span);
    append_message(resource, 2, scope);
    append_message(request, 1, resource);
    const long allowed = allocations_left;
    allocations_left = -1;
    Buffer lines;
    require(write_json_lines(Signal::kTraces, request.data(), request.size(), 16, lines), "a span can be written as JSON");
    require(lines.size() && lines.data()[lines.size() - 1] == '\n', "a line has an end");
    for (std::size_t i = 0; i + 1 < lines.size(); i++) {
        require(lines.data()[i] >= ' ' && lines.data()[i] < 127, "JSON is ASCII without controls");
    }
    static std::size_t turn = 0;
    const std::size_t at = turn++ * 7919 % request.size();
    const auto signal = static_cast<Signal>(turn % 3);
    std::string damaged = request;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << turn % 8));
    const std::unique_ptr<char[]> exact(new char[at]);  // cut here, and no byte more belongs to us
    std::memcpy(exact.get(), request.data(), at);
    Buffer of_damaged, of_cut;
    write_json_lines(signal, damaged.data(), damaged.size(), 1, of_damaged);
    write_json_lines(turn % 2 ? signal : Signal::kTraces, exact.get(), at, 1, of_cut);
    allocations_left = allowed;
}

void check_span(const std::string& message, const ModelSpan& model) {
    check_json(message);
    ModelSpan found;
    Attributes attributes;
    std::vector<std::string> events, links;
    std::uint64_t dropped_attributes = 0, flags = 0;
    unsigned last = 0;
    for (const Field& field : read_message(message)) {
        require(field.number >= last, "fields come in order");
        last = field.number;
        switch (field.number) {
            case 1:
                found.trace_high = big_endian(field.bytes, 0);
                found.trace_low = big_endian(field.bytes, 8);
                break;
            case 2: found.span_id = big_endian(field.bytes, 0); break;
            case 3: found.trace_state = field.bytes; break;
            case 4: found.parent = big_endian(field.bytes, 0); break;
            case 5: found.name = field.bytes; break;
            case 6: found.kind = static_cast<unsigned>(field.value) - 1; break;
            case 7: found.start = field.value; break;
            case 8: found.end = field.value; break;
            case 9: attributes.add(field.bytes); break;
            case 10: dropped_attributes = field.value; break;
            case 11: events.push_back(field.bytes); break;
            case 12: found.dropped_events = field.value; break;
            case 13: links.push_back(field.bytes); break;
            case 14: found.dropped_links = field.value; break;
            case 15:
                for (const Field& part : read_message(field.bytes)) {
                    if (part.number == 2) {
                        found.status_message = part.bytes;
                    } else {
                        found.status = static_cast<unsigned>(part.value);
                    }
                }
                break;
            case 16: flags = field.value; break;
            default: require(false, "a field of Span");
        }
    }
    require(found.trace_high == model.trace_high && found.trace_low == model.trace_low, "the trace id");
    require(found.span_id == model.span_id && found.parent == model.parent, "the span ids");
    require(found.name == model.name && found.trace_state == model.trace_state, "name and trace state");
    require(found.kind == model.kind && found.start == model.start && found.end == model.end, "kind and times");
    require(found.status == model.status && found.status_message == model.status_message, "the status");
    require(flags == (model.remote ? 0x300u : 0x100u), "the flags of a span");
    require(found.dropped_events == model.dropped_events && found.dropped_links == model.dropped_links, "dropped");
    attributes.check(model.attributes, dropped_attributes);
    require(events.size() == model.events.size() && links.size() == model.links.size(), "how many events and links");
    for (std::size_t i = 0; i < events.size(); i++) {
        check_entry(events[i], model.events[i], true);
    }
    for (std::size_t i = 0; i < links.size(); i++) {
        check_entry(links[i], model.links[i], false);
    }
}

// --- an input is a program ---------------------------------------------------------------------------------------

class Input {
public:
    Input(const unsigned char* data, std::size_t size) : data_(data), size_(size) {}
    bool done() const { return at_ >= size_; }
    unsigned byte() { return done() ? 0 : data_[at_++]; }
    std::uint64_t word() {
        std::uint64_t value = 0;
        for (unsigned i = byte() % 9; i; i--) {
            value = value << 8 | byte();
        }
        return value;
    }
    std::string text() {
        const unsigned head = byte();
        // Lengths around the places where a length prefix grows by a byte.
        const std::size_t size = head < 200 ? head % 20 : head < 240 ? 100 + head : 16200 + head * 2 % 400;
        std::string text(size, static_cast<char>('a' + head % 26));
        if (size && !done()) {
            text[size / 2] = static_cast<char>(byte());
        }
        return text;
    }
    std::string key() {
        const unsigned head = byte();
        return head < 250 ? "k" + std::to_string(head % 64) : text() + "!";
    }
    std::int64_t limit() {
        static const std::int64_t limits[] = {-1, 0, 1, 2, 3, 8, 40, 128};
        return limits[byte() % 8];
    }

private:
    const unsigned char* data_;
    std::size_t size_;
    std::size_t at_ = 0;
};

Key key_of(const std::string& text) {
    std::uint32_t hash = 2166136261u;
    for (const char character : text) {
        hash = (hash ^ static_cast<unsigned char>(character)) * 16777619u;
    }
    return {text.data(), static_cast<std::uint32_t>(text.size()), hash & 0xFF};  // few bits: collisions
}

bool set(AttributeList& list, ModelAttributes& model, const std::string& key, const std::string& value,
         std::int64_t limit) {
    if (value == kHidden) {
        if (list.set_hidden(key_of(key), limit) == AttributeList::Outcome::kFailed) {
            return false;
        }
    } else {
        char* const out = list.begin(key_of(key), value.size());
        if (!out) {
            return false;
        }
        write_bytes(out, value.data(), value.size());
        if (list.commit(limit) == AttributeList::Outcome::kFailed) {
            return false;
        }
    }
    model.set(key, value, limit);
    return true;
}

std::string value_of(Input& input) {
    if (input.byte() % 16 == 0) {
        return kHidden;
    }
    Buffer out;
    const unsigned shape = input.byte() % 4;
    if (shape == 0) {
        out.byte(tag::kInt);
        out.varint(input.word());
    } else if (shape == 1) {
        const std::string text = input.text();
        out.bytes_field(tag::kString, text.data(), text.size());
    } else if (shape == 2) {
        const std::size_t array = out.open(tag::kArray);
        for (unsigned i = input.byte() % 40; i; i--) {
            const std::size_t item = out.open(tag::kItem);
            out.byte(tag::kInt);
            out.varint(i * 1000003u);
            out.close(item);
        }
        out.close(array);
    }
    return out.failed() ? std::string() : std::string(out.data() ? out.data() : "", out.size());
}

struct Program {
    SpanQueue queue;
    Resource* resources[2];
    Scope* scopes[4];
    std::deque<std::pair<std::string, ModelSpan>> waiting;  // by scope name
    std::size_t refused = 0;

    Program(std::size_t max_spans, std::size_t max_bytes) : queue(max_spans, max_bytes, 4) {
        const long left = std::exchange(allocations_left, -1);
        for (int i = 0; i < 2; i++) {
            resources[i] = Resource::create();
            const std::size_t head = resources[i]->head.open(tag::kResource);
            resources[i]->head.close(head);
            resources[i]->tail.bytes_field(tag::kSchemaUrl, "r", 1);
        }
        for (int i = 0; i < 4; i++) {
            scopes[i] = Scope::create(resources[i / 2]);
            const std::string name = std::to_string(i);
            const std::size_t head = scopes[i]->head.open(tag::kScope);
            scopes[i]->head.bytes_field(tag::kScopeName, name.data(), name.size());
            scopes[i]->head.close(head);
        }
        allocations_left = left;
    }
    ~Program() {
        for (Scope* const scope : scopes) {
            scope->release();
        }
        for (Resource* const resource : resources) {
            resource->release();
        }
    }

    void drain(std::size_t max_bytes) {
        SpanQueue::Drain drain(queue);
        drain.collect(max_bytes);
        if (drain.spans() == 0) {
            require(waiting.empty(), "what waits is drained");
            return;
        }
        require(drain.size() <= max_bytes || drain.spans() == 1, "a drain keeps to its size");
        // Of exactly this size: a byte written behind it is an error AddressSanitizer sees.
        std::unique_ptr<char[]> payload(new char[drain.size()]);
        const std::size_t spans = drain.spans();
        drain.write(payload.get());
        check(std::string(payload.get(), drain.size()), spans);
    }

    // Collected and not written, as if there were no memory for the payload.
    void drain_and_put_back(std::size_t max_bytes) {
        const std::size_t before = queue.counts().spans;
        {
            SpanQueue::Drain drain(queue);
            drain.collect(max_bytes);
        }
        require(queue.counts().spans == before, "spans that were not written stay");
        order_matters = false;
    }

    void check(const std::string& request, std::size_t spans) {
        std::size_t seen = 0;
        for (const Field& resource_spans : read_message(request)) {
            require(resource_spans.number == 1, "ResourceSpans");
            for (const Field& part : read_message(resource_spans.bytes)) {
                if (part.number != 2) {
                    continue;
                }
                std::string scope;
                for (const Field& field : read_message(part.bytes)) {
                    if (field.number == 1) {
                        scope = read_message(field.bytes)[0].bytes;
                    } else if (field.number == 2) {
                        check_next(scope, field.bytes);
                        seen++;
                    }
                }
            }
        }
        require(seen == spans, "as many spans as were promised");
    }

    void check_next(const std::string& scope, const std::string& message) {
        // Its id finds it: the order holds within a scope, unless a drain was put back.
        std::uint64_t id = 0;
        for (const Field& field : read_message(message)) {
            id = field.number == 2 ? big_endian(field.bytes, 0) : id;
        }
        for (auto span = waiting.begin(); span != waiting.end(); ++span) {
            if (span->first != scope) {
                continue;
            }
            if (span->second.span_id == id) {
                check_span(message, span->second);
                waiting.erase(span);
                return;
            }
            require(!order_matters, "first in, first out");
        }
        require(false, "every span is sent once");
    }

    bool order_matters = true;
};

void record_span(Input& input, Program& program) {
    SpanRecord record;
    ModelSpan model;
    record.trace_id_high = model.trace_high = input.word();
    record.trace_id_low = model.trace_low = input.word();
    record.span_id = model.span_id = random_id();
    record.parent_span_id = model.parent = input.word();
    record.parent_remote = model.remote = input.byte() & 1;
    record.kind = static_cast<std::uint8_t>(input.byte() % 5);
    model.kind = record.kind;
    record.start_ns = model.start = input.word();
    record.end_ns = model.end = input.word();
    const std::int64_t limit = input.limit(), entry_limit = input.limit(), entries = input.limit();
    bool whole = true;  // no allocation has failed so far
    const auto put = [&](Buffer& buffer, std::string& copy, const std::string& text) {
        buffer.clear();
        buffer.append(text.data(), text.size());
        whole = whole && !buffer.failed();
        copy = text;
    };
    const auto entry_attributes = [&](AttributeList& list, ModelAttributes& copy) {
        for (unsigned i = input.byte() % 4; i; i--) {
            const std::string key = input.key();
            whole = set(list, copy, key, value_of(input), entry_limit) && whole;
        }
    };
    for (unsigned step = input.byte() % 200; step && !input.done(); step--) {
        switch (input.byte() % 64 == 0 ? 8 : input.byte() % 8) {
            case 0: put(record.name, model.name, input.text()); break;
            case 1: put(record.trace_state, model.trace_state, input.text()); break;
            case 2:
                record.status = static_cast<std::uint8_t>(input.byte() % 3);
                model.status = record.status;
                put(record.status_message, model.status_message, input.text());
                break;
            case 3: {
                AttributeList list(tag::kEventAttribute);
                ModelEntry entry{input.word(), input.text(), false, {}};
                entry_attributes(list, entry.attributes);
                whole = record.add_event(entry.text.data(), entry.text.size(), entry.number, list, entries) && whole;
                append(model.events, model.dropped_events, entry, entries);
                break;
            }
            case 4: {
                AttributeList list(tag::kLinkAttribute);
                ModelEntry entry{input.word(), "", (input.byte() & 1) != 0, {}};
                entry_attributes(list, entry.attributes);
                whole = record.add_link(1, 2, entry.number, entry.remote, list, entries) && whole;
                append(model.links, model.dropped_links, entry, entries);
                break;
            }
            case 8: {  // many at once: what only grows, shrinks or is looked up differently then
                const unsigned count = input.byte(), stride = 1 + input.byte() % 3;
                for (unsigned i = 0; i < count; i++) {
                    const std::string number = std::to_string(i * stride % 200);
                    whole = set(record.attributes, model.attributes, "b" + number, "\x18\x01", limit) && whole;
                    if (i % 3 == 0) {
                        ModelEntry entry{i, number, false, {}};
                        const AttributeList none(tag::kEventAttribute);
                        whole = record.add_event(number.data(), number.size(), i, none, entries) && whole;
                        append(model.events, model.dropped_events, entry, entries);
                    }
                }
                break;
            }
            default: {
                const std::string key = input.key();
                whole = set(record.attributes, model.attributes, key, value_of(input), limit) && whole;
            }
        }
    }
    const unsigned scope = input.byte() % 4;
    QueuedSpan* const span = record.finish(program.scopes[scope]);
    require(span || allocation_failed, "a span is finished unless there is no memory");
    if (span && !whole) {
        // With a failed allocation something is missing, and what is there must still be a message.
        const std::string bytes(span->bytes(), span->size);
        const std::vector<Field> outer = read_message(bytes);
        require(outer.size() == 1, "one span");
        read_message(outer[0].bytes);
        span->destroy();
        return;
    }
    if (program.queue.push(span) == SpanQueue::Push::kRefused) {
        program.refused++;
    } else {
        program.waiting.emplace_back(std::to_string(scope), std::move(model));
    }
}

void check_text(Input& input) {
    std::vector<std::uint32_t> points;
    std::vector<std::uint16_t> narrow;
    for (unsigned i = input.byte() % 20; i; i--) {
        const auto point = static_cast<std::uint32_t>(input.word() % 0x110000);
        points.push_back(point);
        narrow.push_back(static_cast<std::uint16_t>(point));
    }
    const std::size_t size = utf8_size(points.data(), points.size());
    std::unique_ptr<char[]> out(new char[size]);
    require(write_utf8(out.get(), points.data(), points.size()) == out.get() + size, "the size of UTF-8 is known");
    const std::size_t narrow_size = utf8_size(narrow.data(), narrow.size());
    std::unique_ptr<char[]> narrow_out(new char[narrow_size]);
    require(write_utf8(narrow_out.get(), narrow.data(), narrow.size()) == narrow_out.get() + narrow_size, "size");
    // Valid, by reading it back.
    std::size_t at = 0;
    for (const std::uint32_t point : points) {
        const auto first = static_cast<unsigned char>(out[at++]);
        std::uint32_t read = first < 0x80 ? first : first < 0xE0 ? first & 0x1F : first < 0xF0 ? first & 0x0F : first & 7;
        while (at < size && (static_cast<unsigned char>(out[at]) & 0xC0) == 0x80) {
            read = read << 6 | (static_cast<unsigned char>(out[at++]) & 0x3F);
        }
        require(read == (is_surrogate(point) ? kReplacement : point), "UTF-8 is what was written");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    Input input(data, size);
    const unsigned head = input.byte();
    allocation_failed = false;
    allocations_left = head % 4 == 0 ? static_cast<long>(input.byte()) : -1;
    {
        Program program(1 + input.byte() % 20, 100 + input.word() % 100000);
        while (!input.done()) {
            const unsigned what = input.byte() % 16;
            if (what < 11) {
                record_span(input, program);
            } else if (what < 13) {
                program.drain(input.word() % 50000);
            } else if (what < 14) {
                program.drain_and_put_back(input.word() % 50000);
            } else {
                check_text(input);
            }
            const SpanQueue::Counts counts = program.queue.counts();
            require(counts.spans == program.waiting.size() && counts.dropped == program.refused, "what is counted");
        }
        if (head % 3) {
            while (!program.waiting.empty()) {
                program.drain(5000);
            }
            require(program.queue.counts().bytes == 0, "an empty queue has no bytes");
        }
    }
    allocations_left = -1;
    return 0;
}

#ifdef STANDALONE
int main(int count, char** arguments) {
    const unsigned long long inputs = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1000000;
    std::uint64_t state = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 1;
    const auto next = [&state] {
        state += 0x9E3779B97F4A7C15u;  // splitmix64
        std::uint64_t value = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
        return value ^ (value >> 31);
    };
    std::vector<unsigned char> input;
    for (unsigned long long i = 0; i < inputs; i++) {
        // Mostly short, so that ten million are done in minutes; one in 64 long enough to fill a span.
        const std::uint64_t shape = next();
        const std::size_t size = shape % 64 ? 8 + shape / 64 % 56 : 200 + shape / 64 % 1800;
        input.resize(size);
        for (std::size_t at = 0; at < size; at += 8) {
            const std::uint64_t word = next();
            std::memcpy(input.data() + at, &word, std::min<std::size_t>(8, size - at));
        }
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    std::printf("%llu inputs\n", inputs);
    return 0;
}
#endif
