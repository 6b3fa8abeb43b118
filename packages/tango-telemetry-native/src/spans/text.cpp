// SPDX-License-Identifier: LGPL-3.0-or-later
#include "text.h"

#include "core/utf8.h"

namespace tango_telemetry {

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

bool has_surrogates(const Text& text) {
    switch (text.kind) {
        case PyUnicode_1BYTE_KIND:
            return false;
        case PyUnicode_2BYTE_KIND:
            return contains_surrogate(static_cast<const Py_UCS2*>(text.data), text.length);
        default:
            return contains_surrogate(static_cast<const Py_UCS4*>(text.data), text.length);
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

}  // namespace tango_telemetry
