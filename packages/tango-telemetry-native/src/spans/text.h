// SPDX-License-Identifier: LGPL-3.0-or-later
// Python's str as UTF-8.
#pragma once

#include "core/buffer.h"
#include "ref.h"

namespace tango_telemetry {

// What an str is made of, whatever its width.
struct Text {
    int kind;
    const void* data;
    std::size_t length;
    bool ascii;
};

// False with MemoryError set: strings of before Python 3.12 may still have to be made ready.
bool read_text(PyObject* text, Text& out);
std::size_t text_size(const Text& text);
// Whether UTF-8 of it says less than it: two texts may become the same then.
bool has_surrogates(const Text& text);
char* write_text(char* out, const Text& text);
// True if it was longer than `max_length` code points (-1: any length) and has been cut.
bool truncate(Text& text, std::int64_t max_length);

// Appends a str as UTF-8, at most `max_length` code points of it (-1: all).
void append_text(Buffer& out, PyObject* text, std::int64_t max_length = -1);

// The same for any object, by its str(); false with a Python error set.
bool append_any_text(Buffer& out, PyObject* object);

}  // namespace tango_telemetry
