// SPDX-License-Identifier: LGPL-3.0-or-later
#include "idl6.h"

namespace tango_telemetry::idl6 {

const Binding *bind(const LoadedLibrary &library) {
    for(const Binding *candidate : {&binding_new_strings, &binding_old_strings}) {
        if(candidate->bind(library)) {
            return candidate;
        }
    }
    return nullptr;
}

} // namespace tango_telemetry::idl6
