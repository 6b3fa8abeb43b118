// SPDX-License-Identifier: LGPL-3.0-or-later
#include "values.h"

#include "core/utf8.h"

namespace tango_spans {
namespace {

// Deeper values are given up as a whole, as the SDK gives them up with RecursionError. A receiver's protobuf
// library may refuse more than 100 nested messages; each level here takes up to three.
constexpr int kMaxDepth = 24;

// One attribute may take this much. The SDK has no bound, and a list that holds itself twice over never ends.
constexpr std::size_t kMaxValueSize = std::size_t{16} << 20;

enum class Encoded { kYes, kUnencodable, kError };

// What an str is made of, whatever its width.
struct Text {
    int kind;
    const void* data;
    std::size_t length;
    bool ascii;
};

bool read_text(PyObject* text, Text& out) {
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(text) < 0) {
        return false;
    }
#endif
    out = {static_cast<int>(PyUnicode_KIND(text)), PyUnicode_DATA(text),
           static_cast<std::size_t>(PyUnicode_GET_LENGTH(text)), PyUnicode_IS_ASCII(text) != 0};
    return true;
}

std::size_t text_size(const Text& text) {
    if (text.ascii) {
        return text.length;
    }
    switch (text.kind) {
        case PyUnicode_1BYTE_KIND:
            return utf8_size(static_cast<const Py_UCS1*>(text.data), text.length);
        case PyUnicode_2BYTE_KIND:
            return utf8_size(static_cast<const Py_UCS2*>(text.data), text.length);
        default:
            return utf8_size(static_cast<const Py_UCS4*>(text.data), text.length);
    }
}

char* write_text(char* out, const Text& text) {
    if (text.ascii) {
        return write_bytes(out, text.data, text.length);
    }
    switch (text.kind) {
        case PyUnicode_1BYTE_KIND:
            return write_utf8(out, static_cast<const Py_UCS1*>(text.data), text.length);
        case PyUnicode_2BYTE_KIND:
            return write_utf8(out, static_cast<const Py_UCS2*>(text.data), text.length);
        default:
            return write_utf8(out, static_cast<const Py_UCS4*>(text.data), text.length);
    }
}

bool truncate(Text& text, std::int64_t max_length) {
    if (max_length < 0 || text.length <= static_cast<std::size_t>(max_length)) {
        return false;
    }
    text.length = static_cast<std::size_t>(max_length);
    return true;
}

// A scalar that can be encoded without running any code of the user's.
struct Plain {
    enum Type { kNone, kBool, kInt, kFloat, kText, kBytes } type;
    std::size_t size;  // of the encoded AnyValue
    std::uint64_t number;
    Text text;
    bool truncated;
};

enum class Read { kPlain, kOther, kUnencodable, kError };

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

// Whether str() of it says more than where it lies in memory; else the SDK does without the value.
bool has_own_text(PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    return type->tp_str != PyBaseObject_Type.tp_str || type->tp_repr != PyBaseObject_Type.tp_repr;
}

// The items of a mapping as a list of pairs that nobody else can change; keys made str by the SDK's rules. Null
// with an error set.
//
// `dropped` counts items that have no place in the result.
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
        clean = clean && PyUnicode_Check(key) && PyUnicode_GET_LENGTH(key) > 0;
    }
    if (clean) {
        return items;
    }
    // Keys that become equal by str() collapse as in a dict: the first keeps the place, the last gives the value.
    Ref cleaned(PyDict_New());
    if (!cleaned) {
        return cleaned;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Ref pair = Ref::borrow(PyList_GET_ITEM(items.get(), i));
        PyObject* const key = PyTuple_GET_ITEM(pair.get(), 0);
        const int given = PyObject_IsTrue(key);
        if (given < 0) {
            return Ref();
        }
        if (!given) {
            warnings.add(Warnings::Kind::kInvalidNestedKey, key);
            continue;
        }
        Ref text;
        if (!PyUnicode_Check(key)) {
            warnings.add(Warnings::Kind::kKeyType, key);
            if (!has_own_text(key)) {
                continue;
            }
            text = Ref(PyObject_Str(key));
            if (!text) {
                return Ref();
            }
        }
        if (PyDict_SetItem(cleaned.get(), text ? text.get() : key, PyTuple_GET_ITEM(pair.get(), 1)) < 0) {
            return Ref();
        }
    }
    dropped += static_cast<std::uint64_t>(count - PyDict_GET_SIZE(cleaned.get()));
    return Ref(PyDict_Items(cleaned.get()));
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

