// SPDX-License-Identifier: LGPL-3.0-or-later
//
// What cppTango is told where it asks for an environment variable of its telemetry, so that the environment of the
// process stays as the user set it: children inherit that.
//
// cppTango asks through libtango's import of getenv(), in ApiUtil::get_env_var() and beside it (seen in 9.5.1, 10.0.3,
// 10.1.5 and 10.3.1; PyTango's own extension module does not import getenv).
#include "loaded_library.h"
#include "python_face.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace py = pybind11;

namespace tango_telemetry {
namespace {

using Answers = std::map<std::string, std::optional<std::string>, std::less<>>;

constexpr char prefix[] = "TANGO_TELEMETRY_";

// Replaced as a whole and never freed: cppTango keeps no copy of what getenv() returns, and asks on any thread.
std::atomic<const Answers *> answers{nullptr};

const char *get_variable(const char *name) noexcept {
    if(std::strncmp(name, prefix, sizeof(prefix) - 1) == 0) {
        if(const Answers *const known = answers.load(std::memory_order_acquire); known != nullptr) {
            if(const auto found = known->find(std::string_view{name}); found != known->end()) {
                return found->second ? found->second->c_str() : nullptr;
            }
        }
    }
    return std::getenv(name);
}

bool set_answers(const py::dict &given) {
    auto *const fresh = new Answers;
    for(const auto &[name, value] : given) {
        fresh->emplace(name.cast<std::string>(),
                       value.is_none() ? std::nullopt : std::optional{value.cast<std::string>()});
    }
    // Beforehand: libtango may ask on another thread as soon as its import is patched.
    answers.store(fresh, std::memory_order_release);
    if(fresh->empty()) {
        return true;
    }
    const ImportPatch done = patch_import("", "libtango", "getenv", reinterpret_cast<void *>(&get_variable));
    if(done == ImportPatch::patched || done == ImportPatch::already_patched) {
        return true;
    }
    answers.store(nullptr, std::memory_order_release);
    return false;
}

} // namespace

void add_environment(py::module_ &m) { m.def("environment_answer", &set_answers, py::arg("given")); }

} // namespace tango_telemetry
