// SPDX-License-Identifier: LGPL-3.0-or-later
#include "value_encoder.h"

namespace tango_telemetry {
namespace {

// Deeper values are given up as a whole, as the SDK gives them up with RecursionError. A receiver's protobuf
// library may refuse more than 100 nested messages; each level here takes up to three.
constexpr int kMaxDepth = 24;

// Whether str() of it says more than where it lies in memory; else the SDK does without the value.
bool has_own_text(PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    return type->tp_str != PyBaseObject_Type.tp_str || type->tp_repr != PyBaseObject_Type.tp_repr;
}

// A str as it is sent: of no subclass, which may compare and hash as it likes, and without lone surrogates.
Ref repair(PyObject* key) {
    Text text;
    if (!read_text(key, text)) {
        return Ref();
    }
    if (!has_surrogates(text)) {
        return Ref(PyUnicode_FromObject(key));
    }
    Ref bytes(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(text_size(text))));
    if (!bytes) {
        return bytes;
    }
    write_text(PyBytes_AS_STRING(bytes.get()), text);
    return Ref(PyUnicode_DecodeUTF8(PyBytes_AS_STRING(bytes.get()), PyBytes_GET_SIZE(bytes.get()), nullptr));
}

class ValueEncoder {
public:
    ValueEncoder(ModuleState& state, Buffer& out, std::int64_t max_length, Warnings& warnings)
        : state_(state), out_(out), max_length_(max_length), warnings_(warnings) {}

    // Appends the body of an AnyValue.
    Encoded encode(PyObject* value, int depth) {
        if (out_.failed() || out_.size() > kMaxValueSize) {
            PyErr_NoMemory();
            return Encoded::kError;
        }
        Plain plain;
        switch (read_plain(value, max_length_, plain)) {
            case Read::kPlain:
                if (plain.truncated) {
                    warnings_.add(Warnings::Kind::kTruncated, nullptr, static_cast<long>(max_length_));
                }
                if (char* const start = out_.room(plain.size)) {
                    write_plain(start, plain);
                    out_.advance(plain.size);
                }
                return Encoded::kYes;
            case Read::kUnencodable:
                return Encoded::kUnencodable;
            case Read::kError:
                return Encoded::kError;
            case Read::kOther:
                break;
        }
        if (depth >= kMaxDepth) {
            PyErr_SetString(PyExc_RecursionError, "an attribute value is nested too deeply");
            return Encoded::kError;
        }
        if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
            return encode_list(value, depth);
        }
        if (PyDict_CheckExact(value)) {
            return encode_mapping(value, depth);
        }
        const int sequence = PyObject_IsInstance(value, state_.sequence_abc);
        if (sequence) {
            return sequence < 0 ? Encoded::kError : encode_sequence(value, depth);
        }
        const int mapping = PyObject_IsInstance(value, state_.mapping_abc);
        if (mapping) {
            return mapping < 0 ? Encoded::kError : encode_mapping(value, depth);
        }
        return encode_other(value);
    }

private:
    Encoded encode_item(PyObject* value, int depth) {
        const std::size_t body = out_.open(tag::kItem);
        const Encoded encoded = encode(value, depth + 1);
        out_.close(body);
        return encoded;
    }

    Encoded encode_list(PyObject* list, int depth) {
        const std::size_t body = out_.open(tag::kArray);
        // An item's own code may change the list: look at its size each time and hold the item.
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(list); i++) {
            Ref item = Ref::borrow(PySequence_Fast_GET_ITEM(list, i));
            const Encoded encoded = encode_item(item.get(), depth);
            if (encoded != Encoded::kYes) {
                return encoded;
            }
        }
        out_.close(body);
        return Encoded::kYes;
    }

    Encoded encode_sequence(PyObject* sequence, int depth) {
        Ref iterator(PyObject_GetIter(sequence));
        if (!iterator) {
            return Encoded::kError;
        }
        const std::size_t body = out_.open(tag::kArray);
        while (true) {
            Ref item(PyIter_Next(iterator.get()));
            if (!item) {
                break;
            }
            const Encoded encoded = encode_item(item.get(), depth);
            if (encoded != Encoded::kYes) {
                return encoded;
            }
        }
        if (PyErr_Occurred()) {
            return Encoded::kError;
        }
        out_.close(body);
        return Encoded::kYes;
    }

    Encoded encode_mapping(PyObject* mapping, int depth) {
        std::uint64_t dropped = 0;
        Ref items = clean_items(mapping, warnings_, dropped);
        if (!items) {
            return Encoded::kError;
        }
        const std::size_t body = out_.open(tag::kMap);
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); i++) {
            Ref pair = Ref::borrow(PyList_GET_ITEM(items.get(), i));
            const std::size_t entry = out_.open(tag::kItem);
            const std::size_t key = out_.open(tag::kKey);
            append_text(out_, PyTuple_GET_ITEM(pair.get(), 0));
            out_.close(key);
            const std::size_t value = out_.open(tag::kValue);
            const Encoded encoded = encode(PyTuple_GET_ITEM(pair.get(), 1), depth + 1);
            if (encoded != Encoded::kYes) {
                return encoded;
            }
            out_.close(value);
            out_.close(entry);
        }
        out_.close(body);
        return Encoded::kYes;
    }

    Encoded encode_other(PyObject* value) {
        warnings_.add(Warnings::Kind::kValueType, reinterpret_cast<PyObject*>(Py_TYPE(value)));
        if (!has_own_text(value)) {
            return Encoded::kYes;  // an AnyValue without a value is OTLP's null
        }
        Ref text(PyObject_Str(value));
        if (!text) {
            return Encoded::kError;
        }
        // The SDK bounds the length of strings, not of what becomes one.
        const std::size_t body = out_.open(tag::kString);
        append_text(out_, text.get());
        out_.close(body);
        return Encoded::kYes;
    }

    ModuleState& state_;
    Buffer& out_;
    const std::int64_t max_length_;
    Warnings& warnings_;
};

}  // namespace