// The key's UTF-8: in place if it is ASCII, else in `buffer`.
bool read_key(PyObject* key, Buffer& buffer, Key& out) {
    Text text;
    if (!read_text(key, text)) {
        return false;
    }
    // Not PyObject_Hash: a subclass of str may have a __hash__ that runs code, and needs none here.
    const Py_hash_t hash = PyUnicode_Type.tp_hash(key);
    out.hash = static_cast<std::uint32_t>(hash ^ (hash >> 32));
    if (text.ascii) {
        if (text.length > Buffer::kMaxSize) {
            PyErr_NoMemory();
            return false;
        }
        out.data = static_cast<const char*>(text.data);
        out.size = static_cast<std::uint32_t>(text.length);
        return true;
    }
    buffer.clear();
    append_text(buffer, key);
    if (buffer.failed()) {
        PyErr_NoMemory();
        return false;
    }
    out.data = buffer.data();
    out.size = static_cast<std::uint32_t>(buffer.size());
    return true;
}

void note_outcome(AttributeList::Outcome outcome, AttributeList& list, Warnings& warnings) {
    if (outcome == AttributeList::Outcome::kFailed) {
        list.count_dropped();
    } else if (outcome == AttributeList::Outcome::kSetAndDroppedOldest) {
        warnings.add(Warnings::Kind::kFull);
    }
}

// Key is a non-empty str and the limit is not 0. False with any Python error set.
bool set_valid(ModuleState& state, const AttributeTarget& target, PyObject* key, PyObject* value, Scratch& scratch,
               Warnings& warnings) {
    Plain plain;
    Key name;
    const Read read = read_plain(value, target.value_length, plain);
    if (read == Read::kPlain) {
        if (!read_key(key, scratch.key, name)) {
            return false;
        }
        if (plain.truncated) {
            warnings.add(Warnings::Kind::kTruncated, nullptr, static_cast<long>(target.value_length));
        }
        char* const out = plain.size > kMaxValueSize ? nullptr : target.list.begin(name, plain.size);
        if (!out) {
            target.list.count_dropped();
            return true;
        }
        write_plain(out, plain);
        note_outcome(target.list.commit(target.limit), target.list, warnings);
        return true;
    }
    Encoded encoded = Encoded::kUnencodable;
    Buffer& bytes = scratch.value;
    if (read == Read::kError) {
        return false;
    }
    if (read == Read::kOther) {
        bytes.clear();
        encoded = ValueEncoder(state, bytes, target.value_length, warnings).encode(value, 0);
        if (encoded == Encoded::kError) {
            return false;
        }
        if (target.closed && *target.closed) {
            return true;
        }
        if (encoded == Encoded::kYes && bytes.failed()) {
            target.list.count_dropped();
            return true;
        }
    }
    // Only now, for the user's code that may have run used the same scratch for no other key.
    if (!read_key(key, scratch.key, name)) {
        return false;
    }
    if (encoded == Encoded::kUnencodable) {
        warnings.add(Warnings::Kind::kUnencodable, key);
        note_outcome(target.list.set_hidden(name, target.limit), target.list, warnings);
        return true;
    }
    char* const out = target.list.begin(name, bytes.size());
    if (!out) {
        target.list.count_dropped();
        return true;
    }
    write_bytes(out, bytes.data(), bytes.size());
    note_outcome(target.list.commit(target.limit), target.list, warnings);
    return true;
}

bool is_plain_item(PyObject* key, PyObject* value) {
    if (!PyUnicode_CheckExact(key) || PyUnicode_GET_LENGTH(key) == 0) {
        return false;
    }
    return PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value) ||
           PyBool_Check(value) || value == Py_None || PyBytes_CheckExact(value);
}

bool is_plain_dict(PyObject* dict) {
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!is_plain_item(key, value)) {
            return false;
        }
    }
    return true;
}

bool set_each(ModuleState& state, const AttributeTarget& target, PyObject* mapping, Scratch& scratch,
              Warnings& warnings) {
    if (PyDict_CheckExact(mapping) && is_plain_dict(mapping)) {
        // Nothing in here runs code of the user's, so the dict stays as it is.
        if (target.limit == 0) {
            target.list.count_dropped(static_cast<std::uint64_t>(PyDict_GET_SIZE(mapping)));
            return true;
        }
        Py_ssize_t position = 0;
        PyObject *key, *value;
        while (PyDict_Next(mapping, &position, &key, &value)) {
            if (!set_valid(state, target, key, value, scratch, warnings)) {
                return false;
            }
        }
        return true;
    }
    if (!PyDict_Check(mapping)) {
        const int is_mapping = PyObject_IsInstance(mapping, state.mapping_abc);
        if (is_mapping <= 0) {
            if (is_mapping == 0) {
                PyErr_Format(PyExc_TypeError, "attributes must be a mapping, not %.200s", Py_TYPE(mapping)->tp_name);
            }
            return false;
        }
    }
    if (target.limit == 0) {
        const Py_ssize_t count = PyObject_Size(mapping);
        if (count < 0) {
            return false;
        }
        target.list.count_dropped(static_cast<std::uint64_t>(count));
        return true;
    }
    std::uint64_t dropped = 0;
    Ref items = clean_items(mapping, warnings, dropped);
    if (!items) {
        return false;
    }
    if (target.closed && *target.closed) {
        return true;
    }
    target.list.count_dropped(dropped);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); i++) {
        Ref pair = Ref::borrow(PyList_GET_ITEM(items.get(), i));
        if (target.closed && *target.closed) {
            return true;
        }
        // One value that cannot be read costs itself, not its neighbours.
        if (!set_valid(state, target, PyTuple_GET_ITEM(pair.get(), 0), PyTuple_GET_ITEM(pair.get(), 1), scratch,
                       warnings) &&
            !absorb_error(state, "an attribute could not be set")) {
            return false;
        }
    }
    return true;
}

}  // namespace

