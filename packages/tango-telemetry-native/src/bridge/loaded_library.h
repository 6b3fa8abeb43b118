// SPDX-License-Identifier: LGPL-3.0-or-later
//
// Finding what PyTango has already loaded. Wheels carry libtango and omniORB under hashed file names, so nothing
// can be linked to; but dlsym() on the handle of PyTango's extension searches the libraries that extension
// depends on, and only those: a second omniORB in the process (omniORBpy's) is never taken for PyTango's.
#pragma once

#include <string>

namespace tango_telemetry {

class LoadedLibrary {
  public:
    // `path`: a file that is loaded already. Never loads anything. The handle is never closed: what is bound
    // through it must stay mapped.
    explicit LoadedLibrary(const char *path) noexcept;

    explicit operator bool() const noexcept { return handle_ != nullptr; }

    void *symbol(const char *name) const noexcept;

    template <typename Function>
    bool bind(Function &function, const char *name) const noexcept {
        function = reinterpret_cast<Function>(symbol(name));
        return function != nullptr;
    }

  private:
    void *handle_;
};

// The file a symbol's code was loaded from; empty where that is not known.
std::string file_of(const void *address);

enum class ImportPatch { patched, already_patched, not_found, failed };

// Makes calls to the imported function `symbol` go to `replacement`, in every loaded object whose file name starts
// with `object_prefix` and that lies in directory `directory` ("" for any). Only calls that cross from one shared
// object to another are affected. Nothing else of the object is touched.
ImportPatch patch_import(const std::string &directory, const char *object_prefix, const char *symbol,
                         void *replacement) noexcept;

} // namespace tango_telemetry
