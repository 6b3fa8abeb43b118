// SPDX-License-Identifier: LGPL-3.0-or-later
#include "span_record.h"

#include "clock.h"

namespace tango_telemetry {
namespace {

// A field of bytes or a counter that is left out when empty, as proto3 does.
std::size_t field_size(std::size_t count) noexcept { return count ? 1 + varint_size(count) + count : 0; }
std::size_t counter_size(std::uint64_t count) noexcept { return count ? 1 + varint_size(count) : 0; }

char* write_field(char* out, std::uint8_t tag, const Buffer& bytes) noexcept {
    if (bytes.empty()) {
        return out;
    }
    *out++ = static_cast<char>(tag);
    out = write_varint(out, bytes.size());
    return write_bytes(out, bytes.data(), bytes.size());
}

char* write_counter(char* out, std::uint8_t tag, std::uint64_t count) noexcept {
    if (count == 0) {
        return out;
    }
    *out++ = static_cast<char>(tag);
    return write_varint(out, count);
}

char* write_id(char* out, std::uint8_t tag, std::uint64_t id) noexcept {
    *out++ = static_cast<char>(tag);
    *out++ = 8;
    return write_big_endian(out, id);
}

char* write_time(char* out, std::uint8_t tag, std::uint64_t time) noexcept {
    if (time == 0) {
        return out;
    }
    *out++ = static_cast<char>(tag);
    return write_bytes(out, &time, 8);
}

// Counters are uint32 in OTLP.
std::uint64_t counter(std::uint64_t count) noexcept { return count > 0xFFFFFFFFu ? 0xFFFFFFFFu : count; }

}  // namespace

void SpanRecord::reset() noexcept {
    trace_id_high = trace_id_low = span_id = parent_span_id = 0;
    start_ns = end_ns = steady_start_ns = 0;
    kind = status = flags = parent_flags = 0;
    parent_remote = ended = has_status_message = false;
    record_exception = set_status_on_exception = true;
    name.clear();
    status_message.clear();
    trace_state.clear();
    attributes.reset(tag::kSpanAttribute);
    events.reset();
    links.reset();
}

bool SpanRecord::is_small() const noexcept {
    return attributes.memory() + events.memory() + links.memory() + name.capacity() + status_message.capacity() +
               trace_state.capacity() <=
           16384;
}

std::uint64_t SpanRecord::now_ns() const noexcept {
    return steady_start_ns ? start_ns + (steady_ns() - steady_start_ns) : wall_ns();
}

bool SpanRecord::add_event(const char* event_name, std::size_t name_size, std::uint64_t time_ns,
                           const AttributeList& event_attributes, std::int64_t limit) noexcept {
    Buffer& out = events.bytes();
    const std::size_t start = out.size();
    const std::size_t body = out.open(tag::kEvent);
    if (time_ns) {
        out.byte(tag::kEventTime);
        out.fixed64(time_ns);
    }
    if (name_size) {
        out.bytes_field(tag::kEventName, event_name, name_size);
    }
    event_attributes.append_to(out);
    if (event_attributes.dropped()) {
        out.byte(tag::kEventDroppedAttributes);
        out.varint(counter(event_attributes.dropped()));
    }
    out.close(body);
    return events.commit(start, limit);
}

bool SpanRecord::add_link(std::uint64_t link_high, std::uint64_t link_low, std::uint64_t linked_span_id, bool remote,
                          const AttributeList& link_attributes, std::int64_t limit) noexcept {
    Buffer& out = links.bytes();
    const std::size_t start = out.size();
    const std::size_t body = out.open(tag::kLink);
    char ids[28];
    char* id = ids;
    *id++ = static_cast<char>(tag::kLinkTraceId);
    *id++ = 16;
    id = write_big_endian(id, link_high);
    id = write_big_endian(id, link_low);
    id = write_id(id, tag::kLinkSpanId, linked_span_id);
    out.append(ids, static_cast<std::size_t>(id - ids));
    link_attributes.append_to(out);
    if (link_attributes.dropped()) {
        out.byte(tag::kLinkDroppedAttributes);
        out.varint(counter(link_attributes.dropped()));
    }
    out.byte(tag::kLinkFlags);
    out.fixed32(span_flags(remote));
    out.close(body);
    return links.commit(start, limit);
}

QueuedSpan* SpanRecord::finish(Scope* scope) const noexcept {
    const std::uint64_t dropped_attributes = counter(attributes.dropped());
    const std::uint64_t dropped_events = counter(events.dropped());
    const std::uint64_t dropped_links = counter(links.dropped());
    const std::size_t status_size = field_size(status_message.size()) + (status ? 2 : 0);
    const std::size_t body = 18 + 10 + field_size(trace_state.size()) + (parent_span_id ? 10 : 0) +
                             field_size(name.size()) + 2 + (start_ns ? 9 : 0) + (end_ns ? 9 : 0) +
                             attributes.encoded_size() + counter_size(dropped_attributes) + events.encoded_size() +
                             counter_size(dropped_events) + links.encoded_size() + counter_size(dropped_links) + 1 +
                             varint_size(status_size) + status_size + 6;
    const std::size_t total = 1 + varint_size(body) + body;
    QueuedSpan* const span = QueuedSpan::create(scope, total);
    if (!span) {
        return nullptr;
    }
    char* out = span->bytes();
    *out++ = static_cast<char>(tag::kSpan);
    out = write_varint(out, body);
    *out++ = static_cast<char>(tag::kTraceId);
    *out++ = 16;
    out = write_big_endian(out, trace_id_high);
    out = write_big_endian(out, trace_id_low);
    out = write_id(out, tag::kSpanId, span_id);
    out = write_field(out, tag::kTraceState, trace_state);
    if (parent_span_id) {
        out = write_id(out, tag::kParentSpanId, parent_span_id);
    }
    out = write_field(out, tag::kName, name);
    *out++ = static_cast<char>(tag::kKind);
    *out++ = static_cast<char>(kind + 1);
    out = write_time(out, tag::kStart, start_ns);
    out = write_time(out, tag::kEnd, end_ns);
    out = attributes.write(out);
    out = write_counter(out, tag::kDroppedAttributes, dropped_attributes);
    out = write_bytes(out, events.data(), events.encoded_size());
    out = write_counter(out, tag::kDroppedEvents, dropped_events);
    out = write_bytes(out, links.data(), links.encoded_size());
    out = write_counter(out, tag::kDroppedLinks, dropped_links);
    *out++ = static_cast<char>(tag::kStatus);
    out = write_varint(out, status_size);
    out = write_field(out, tag::kStatusMessage, status_message);
    if (status) {
        *out++ = static_cast<char>(tag::kStatusCode);
        *out++ = static_cast<char>(status);
    }
    const std::uint32_t otlp_flags = span_flags(parent_remote);
    *out++ = static_cast<char>(tag::kFlagsFirst);
    *out++ = static_cast<char>(tag::kFlagsSecond);
    out = write_bytes(out, &otlp_flags, 4);
    return span;
}

}  // namespace tango_telemetry