Warnings::~Warnings() {
    for (std::size_t i = 0; i < entries_.size(); i++) {
        Py_XDECREF(entries_[i].subject);
    }
}

void Warnings::add(Kind kind, PyObject* subject, long number) {
    if (entries_.push_back({kind, subject, number})) {
        Py_XINCREF(subject);
    }
}

bool Warnings::write_one(const Entry& entry) {
    PyObject* logger = state_.warn_attributes;
    const char* text = nullptr;
    Ref number;
    PyObject* first = nullptr;
    PyObject* second = nullptr;
    switch (entry.kind) {
        case Kind::kTruncated:
            text = "String attribute value exceeds max length of %d, truncating.";
            number = Ref(PyLong_FromLong(entry.number));
            first = number.get();
            break;
        case Kind::kFull:
            text = "Attributes dict is full. Dropping the oldest key-value pair from attributes to make space for "
                   "the new key-value pair.";
            break;
        case Kind::kInvalidKey:
            text = "invalid key `%s`. must be non-empty string. Dropping key from attributes.";
            first = entry.subject;
            break;
        case Kind::kInvalidNestedKey:
            text = "invalid attribute key `%s`. must be non-empty string. Dropping key from attributes.";
            first = entry.subject;
            break;
        case Kind::kKeyType:
            text = "Invalid type `%s` for attribute key `%s`, must be a str. Key's `__str__/__repr__` method will be "
                   "called if it exists, otherwise the key/value pair will be dropped.";
            first = reinterpret_cast<PyObject*>(Py_TYPE(entry.subject));
            second = entry.subject;
            break;
        case Kind::kValueType:
            text = "Invalid type `%s` for attribute value. Expected one of bool, str, None, bytes, int, float or a "
                   "Mapping or Sequence of those types. Value's __str__ method will be called if it exists, "
                   "otherwise the value will be replaced with None.";
            first = entry.subject;
            break;
        case Kind::kUnencodable:
            logger = state_.warn_encoder;
            text = "Failed to encode key %s: an integer of more than 64 bits";
            first = entry.subject;
            break;
    }
    Ref format(PyUnicode_FromString(text));
    if (!format) {
        return false;
    }
    Ref result(PyObject_CallFunctionObjArgs(logger, format.get(), first, second, nullptr));
    return static_cast<bool>(result);
}

bool Warnings::write() {
    if (entries_.size() == 0 || !state_.configured) {
        return true;
    }
    for (std::size_t i = 0; i < entries_.size(); i++) {
        if (!write_one(entries_[i])) {
            if (!PyErr_ExceptionMatches(PyExc_Exception)) {
                return false;
            }
            PyErr_Clear();
        }
    }
    return true;
}

void append_text(Buffer& out, PyObject* object, std::int64_t max_length) {
    Text text;
    if (!read_text(object, text)) {
        PyErr_Clear();
        out.room(Buffer::kMaxSize);  // no memory: leave the buffer failed
        return;
    }
    truncate(text, max_length);
    const std::size_t size = text_size(text);
    if (char* const start = out.room(size)) {
        write_text(start, text);
        out.advance(size);
    }
}

bool append_any_text(Buffer& out, PyObject* object) {
    if (PyUnicode_Check(object)) {
        append_text(out, object);
        return true;
    }
    Ref text(PyObject_Str(object));
    if (!text) {
        return false;
    }
    append_text(out, text.get());
    return true;
}

bool set_attribute(ModuleState& state, const AttributeTarget& target, PyObject* key, PyObject* value) {
    if (target.limit == 0) {
        target.list.count_dropped();
        return true;
    }
    ScratchLease scratch(state);
    if (!scratch.ok()) {
        return absorb_error(state, "an attribute could not be set");
    }
    Warnings warnings(state);
    if (!PyUnicode_Check(key) || PyUnicode_GET_LENGTH(key) == 0) {
        target.list.count_dropped();
        warnings.add(Warnings::Kind::kInvalidKey, key);
    } else if (!set_valid(state, target, key, value, *scratch, warnings) &&
               !absorb_error(state, "an attribute could not be set")) {
        return false;
    }
    return warnings.write();
}

bool set_attributes(ModuleState& state, const AttributeTarget& target, PyObject* mapping) {
    ScratchLease scratch(state);
    if (!scratch.ok()) {
        return absorb_error(state, "attributes could not be set");
    }
    Warnings warnings(state);
    if (!set_each(state, target, mapping, *scratch, warnings) &&
        !absorb_error(state, "attributes could not be set")) {
        return false;
    }
    return warnings.write();
}

}  // namespace tango_spans
