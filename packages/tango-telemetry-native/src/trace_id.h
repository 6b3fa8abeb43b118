// SPDX-License-Identifier: LGPL-3.0-or-later
// A trace id, 128 bits, from and to Python's int.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <cstring>

namespace tango_telemetry {

// False with TypeError set for what is no int, and with OverflowError for one that is negative or has more bits.
inline bool read_trace_id(PyObject *number, std::uint64_t &high, std::uint64_t &low) {
    if(!PyLong_Check(number)) {
        PyErr_Format(PyExc_TypeError, "a trace id is an int, not %.100s", Py_TYPE(number)->tp_name);
        return false;
    }
    unsigned char bytes[16] = {0};
#if PY_VERSION_HEX >= 0x030D0000
    const Py_ssize_t needed = PyLong_AsNativeBytes(number, bytes, sizeof bytes,
                                                   Py_ASNATIVEBYTES_LITTLE_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER |
                                                       Py_ASNATIVEBYTES_REJECT_NEGATIVE);
    // A ValueError for a negative one; the function of older Pythons sets OverflowError.
    const bool good = needed >= 0 && needed <= static_cast<Py_ssize_t>(sizeof bytes);
#else
    const bool good = _PyLong_AsByteArray(reinterpret_cast<PyLongObject *>(number), bytes, sizeof bytes, 1, 0) >= 0;
#endif
    if(!good) {
        PyErr_SetString(PyExc_OverflowError, "a trace id has at most 128 bits and is not negative");
        return false;
    }
    std::memcpy(&low, bytes, 8);
    std::memcpy(&high, bytes + 8, 8);
    return true;
}

inline PyObject *make_trace_id(std::uint64_t high, std::uint64_t low) {
    if(high == 0) {
        return PyLong_FromUnsignedLongLong(low);
    }
    unsigned char bytes[16];
    std::memcpy(bytes, &low, 8);
    std::memcpy(bytes + 8, &high, 8);
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromUnsignedNativeBytes(bytes, sizeof bytes, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, sizeof bytes, 1, 0);
#endif
}

} // namespace tango_telemetry
