// SPDX-License-Identifier: LGPL-3.0-or-later
#include "decode.h"

namespace tango_telemetry {
namespace {

// Reads what this library has written itself, and still never past its end.
class Reader {
public:
    Reader(const char* data, std::size_t size) : next_(data), end_(data + size) {}

    bool done() const { return next_ == end_ || broken_; }
    std::uint64_t varint() {
        std::uint64_t value;
        broken_ = !read_varint(next_, end_, value) || broken_;
        return value;
    }
    std::uint8_t tag() { return static_cast<std::uint8_t>(varint()); }
    std::uint64_t fixed(std::size_t size) {
        std::uint64_t value = 0;
        if (const char* const bytes = take(size)) {
            std::memcpy(&value, bytes, size);
        }
        return value;
    }
    Reader message() {
        const std::uint64_t size = varint();
        const char* const bytes = take(size);
        return bytes ? Reader(bytes, size) : Reader(end_, 0);
    }
    const char* data() const { return next_; }
    std::size_t size() const { return static_cast<std::size_t>(end_ - next_); }

private:
    const char* take(std::uint64_t size) {
        if (size > static_cast<std::uint64_t>(end_ - next_)) {
            broken_ = true;
            return nullptr;
        }
        const char* const bytes = next_;
        next_ += size;
        return bytes;
    }

    const char* next_;
    const char* end_;
    bool broken_ = false;
};

PyObject* text_of(const Reader& bytes) {
    return PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
}

PyObject* decode_value(Reader value);

PyObject* decode_array(Reader array) {
    Ref list(PyList_New(0));
    while (list && !array.done()) {
        array.tag();
        Ref item(decode_value(array.message()));
        if (!item || PyList_Append(list.get(), item.get()) < 0) {
            return nullptr;
        }
    }
    return list ? PyList_AsTuple(list.get()) : nullptr;
}

bool decode_key_value(Reader entry, PyObject* dict) {
    Ref key, value;
    while (!entry.done()) {
        const std::uint8_t tag = entry.tag();
        if (tag == tag::kKey) {
            key = Ref(text_of(entry.message()));
        } else {
            value = Ref(decode_value(entry.message()));
        }
        if (PyErr_Occurred()) {
            return false;
        }
    }
    return key && value && PyDict_SetItem(dict, key.get(), value.get()) == 0;
}

PyObject* decode_map(Reader map) {
    Ref dict(PyDict_New());
    while (dict && !map.done()) {
        map.tag();
        if (!decode_key_value(map.message(), dict.get())) {
            return nullptr;
        }
    }
    return dict.release();
}

PyObject* decode_value(Reader value) {
    if (value.done()) {
        Py_RETURN_NONE;
    }
    switch (value.tag()) {
        case tag::kString:
            return text_of(value.message());
        case tag::kBool:
            return new_bool(value.varint() != 0);
        case tag::kInt:
            return PyLong_FromLongLong(static_cast<long long>(value.varint()));
        case tag::kDouble: {
            const std::uint64_t bits = value.fixed(8);
            double number;
            std::memcpy(&number, &bits, 8);
            return PyFloat_FromDouble(number);
        }
        case tag::kBytes: {
            const Reader bytes = value.message();
            return PyBytes_FromStringAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size()));
        }
        case tag::kArray:
            return decode_array(value.message());
        case tag::kMap:
            return decode_map(value.message());
        default:
            Py_RETURN_NONE;
    }
}

PyObject* decode_event(Reader event) {
    std::uint64_t time = 0, dropped = 0;
    Ref name(PyUnicode_FromString("")), attributes(PyDict_New());
    while (name && attributes && !event.done()) {
        switch (event.tag()) {
            case tag::kEventTime:
                time = event.fixed(8);
                break;
            case tag::kEventName:
                name = Ref(text_of(event.message()));
                break;
            case tag::kEventAttribute:
                if (!decode_key_value(event.message(), attributes.get())) {
                    return nullptr;
                }
                break;
            default:
                dropped = event.varint();
        }
    }
    if (!name || !attributes) {
        return nullptr;
    }
    return Py_BuildValue("(OKOK)", name.get(), time, attributes.get(), dropped);
}

PyObject* decode_link(Reader link, PyObject* context) {
    std::uint64_t dropped = 0;
    Ref attributes(PyDict_New());
    while (attributes && !link.done()) {
        switch (link.tag()) {
            case tag::kLinkTraceId:
            case tag::kLinkSpanId:
                link.message();
                break;
            case tag::kLinkAttribute:
                if (!decode_key_value(link.message(), attributes.get())) {
                    return nullptr;
                }
                break;
            case tag::kLinkFlags:
                link.fixed(4);
                break;
            default:
                dropped = link.varint();
        }
    }
    return attributes ? Py_BuildValue("(OOK)", context, attributes.get(), dropped) : nullptr;
}

PyObject* with_dropped(Ref object, std::uint64_t dropped) {
    return object ? Py_BuildValue("(OK)", object.get(), dropped) : nullptr;
}

// Decoding makes Python objects, which may run a garbage collection and with it code that changes the span: it
// works on a copy.
bool copy_of(const char* data, std::size_t size, Ref& holder, Reader& reader) {
    holder = Ref(PyBytes_FromStringAndSize(data, static_cast<Py_ssize_t>(size)));
    if (!holder) {
        return false;
    }
    reader = Reader(PyBytes_AS_STRING(holder.get()), size);
    return true;
}

}  // namespace

PyObject* decode_attributes(const SpanRecord& record) {
    const std::uint64_t dropped = record.attributes.dropped();
    const std::size_t size = record.attributes.encoded_size();
    Ref copy(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
    if (!copy) {
        return nullptr;
    }
    record.attributes.write(PyBytes_AS_STRING(copy.get()));
    Reader reader(PyBytes_AS_STRING(copy.get()), size);
    Ref dict(PyDict_New());
    while (dict && !reader.done()) {
        reader.tag();
        if (!decode_key_value(reader.message(), dict.get())) {
            return nullptr;
        }
    }
    return with_dropped(std::move(dict), dropped);
}

PyObject* decode_events(const SpanRecord& record) {
    const std::uint64_t dropped = record.events.dropped();
    Ref holder;
    Reader reader(nullptr, 0);
    if (!copy_of(record.events.data(), record.events.encoded_size(), holder, reader)) {
        return nullptr;
    }
    Ref list(PyList_New(0));
    while (list && !reader.done()) {
        reader.tag();
        Ref event(decode_event(reader.message()));
        if (!event || PyList_Append(list.get(), event.get()) < 0) {
            return nullptr;
        }
    }
    return with_dropped(std::move(list), dropped);
}

PyObject* decode_links(SpanObject* span) {
    const SpanRecord& record = *span->record;
    const std::uint64_t dropped = record.links.dropped();
    Ref contexts(span->link_contexts ? PyList_AsTuple(span->link_contexts) : PyTuple_New(0));
    Ref holder;
    Reader reader(nullptr, 0);
    if (!contexts || !copy_of(record.links.data(), record.links.encoded_size(), holder, reader)) {
        return nullptr;
    }
    Ref list(PyList_New(0));
    for (Py_ssize_t i = 0; list && !reader.done() && i < PyTuple_GET_SIZE(contexts.get()); i++) {
        reader.tag();
        Ref link(decode_link(reader.message(), PyTuple_GET_ITEM(contexts.get(), i)));
        if (!link || PyList_Append(list.get(), link.get()) < 0) {
            return nullptr;
        }
    }
    return with_dropped(std::move(list), dropped);
}

}  // namespace tango_telemetry
