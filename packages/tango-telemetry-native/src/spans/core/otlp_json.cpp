// SPDX-License-Identifier: LGPL-3.0-or-later
// Tables of opentelemetry-proto's messages (1.5 to 1.8), and one writer that goes by them. OTLP's JSON is protobuf's JSON
// (fields in the order of their numbers, defaults left out, 64 bits as texts), but for ids in hexadecimal and enumerations
// as numbers (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding").
#include "otlp_json.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "utf8.h"

namespace tango_telemetry {
namespace {

constexpr int kMostDepth = 96;  // values in values; protobuf itself refuses more than 100 messages inside each other

enum class Kind : std::uint8_t {
    kText, kBase64, kHex, kBool, kNumber, kZigzag, kInt64, kUint64, kFixed32, kFixed64, kSigned64, kDouble, kMessage,
};

struct Message;

struct Field {
    std::uint32_t number;
    const char* name;
    Kind kind;
    bool repeated = false;
    bool shown = false;  // also with its default value: one of several, or optional
    const Message* message = nullptr;
};

struct Message {
    const Field* fields;
    std::size_t count;
};

template <std::size_t N>
constexpr Message table(const Field (&fields)[N]) {
    return {fields, N};
}

constexpr bool kMany = true;
constexpr bool kShown = true;

extern const Message any_value;
extern const Message key_value;

const Field array_fields[] = {{1, "values", Kind::kMessage, kMany, false, &any_value}};
const Message array_value = table(array_fields);
const Field list_fields[] = {{1, "values", Kind::kMessage, kMany, false, &key_value}};
const Message list_value = table(list_fields);
const Field any_fields[] = {
    {1, "stringValue", Kind::kText, false, kShown},
    {2, "boolValue", Kind::kBool, false, kShown},
    {3, "intValue", Kind::kInt64, false, kShown},
    {4, "doubleValue", Kind::kDouble, false, kShown},
    {5, "arrayValue", Kind::kMessage, false, kShown, &array_value},
    {6, "kvlistValue", Kind::kMessage, false, kShown, &list_value},
    {7, "bytesValue", Kind::kBase64, false, kShown},
};
const Message any_value = table(any_fields);
const Field key_fields[] = {{1, "key", Kind::kText}, {2, "value", Kind::kMessage, false, false, &any_value}};
const Message key_value = table(key_fields);

const Field scope_fields[] = {
    {1, "name", Kind::kText},
    {2, "version", Kind::kText},
    {3, "attributes", Kind::kMessage, kMany, false, &key_value},
    {4, "droppedAttributesCount", Kind::kNumber},
};
const Message scope = table(scope_fields);
const Field entity_fields[] = {
    {1, "schemaUrl", Kind::kText},
    {2, "type", Kind::kText},
    {3, "idKeys", Kind::kText, kMany},
    {4, "descriptionKeys", Kind::kText, kMany},
};
const Message entity = table(entity_fields);
const Field resource_fields[] = {
    {1, "attributes", Kind::kMessage, kMany, false, &key_value},
    {2, "droppedAttributesCount", Kind::kNumber},
    {3, "entityRefs", Kind::kMessage, kMany, false, &entity},
};
const Message resource = table(resource_fields);

const Field event_fields[] = {
    {1, "timeUnixNano", Kind::kFixed64},
    {2, "name", Kind::kText},
    {3, "attributes", Kind::kMessage, kMany, false, &key_value},
    {4, "droppedAttributesCount", Kind::kNumber},
};
const Message event = table(event_fields);
const Field link_fields[] = {
    {1, "traceId", Kind::kHex},
    {2, "spanId", Kind::kHex},
    {3, "traceState", Kind::kText},
    {4, "attributes", Kind::kMessage, kMany, false, &key_value},
    {5, "droppedAttributesCount", Kind::kNumber},
    {6, "flags", Kind::kFixed32},
};
const Message link = table(link_fields);
const Field status_fields[] = {{2, "message", Kind::kText}, {3, "code", Kind::kNumber}};
const Message status = table(status_fields);
const Field span_fields[] = {
    {1, "traceId", Kind::kHex},
    {2, "spanId", Kind::kHex},
    {3, "traceState", Kind::kText},
    {4, "parentSpanId", Kind::kHex},
    {5, "name", Kind::kText},
    {6, "kind", Kind::kNumber},
    {7, "startTimeUnixNano", Kind::kFixed64},
    {8, "endTimeUnixNano", Kind::kFixed64},
    {9, "attributes", Kind::kMessage, kMany, false, &key_value},
    {10, "droppedAttributesCount", Kind::kNumber},
    {11, "events", Kind::kMessage, kMany, false, &event},
    {12, "droppedEventsCount", Kind::kNumber},
    {13, "links", Kind::kMessage, kMany, false, &link},
    {14, "droppedLinksCount", Kind::kNumber},
    {15, "status", Kind::kMessage, false, false, &status},
    {16, "flags", Kind::kFixed32},
};
const Message span = table(span_fields);

const Field log_fields[] = {
    {1, "timeUnixNano", Kind::kFixed64},
    {2, "severityNumber", Kind::kNumber},
    {3, "severityText", Kind::kText},
    {5, "body", Kind::kMessage, false, false, &any_value},
    {6, "attributes", Kind::kMessage, kMany, false, &key_value},
    {7, "droppedAttributesCount", Kind::kNumber},
    {8, "flags", Kind::kFixed32},
    {9, "traceId", Kind::kHex},
    {10, "spanId", Kind::kHex},
    {11, "observedTimeUnixNano", Kind::kFixed64},
    {12, "eventName", Kind::kText},
};
const Message log_record = table(log_fields);

const Field exemplar_fields[] = {
    {2, "timeUnixNano", Kind::kFixed64},
    {3, "asDouble", Kind::kDouble, false, kShown},
    {4, "spanId", Kind::kHex},
    {5, "traceId", Kind::kHex},
    {6, "asInt", Kind::kSigned64, false, kShown},
    {7, "filteredAttributes", Kind::kMessage, kMany, false, &key_value},
};
const Message exemplar = table(exemplar_fields);
const Field number_fields[] = {
    {2, "startTimeUnixNano", Kind::kFixed64},
    {3, "timeUnixNano", Kind::kFixed64},
    {4, "asDouble", Kind::kDouble, false, kShown},
    {5, "exemplars", Kind::kMessage, kMany, false, &exemplar},
    {6, "asInt", Kind::kSigned64, false, kShown},
    {7, "attributes", Kind::kMessage, kMany, false, &key_value},
    {8, "flags", Kind::kNumber},
};
const Message number_point = table(number_fields);
const Field histogram_point_fields[] = {
    {2, "startTimeUnixNano", Kind::kFixed64},
    {3, "timeUnixNano", Kind::kFixed64},
    {4, "count", Kind::kFixed64},
    {5, "sum", Kind::kDouble, false, kShown},
    {6, "bucketCounts", Kind::kFixed64, kMany},
    {7, "explicitBounds", Kind::kDouble, kMany},
    {8, "exemplars", Kind::kMessage, kMany, false, &exemplar},
    {9, "attributes", Kind::kMessage, kMany, false, &key_value},
    {10, "flags", Kind::kNumber},
    {11, "min", Kind::kDouble, false, kShown},
    {12, "max", Kind::kDouble, false, kShown},
};
const Message histogram_point = table(histogram_point_fields);
const Field bucket_fields[] = {{1, "offset", Kind::kZigzag}, {2, "bucketCounts", Kind::kUint64, kMany}};
const Message buckets = table(bucket_fields);
const Field exponential_point_fields[] = {
    {1, "attributes", Kind::kMessage, kMany, false, &key_value},
    {2, "startTimeUnixNano", Kind::kFixed64},
    {3, "timeUnixNano", Kind::kFixed64},
    {4, "count", Kind::kFixed64},
    {5, "sum", Kind::kDouble, false, kShown},
    {6, "scale", Kind::kZigzag},
    {7, "zeroCount", Kind::kFixed64},
    {8, "positive", Kind::kMessage, false, false, &buckets},
    {9, "negative", Kind::kMessage, false, false, &buckets},
    {10, "flags", Kind::kNumber},
    {11, "exemplars", Kind::kMessage, kMany, false, &exemplar},
    {12, "min", Kind::kDouble, false, kShown},
    {13, "max", Kind::kDouble, false, kShown},
    {14, "zeroThreshold", Kind::kDouble},
};
const Message exponential_point = table(exponential_point_fields);
const Field quantile_fields[] = {{1, "quantile", Kind::kDouble}, {2, "value", Kind::kDouble}};
const Message quantile = table(quantile_fields);
const Field summary_point_fields[] = {
    {2, "startTimeUnixNano", Kind::kFixed64},
    {3, "timeUnixNano", Kind::kFixed64},
    {4, "count", Kind::kFixed64},
    {5, "sum", Kind::kDouble},
    {6, "quantileValues", Kind::kMessage, kMany, false, &quantile},
    {7, "attributes", Kind::kMessage, kMany, false, &key_value},
    {8, "flags", Kind::kNumber},
};
const Message summary_point = table(summary_point_fields);
const Field gauge_fields[] = {{1, "dataPoints", Kind::kMessage, kMany, false, &number_point}};
const Message gauge = table(gauge_fields);
const Field sum_fields[] = {
    {1, "dataPoints", Kind::kMessage, kMany, false, &number_point},
    {2, "aggregationTemporality", Kind::kNumber},
    {3, "isMonotonic", Kind::kBool},
};
const Message sum = table(sum_fields);
const Field histogram_fields[] = {
    {1, "dataPoints", Kind::kMessage, kMany, false, &histogram_point},
    {2, "aggregationTemporality", Kind::kNumber},
};
const Message histogram = table(histogram_fields);
const Field exponential_fields[] = {
    {1, "dataPoints", Kind::kMessage, kMany, false, &exponential_point},
    {2, "aggregationTemporality", Kind::kNumber},
};
const Message exponential = table(exponential_fields);
const Field summary_fields[] = {{1, "dataPoints", Kind::kMessage, kMany, false, &summary_point}};
const Message summary = table(summary_fields);
const Field metric_fields[] = {
    {1, "name", Kind::kText},
    {2, "description", Kind::kText},
    {3, "unit", Kind::kText},
    {5, "gauge", Kind::kMessage, false, kShown, &gauge},
    {7, "sum", Kind::kMessage, false, kShown, &sum},
    {9, "histogram", Kind::kMessage, false, kShown, &histogram},
    {10, "exponentialHistogram", Kind::kMessage, false, kShown, &exponential},
    {11, "summary", Kind::kMessage, false, kShown, &summary},
    {12, "metadata", Kind::kMessage, kMany, false, &key_value},
};
const Message metric = table(metric_fields);

// Resource…s and Scope…s have the same fields in every signal: what they are of, the list of what they hold, the schema.
constexpr std::uint32_t kHead = 1;
constexpr std::uint32_t kHeld = 2;
constexpr std::uint32_t kRequested = 1;
const Field schema_url = {3, "schemaUrl", Kind::kText};
const Field of_resource = {kHead, "resource", Kind::kMessage, false, false, &resource};
const Field of_scope = {kHead, "scope", Kind::kMessage, false, false, &scope};

struct SignalNames {
    const char* resources;
    const char* scopes;
    Field items;
};

const SignalNames signals[] = {
    {"resourceSpans", "scopeSpans", {kHeld, "spans", Kind::kMessage, kMany, false, &span}},
    {"resourceLogs", "scopeLogs", {kHeld, "logRecords", Kind::kMessage, kMany, false, &log_record}},
    {"resourceMetrics", "scopeMetrics", {kHeld, "metrics", Kind::kMessage, kMany, false, &metric}},
};

struct Bytes {
    const char* data = nullptr;
    std::size_t size = 0;
};

// One field of a message as it came: a number, or the bytes of what has a length.
struct Entry {
    std::uint32_t number = 0;
    bool has_length = false;
    std::uint64_t value = 0;
    Bytes bytes;
};

class Cursor {
public:
    explicit Cursor(Bytes message) : next_(message.data), end_(message.data + message.size) {}

