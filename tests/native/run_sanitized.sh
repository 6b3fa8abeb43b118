#!/usr/bin/env bash
# Runs the tests of the native package, and those that hold it against the SDK (tests/contract), with the extension modules
# under AddressSanitizer and UndefinedBehaviorSanitizer.
# Usage: PYTHON=.venv/bin/python tests/native/run_sanitized.sh [pytest arguments]
# PYTHON needs PyTango, pytest, hypothesis and pybind11; the build goes into a temporary directory.
set -euo pipefail

python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
package=$(cd "$here/../../packages/tango-telemetry-native" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"
cmake -S "$package" -B "$build/cmake" \
    -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="$flags" -DSKBUILD_PROJECT_VERSION=0.1.0 \
    -DPYTHON_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" -DCMAKE_INSTALL_PREFIX="$build/package" >"$build/log" ||
    { cat "$build/log"; exit 1; }
cmake --build "$build/cmake" --target install >"$build/log" || { cat "$build/log"; exit 1; }
cp -r "$package/src/tango_telemetry_native" "$build/package/"

# Leaks are not looked for: the interpreter leaves memory behind on purpose, and so does this package (giop.cpp).
# libstdc++ is named because AddressSanitizer looks for __cxa_throw before PyTango brings it.
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so) $(g++ -print-file-name=libstdc++.so.6)"
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"
export PYTHONPATH="$build/package${PYTHONPATH:+:$PYTHONPATH}"
"$python" -c "import tango_telemetry_native as n; print('testing', n.__file__)"
"$python" -m pytest "$here" "$here/../contract" -q -p no:cacheprovider --deselect "$here/test_stubs.py" "$@"
