// SPDX-License-Identifier: LGPL-3.0-or-later
#include "event_frame.h"
#include "events.h"
#include "python_face.h"

#include <string>

namespace py = pybind11;

namespace tango_telemetry {
namespace {

py::object to_span(bool found, const SpanNumbers &span) {
    if(!found) {
        return py::none();
    }
    const py::int_ high(span.trace_id_high);
    const py::int_ low(span.trace_id_low);
    return py::make_tuple((high << py::int_(64)) | low, span.span_id, static_cast<int>(span.flags));
}

// The two halves and the rest as Python splits them: conversions of 128 bits are Python's own affair.
SpanNumbers to_numbers(std::uint64_t high, std::uint64_t low, std::uint64_t span_id, int flags) {
    return {high, low, span_id, static_cast<std::uint8_t>(flags & 3)};
}

py::dict event_status() {
    const events::Status status = events::status();
    py::dict counters;
    for(const auto &[name, value] : status.counters) {
        counters[name] = value;
    }
    py::dict result;
    result["installed"] = status.installed;
    result["reason"] = status.reason;
    result["counters"] = counters;
    return result;
}

} // namespace

void add_events(py::module_ &m) {
    m.attr("EVENT_FRAME_SIZE") = event_frame::size;
    m.def("event_install", &events::install, py::arg("path"));
    m.def("event_status", &event_status);
    m.def("event_set_outgoing", [](std::uint64_t high, std::uint64_t low, std::uint64_t span_id, int flags) {
        events::outgoing() = {true, to_numbers(high, low, span_id, flags)};
    });
    m.def("event_clear_outgoing", [] { events::outgoing().present = false; });
    m.def("event_leave_for_polling",
          [](const std::string &subject, std::uint64_t high, std::uint64_t low, std::uint64_t span_id, int flags) {
              events::leave_for_polling(subject.data(), subject.size(), to_numbers(high, low, span_id, flags));
          });
    m.def("event_forget_polling", &events::forget_polling);
    m.def("event_get_incoming", [] {
        SpanNumbers span{};
        const bool found = events::get_incoming(span);
        return to_span(found, span);
    });
    m.def("event_find_incoming", [](const std::string &subject, const std::string &type, std::int64_t microseconds) {
        SpanNumbers span{};
        const bool found = events::find_incoming(subject.data(), subject.size(), type.data(), type.size(),
                                                 microseconds, span);
        return to_span(found, span);
    });
    // For tests: one frame through the parser, and one made.
    m.def("event_decode", [](const py::bytes &frame) {
        const auto text = static_cast<std::string_view>(frame);
        SpanNumbers span{};
        const bool found =
            event_frame::decode(reinterpret_cast<const unsigned char *>(text.data()), text.size(), span);
        return to_span(found, span);
    });
    m.def("event_encode", [](int byte_order, std::uint64_t high, std::uint64_t low, std::uint64_t span_id, int flags) {
        unsigned char frame[event_frame::size];
        event_frame::encode(frame, static_cast<unsigned char>(byte_order), to_numbers(high, low, span_id, flags));
        return py::bytes(reinterpret_cast<const char *>(frame), sizeof frame);
    });
}

} // namespace tango_telemetry
