// SPDX-License-Identifier: LGPL-3.0-or-later
//
// The extension module _bridge. Policy (what to bind to, when, what to say when it is missing) is in Python.
#include "events.h"
#include "giop.h"
#include "python_face.h"

namespace tango_telemetry {
namespace {

void after_fork_in_child() {
    giop::after_fork_in_child();
    events::after_fork_in_child();
    keep_idl6_interfaces();
}

} // namespace
} // namespace tango_telemetry

PYBIND11_MODULE(_bridge, m) {
    using namespace tango_telemetry;
    pybind11::options options;
    options.disable_function_signatures();

    m.doc() = "Mechanisms of tango_telemetry_native: IDL v6 and GIOP service contexts.";
    m.attr("__version__") = TANGO_TELEMETRY_VERSION;
    m.attr("ABI_VERSION") = 9;
    add_environment(m);
    add_giop(m);
    add_idl6(m);
    add_events(m);
    add_scope_type(m);
    m.def("after_fork_in_child", &after_fork_in_child);
}
