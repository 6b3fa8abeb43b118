// SPDX-License-Identifier: LGPL-3.0-or-later
#include "loaded_library.h"
#include "platform.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace tango_telemetry {

LoadedLibrary::LoadedLibrary(const char *path) noexcept :
    handle_{*path == '\0' ? nullptr : ::dlopen(path, RTLD_LAZY | RTLD_NOLOAD)} { }

void *LoadedLibrary::symbol(const char *name) const noexcept {
    return handle_ == nullptr ? nullptr : ::dlsym(handle_, name);
}

std::string file_of(const void *address) {
    Dl_info info{};
    if(address == nullptr || ::dladdr(address, &info) == 0 || info.dli_fname == nullptr) {
        return {};
    }
    return info.dli_fname;
}

namespace {

struct PatchRequest {
    const std::string &directory;
    const char *object_prefix;
    const char *symbol;
    void *replacement;
    ImportPatch result;
};

bool is_wanted_object(const char *path, const PatchRequest &request) {
    if(path == nullptr) {
        return false;
    }
    const char *slash = std::strrchr(path, '/');
    const char *name = slash == nullptr ? path : slash + 1;
    if(std::strncmp(name, request.object_prefix, std::strlen(request.object_prefix)) != 0) {
        return false;
    }
    return request.directory.empty() || request.directory.compare(0, std::string::npos, path, name - path) == 0;
}

// With full RELRO the dynamic loader has made the page read-only after relocation: lift that for one store.
bool store_in_slot(void **slot, void *value, bool read_only) {
    const auto page_size = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    void *page = reinterpret_cast<void *>(reinterpret_cast<std::uintptr_t>(slot) & ~(page_size - 1));
    if(read_only && ::mprotect(page, page_size, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    if(read_only) {
        ::mprotect(page, page_size, PROT_READ);
    }
    return true;
}

struct DynamicTables {
    const ElfW(Sym) *symbols = nullptr;
    const char *strings = nullptr;
    const ElfW(Rela) *relocations[2] = {nullptr, nullptr};
    std::size_t counts[2] = {0, 0};
};

DynamicTables read_dynamic(const ElfW(Dyn) *dynamic) {
    DynamicTables tables;
    for(; dynamic->d_tag != DT_NULL; ++dynamic) {
        switch(dynamic->d_tag) {
        case DT_SYMTAB:
            tables.symbols = reinterpret_cast<const ElfW(Sym) *>(dynamic->d_un.d_ptr);
            break;
        case DT_STRTAB:
            tables.strings = reinterpret_cast<const char *>(dynamic->d_un.d_ptr);
            break;
        case DT_JMPREL: // calls through the procedure linkage table
            tables.relocations[0] = reinterpret_cast<const ElfW(Rela) *>(dynamic->d_un.d_ptr);
            break;
        case DT_PLTRELSZ:
            tables.counts[0] = dynamic->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_RELA: // calls of code built with -fno-plt, as conda's is
            tables.relocations[1] = reinterpret_cast<const ElfW(Rela) *>(dynamic->d_un.d_ptr);
            break;
        case DT_RELASZ:
            tables.counts[1] = dynamic->d_un.d_val / sizeof(ElfW(Rela));
            break;
        default:
            break;
        }
    }
    return tables;
}

int patch_object(dl_phdr_info *info, std::size_t, void *data) {
    auto &request = *static_cast<PatchRequest *>(data);
    if(!is_wanted_object(info->dlpi_name, request)) {
        return 0;
    }
    const ElfW(Dyn) *dynamic = nullptr;
    std::uintptr_t relro_begin = 0;
    std::uintptr_t relro_end = 0;
    for(int i = 0; i < info->dlpi_phnum; ++i) {
        const auto &header = info->dlpi_phdr[i];
        if(header.p_type == PT_DYNAMIC) {
            dynamic = reinterpret_cast<const ElfW(Dyn) *>(info->dlpi_addr + header.p_vaddr);
        } else if(header.p_type == PT_GNU_RELRO) {
            relro_begin = info->dlpi_addr + header.p_vaddr;
            relro_end = relro_begin + header.p_memsz;
        }
    }
    if(dynamic == nullptr) {
        return 0;
    }
    const DynamicTables tables = read_dynamic(dynamic);
    if(tables.symbols == nullptr || tables.strings == nullptr) {
        return 0;
    }
    for(int t = 0; t < 2; ++t) {
        for(std::size_t i = 0; tables.relocations[t] != nullptr && i < tables.counts[t]; ++i) {
            const ElfW(Rela) &relocation = tables.relocations[t][i];
            const auto type = ELF64_R_TYPE(relocation.r_info);
            if(type != relocation_of_call && type != relocation_of_address) {
                continue;
            }
            const auto &symbol = tables.symbols[ELF64_R_SYM(relocation.r_info)];
            if(std::strcmp(tables.strings + symbol.st_name, request.symbol) != 0) {
                continue;
            }
            auto **slot = reinterpret_cast<void **>(info->dlpi_addr + relocation.r_offset);
            if(__atomic_load_n(slot, __ATOMIC_ACQUIRE) == request.replacement) {
                if(request.result == ImportPatch::not_found) {
                    request.result = ImportPatch::already_patched;
                }
                continue;
            }
            const auto address = reinterpret_cast<std::uintptr_t>(slot);
            const bool read_only = address >= relro_begin && address < relro_end;
            request.result =
                store_in_slot(slot, request.replacement, read_only) ? ImportPatch::patched : ImportPatch::failed;
        }
    }
    return 0;
}

} // namespace

ImportPatch patch_import(const std::string &directory, const char *object_prefix, const char *symbol,
                         void *replacement) noexcept {
    if(!is_known_platform) {
        return ImportPatch::not_found;
    }
    PatchRequest request{directory, object_prefix, symbol, replacement, ImportPatch::not_found};
    ::dl_iterate_phdr(patch_object, &request);
    return request.result;
}

} // namespace tango_telemetry