    bool broken() const { return broken_; }
    // The next field; false at the end, and where the message is damaged.
    bool next(Entry& entry) {
        if (next_ == end_ || broken_) {
            return false;
        }
        const std::uint64_t tag = varint();
        entry.number = static_cast<std::uint32_t>(tag >> 3);
        entry.has_length = false;
        switch (tag & 7) {
            case 0:
                entry.value = varint();
                break;
            case 1:
                entry.value = fixed(8);
                break;
            case 2: {
                const std::uint64_t size = varint();
                entry.has_length = true;
                if (!broken_ && size <= static_cast<std::uint64_t>(end_ - next_)) {
                    entry.bytes = {next_, static_cast<std::size_t>(size)};
                    next_ += size;
                } else {
                    broken_ = true;
                }
                break;
            }
            case 5:
                entry.value = fixed(4);
                break;
            default:
                broken_ = true;
        }
        broken_ = broken_ || !entry.number;
        return !broken_;
    }
    std::uint64_t varint() {
        std::uint64_t value;
        broken_ = !read_varint(next_, end_, value) || broken_;
        return value;
    }
    std::uint64_t fixed(std::size_t size) {
        std::uint64_t value = 0;
        if (static_cast<std::size_t>(end_ - next_) < size) {
            broken_ = true;
            return 0;
        }
        std::memcpy(&value, next_, size);
        next_ += size;
        return value;
    }
    bool done() const { return next_ == end_ || broken_; }

private:
    const char* next_;
    const char* end_;
    bool broken_ = false;
};

bool is_fixed(Kind kind) {
    return kind == Kind::kFixed64 || kind == Kind::kSigned64 || kind == Kind::kDouble || kind == Kind::kFixed32;
}

class Writer {
public:
    explicit Writer(Buffer& out) : out_(out) {}

