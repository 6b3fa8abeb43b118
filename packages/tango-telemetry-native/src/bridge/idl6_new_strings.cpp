// SPDX-License-Identifier: LGPL-3.0-or-later
#define _GLIBCXX_USE_CXX11_ABI 1
#define STRINGS new_strings
#define BINDING binding_new_strings
#include "idl6_binding.inc"