Read read_plain(PyObject* value, std::int64_t max_length, Plain& plain) {
    plain.truncated = false;
    if (PyUnicode_Check(value)) {
        if (!read_text(value, plain.text)) {
            return Read::kError;
        }
        plain.truncated = truncate(plain.text, max_length);
        const std::size_t size = text_size(plain.text);
        plain.type = Plain::kText;
        plain.number = size;
        plain.size = 1 + varint_size(size) + size;
        return Read::kPlain;
    }
    if (PyBool_Check(value)) {
        plain.type = Plain::kBool;
        plain.number = value == Py_True;
        plain.size = 2;
        return Read::kPlain;
    }
    if (PyLong_Check(value)) {
        int overflow = 0;
        const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow) {
            return Read::kUnencodable;
        }
        plain.type = Plain::kInt;
        plain.number = static_cast<std::uint64_t>(number);
        plain.size = 1 + varint_size(plain.number);
        return Read::kPlain;
    }
    if (PyFloat_Check(value)) {
        const double number = PyFloat_AS_DOUBLE(value);
        plain.type = Plain::kFloat;
        std::memcpy(&plain.number, &number, 8);
        plain.size = 9;
        return Read::kPlain;
    }
    if (value == Py_None) {
        plain.type = Plain::kNone;
        plain.size = 0;
        return Read::kPlain;
    }
    if (PyBytes_Check(value)) {
        plain.type = Plain::kBytes;
        plain.number = static_cast<std::uint64_t>(PyBytes_GET_SIZE(value));
        plain.text.data = PyBytes_AS_STRING(value);
        plain.size = 1 + varint_size(plain.number) + plain.number;
        return Read::kPlain;
    }
    return Read::kOther;
}

char* write_plain(char* out, const Plain& plain) {
    switch (plain.type) {
        case Plain::kNone:
            return out;
        case Plain::kBool:
            *out++ = static_cast<char>(tag::kBool);
            *out++ = static_cast<char>(plain.number);
            return out;
        case Plain::kInt:
            *out++ = static_cast<char>(tag::kInt);
            return write_varint(out, plain.number);
        case Plain::kFloat:
            *out++ = static_cast<char>(tag::kDouble);
            return write_bytes(out, &plain.number, 8);
        case Plain::kText:
            *out++ = static_cast<char>(tag::kString);
            out = write_varint(out, plain.number);
            return write_text(out, plain.text);
        case Plain::kBytes:
            *out++ = static_cast<char>(tag::kBytes);
            out = write_varint(out, plain.number);
            return write_bytes(out, plain.text.data, plain.number);
    }
    return out;
}

Ref clean_items(PyObject* mapping, Warnings& warnings, std::uint64_t& dropped) {
    Ref items(PyDict_CheckExact(mapping) ? PyDict_Items(mapping) : PyMapping_Items(mapping));
    if (!items) {
        return items;
    }
    if (!PyList_Check(items.get())) {
        PyErr_SetString(PyExc_TypeError, "items() of a mapping gave no list");
        return Ref();
    }
    const Py_ssize_t count = PyList_GET_SIZE(items.get());
    bool clean = true;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject* const pair = PyList_GET_ITEM(items.get(), i);
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
            PyErr_SetString(PyExc_TypeError, "items() of a mapping gave something else than pairs");
            return Ref();
        }
        PyObject* const key = PyTuple_GET_ITEM(pair, 0);
        clean = clean && PyUnicode_CheckExact(key) && PyUnicode_GET_LENGTH(key) > 0;
        Text text;
        if (clean && !read_text(key, text)) {
            return Ref();
        }
        clean = clean && !has_surrogates(text);
    }
    if (clean) {
        return items;
    }
    // Keys that become equal by str(), or in UTF-8, collapse as in a dict: the first keeps the place, the last gives the value.
    Ref cleaned(PyDict_New());
    if (!cleaned) {
        return cleaned;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Ref pair = Ref::borrow(PyList_GET_ITEM(items.get(), i));
        PyObject* const key = PyTuple_GET_ITEM(pair.get(), 0);
        const int given = PyUnicode_Check(key) ? PyUnicode_GET_LENGTH(key) > 0 : PyObject_IsTrue(key);
        if (given < 0) {
            return Ref();
        }
        if (!given) {
            warnings.add(Warnings::Kind::kInvalidNestedKey, key);
            continue;
        }
        Ref text = Ref::borrow(key);
        if (!PyUnicode_Check(key)) {
            warnings.add(Warnings::Kind::kKeyType, key);
            if (!has_own_text(key)) {
                continue;
            }
            text = Ref(PyObject_Str(key));
        }
        Ref repaired = text ? repair(text.get()) : Ref();
        if (!repaired || PyDict_SetItem(cleaned.get(), repaired.get(), PyTuple_GET_ITEM(pair.get(), 1)) < 0) {
            return Ref();
        }
    }
    dropped += static_cast<std::uint64_t>(count - PyDict_GET_SIZE(cleaned.get()));
    return Ref(PyDict_Items(cleaned.get()));
}

Encoded encode_value(ModuleState& state, Buffer& out, PyObject* value, std::int64_t max_length, Warnings& warnings) {
    return ValueEncoder(state, out, max_length, warnings).encode(value, 0);
}

}  // namespace tango_telemetry
