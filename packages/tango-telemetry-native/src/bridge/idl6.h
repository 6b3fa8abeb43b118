// SPDX-License-Identifier: LGPL-3.0-or-later
//
// cppTango's telemetry (10.0 and later, IDL version 6), bound at run time to the libtango that PyTango has loaded.
//
// The functions take std::string, of which two binary interfaces exist among the builds: PyPI's wheels of 10.1.5
// and 10.3.1 use std::__cxx11, those of 10.0.x and 10.1.0 the old one (seen in their symbols). So idl6_binding.inc is
// compiled once for each, and this table, which has no std::string in it, is what both offer.
#pragma once

#include "../bridge_functions.h"
#include "loaded_library.h"

#include <cstddef>

namespace tango_telemetry::idl6 {

using Text = IdlFunctions::Text;

struct Import {
    const char *symbol;
    void *replacement;
};

struct Binding {
    // True if the library has every symbol, with this string type in its name.
    bool (*bind)(const LoadedLibrary &library);

    // This thread's telemetry interface, or null. Never creates one: cppTango does so in a function that is noexcept
    // and reads the environment, so that a bad value there ends the process (10.0.3 to 10.3.3).
    const void *(*current_interface)();

    // Hands traceparent and tracestate to `sink`. Only while current_interface() is not null.
    void (*get_context)(void (*sink)(void *target, Text traceparent, Text tracestate), void *target);

    // Null if cppTango refuses. Only while current_interface() is not null.
    void *(*open_scope)(Text name, Text traceparent, Text tracestate);
    void (*close_scope)(void *scope);

    // See idl6.cpp.
    void (*remember_interface)();
    void (*leak_interfaces)();

    // What libtango imports and calls for each request, as client and as server, and what is to be called instead; the
    // symbol is null where the library has none of that name. See identification.h.
    Import client_import;
    Import (*server_import)();
    const void *(*address)(); // of something in that library
};

extern const Binding binding_old_strings;
extern const Binding binding_new_strings;

// The binding that fits, or null. Binds once; later calls give the same answer.
const Binding *bind(const LoadedLibrary &library);

} // namespace tango_telemetry::idl6