    bool failed() const { return failed_ || out_.failed(); }
    void fail() { failed_ = true; }
    void text(const char* ascii) { out_.append(ascii, std::strlen(ascii)); }

    // The name of a field, with a comma before it where another one stands there already.
    void name(const char* ascii, bool& first) {
        text(first ? "\"" : ",\"");
        text(ascii);
        text("\":");
        first = false;
    }

    void message(Bytes bytes, const Message& message, int depth) {
        bool first = true;
        text("{");
        for (std::size_t i = 0; i < message.count && !failed(); i++) {
            field(bytes, message.fields[i], depth, first);
        }
        text("}");
    }

    // Every occurrence of a repeated field, or the last one of another.
    void field(Bytes message, const Field& field, int depth, bool& first) {
        Cursor cursor(message);
        Entry entry, last;
        bool found = false;
        while (cursor.next(entry)) {
            if (entry.number != field.number) {
                continue;
            }
            const bool fits = entry.has_length == has_length(field.kind);
            if (!field.repeated) {
                found = found || fits;
                last = fits ? entry : last;
            } else if (fits || entry.has_length) {
                if (!found) {
                    name(field.name, first);
                }
                text(found ? "," : "[");
                if (fits) {
                    value(entry, field, depth);
                } else {
                    packed(entry.bytes, field, depth);
                }
                found = true;
            }
        }
        failed_ = failed_ || cursor.broken();
        if (field.repeated) {
            if (found) {
                text("]");
            }
        } else if (found && (field.shown || field.kind == Kind::kMessage || !is_default(last))) {
            name(field.name, first);
            value(last, field, depth);
        }
    }

private:
    static bool has_length(Kind kind) {
        return kind == Kind::kText || kind == Kind::kBase64 || kind == Kind::kHex || kind == Kind::kMessage;
    }
    static bool is_default(const Entry& entry) { return entry.has_length ? !entry.bytes.size : !entry.value; }

