"""A script that knows nothing of tracing."""

import sys

import tango

motor = tango.DeviceProxy(sys.argv[1])
print(motor.position)
