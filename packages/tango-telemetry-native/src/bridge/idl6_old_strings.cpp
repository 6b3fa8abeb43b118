// SPDX-License-Identifier: LGPL-3.0-or-later
#define _GLIBCXX_USE_CXX11_ABI 0
#define STRINGS old_strings
#define BINDING binding_old_strings
#include "idl6_binding.inc"