    void packed(Bytes bytes, const Field& field, int depth) {
        Cursor cursor(bytes);
        Entry entry;
        for (bool first = true; !cursor.done(); first = false) {
            entry.value = !is_fixed(field.kind)            ? cursor.varint()
                          : field.kind == Kind::kFixed32 ? cursor.fixed(4)
                                                         : cursor.fixed(8);
            if (!first) {
                text(",");
            }
            value(entry, field, depth);
        }
        failed_ = failed_ || cursor.broken();
    }

    void value(const Entry& entry, const Field& field, int depth) {
        switch (field.kind) {
            case Kind::kText:
                string(entry.bytes);
                break;
            case Kind::kBase64:
                base64(entry.bytes);
                break;
            case Kind::kHex:
                hex(entry.bytes);
                break;
            case Kind::kBool:
                text(entry.value ? "true" : "false");
                break;
            case Kind::kNumber:  // an int32 or uint32; OTLP has no negative ones
                number(static_cast<std::uint32_t>(entry.value), false);
                break;
            case Kind::kZigzag: {
                const auto coded = static_cast<std::uint32_t>(entry.value);
                number(static_cast<std::int32_t>((coded >> 1) ^ (~(coded & 1) + 1)), false);
                break;
            }
            case Kind::kFixed32:
                number(entry.value, false);
                break;
            case Kind::kInt64:
            case Kind::kSigned64:
                number(static_cast<std::int64_t>(entry.value), true);
                break;
            case Kind::kUint64:
            case Kind::kFixed64:
                number(entry.value, true);
                break;
            case Kind::kDouble:
                real(entry.value);
                break;
            case Kind::kMessage:
                if (depth >= kMostDepth) {
                    failed_ = true;
                } else {
                    message(entry.bytes, *field.message, depth + 1);
                }
        }
    }

