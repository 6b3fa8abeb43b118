// SPDX-License-Identifier: LGPL-3.0-or-later
#pragma once

#include <cstdint>

#include "attribute_list.h"
#include "entry_list.h"
#include "span_queue.h"

namespace tango_telemetry {

// How much a span may hold; -1 is no limit. The fields of opentelemetry.sdk.trace.SpanLimits.
struct Limits {
    std::int64_t attributes = 128;
    std::int64_t event_attributes = 128;
    std::int64_t link_attributes = 128;
    std::int64_t events = 128;
    std::int64_t links = 128;
    std::int64_t value_length = -1;       // of strings in events and links, in code points
    std::int64_t span_value_length = -1;  // of strings in the span's own attributes
};

// What a span has recorded, in the form in which it is sent.
struct SpanRecord {
    std::uint64_t trace_id_high;
    std::uint64_t trace_id_low;
    std::uint64_t span_id;
    std::uint64_t parent_span_id;  // 0: a root
    std::uint64_t start_ns;
    std::uint64_t end_ns;
    std::uint64_t steady_start_ns;  // 0: the start was given, so only the wall clock can tell the end
    std::uint8_t kind;              // of opentelemetry.trace.SpanKind: OTLP's number less one
    std::uint8_t status;            // of opentelemetry.trace.StatusCode
    std::uint8_t flags;             // W3C trace flags
    std::uint8_t parent_flags;
    bool parent_remote;
    bool ended;
    bool record_exception;
    bool set_status_on_exception;
    bool has_status_message;
    Buffer name;
    Buffer status_message;
    Buffer trace_state;
    AttributeList attributes;
    EntryList events;
    EntryList links;

    SpanRecord() noexcept { reset(); }

    // Ready for a next span; keeps memory.
    void reset() noexcept;

    // Whether it is small enough to be kept for a next span.
    bool is_small() const noexcept;

    std::uint64_t now_ns() const noexcept;

    // Adds an event with what `attributes` holds; true unless there was no memory.
    bool add_event(const char* name, std::size_t name_size, std::uint64_t time_ns, const AttributeList& attributes,
                   std::int64_t limit) noexcept;

    bool add_link(std::uint64_t trace_id_high, std::uint64_t trace_id_low, std::uint64_t linked_span_id, bool remote,
                  const AttributeList& attributes, std::int64_t limit) noexcept;

    // The finished span for the queue, null if there is no memory.
    QueuedSpan* finish(Scope* scope) const noexcept;
};

}  // namespace tango_telemetry