    template <typename Integer>
    void number(Integer value, bool quoted) {
        char digits[24];
        char* const end = std::to_chars(digits, digits + sizeof digits, value).ptr;
        text(quoted ? "\"" : "");
        out_.append(digits, static_cast<std::size_t>(end - digits));
        text(quoted ? "\"" : "");
    }

    void real(std::uint64_t bits) {
        double value;
        std::memcpy(&value, &bits, 8);
        if (!std::isfinite(value)) {
            text(std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
            return;
        }
        char digits[40];
        char* const end = std::to_chars(digits, digits + sizeof digits, value).ptr;
        const auto size = static_cast<std::size_t>(end - digits);
        out_.append(digits, size);
        if (!std::memchr(digits, '.', size) && !std::memchr(digits, 'e', size)) {
            text(".0");  // a reader that tells integers from other numbers takes it for what it is
        }
    }

    void hex(Bytes bytes) {
        static const char kDigits[] = "0123456789abcdef";
        text("\"");
        for (std::size_t i = 0; i < bytes.size; i++) {
            const auto byte = static_cast<unsigned char>(bytes.data[i]);
            const char pair[] = {kDigits[byte >> 4], kDigits[byte & 15]};
            out_.append(pair, 2);
        }
        text("\"");
    }

    void base64(Bytes bytes) {
        static const char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        text("\"");
        for (std::size_t i = 0; i < bytes.size; i += 3) {
            const std::size_t left = bytes.size - i;
            std::uint32_t group = 0;
            for (std::size_t j = 0; j < 3; j++) {
                group = group << 8 | (j < left ? static_cast<unsigned char>(bytes.data[i + j]) : 0U);
            }
            const char four[] = {kDigits[group >> 18], kDigits[group >> 12 & 63], left > 1 ? kDigits[group >> 6 & 63] : '=',
                                 left > 2 ? kDigits[group & 63] : '='};
            out_.append(four, 4);
        }
        text("\"");
    }

    void escape(std::uint32_t unit) {
        static const char kDigits[] = "0123456789abcdef";
        const char escaped[] = {'\\', 'u', kDigits[unit >> 12 & 15], kDigits[unit >> 8 & 15], kDigits[unit >> 4 & 15],
                                kDigits[unit & 15]};
        out_.append(escaped, sizeof escaped);
    }

    // In ASCII, as Python's json writes it; what is not UTF-8 becomes U+FFFD.
    void string(Bytes bytes) {
        text("\"");
        std::size_t plain = 0;  // where what can go as it is begins
        for (std::size_t i = 0; i < bytes.size;) {
            const auto byte = static_cast<unsigned char>(bytes.data[i]);
            if (byte >= 0x20 && byte < 0x7F && byte != '"' && byte != '\\') {
                i++;
                continue;
            }
            out_.append(bytes.data + plain, i - plain);
            i += byte < 0x80 ? control(byte) : code_point(bytes, i);
            plain = i;
        }
        out_.append(bytes.data + plain, bytes.size - plain);
        text("\"");
    }

    std::size_t control(unsigned char byte) {
        static const char kNamed[] = "\"\"\\\\\bb\ff\nn\rr\tt";
        for (const char* named = kNamed; *named; named += 2) {
            if (byte == static_cast<unsigned char>(*named)) {
                const char pair[] = {'\\', named[1]};
                out_.append(pair, 2);
                return 1;
            }
        }
        escape(byte);
        return 1;
    }

    std::size_t code_point(Bytes bytes, std::size_t at) {
        const auto first = static_cast<unsigned char>(bytes.data[at]);
        const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
        std::uint32_t point = first & (0xFF >> (length + 1));
        bool valid = first >= 0xC2 && first < 0xF5 && length <= bytes.size - at;
        for (std::size_t i = 1; valid && i < length; i++) {
            const auto next = static_cast<unsigned char>(bytes.data[at + i]);
            valid = (next & 0xC0) == 0x80;
            point = point << 6 | (next & 0x3F);
        }
        const std::uint32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
        if (!valid || point < least || point > 0x10FFFF || is_surrogate(point)) {
            escape(kReplacement);
            return 1;
        }
        if (point >= 0x10000) {
            escape(0xD800 + ((point - 0x10000) >> 10));
            escape(0xDC00 + ((point - 0x10000) & 0x3FF));
        } else {
            escape(point);
        }
        return length;
    }

    Buffer& out_;
    bool failed_ = false;
};

// The next one of a list that holds messages; false at the end, and where the list is damaged.
bool next_of(Cursor& cursor, std::uint32_t number, Bytes& bytes) {
    Entry entry;
    while (cursor.next(entry)) {
        if (entry.number == number && entry.has_length) {
            bytes = entry.bytes;
            return true;
        }
    }
    return false;
}

}  // namespace

bool write_json_lines(Signal signal, const char* request, std::size_t size, std::size_t most_per_line,
                      Buffer& out) noexcept {
    const SignalNames& names = signals[static_cast<std::size_t>(signal)];
    Writer writer(out);
    Cursor resources({request, size});
    Bytes of_one_resource;
    while (next_of(resources, kRequested, of_one_resource) && !writer.failed()) {
        Cursor scopes(of_one_resource);
        Bytes of_one_scope;
        while (next_of(scopes, kHeld, of_one_scope) && !writer.failed()) {
            Cursor items(of_one_scope);
            Bytes item;
            for (bool more = next_of(items, kHeld, item); more && !writer.failed();) {
                bool first = true;
                writer.text("{");
                writer.name(names.resources, first);
                writer.text("[{");
                first = true;
                writer.field(of_one_resource, of_resource, 0, first);
                writer.name(names.scopes, first);
                writer.text("[{");
                bool first_of_scope = true;
                writer.field(of_one_scope, of_scope, 0, first_of_scope);
                writer.name(names.items.name, first_of_scope);
                writer.text("[");
                for (std::size_t count = 0; more && count < most_per_line; count++) {
                    writer.text(count ? "," : "");
                    writer.message(item, *names.items.message, 0);
                    more = next_of(items, kHeld, item);
                }
                writer.text("]");
                writer.field(of_one_scope, schema_url, 0, first_of_scope);
                writer.text("}]");
                writer.field(of_one_resource, schema_url, 0, first);
                writer.text("}]}\n");
            }
            if (items.broken()) {
                writer.fail();
            }
        }
        if (scopes.broken()) {
            writer.fail();
        }
    }
    return !resources.broken() && !writer.failed();
}

}  // namespace tango_telemetry
