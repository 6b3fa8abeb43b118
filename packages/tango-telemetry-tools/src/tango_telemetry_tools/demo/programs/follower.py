"""A device server with several devices, traced. The import of tango_telemetry_server is all that it takes.

TANGO_TELEMETRY_ENABLE=on python follower.py demo
"""

import time

import tango
import tango_telemetry_server  # noqa: F401  with TANGO_TELEMETRY_ENABLE=on, this traces every device of this process
from tango.server import Device, attribute, command


class Follower(Device):
    """Something that can be switched on and moved."""

    def init_device(self) -> None:
        super().init_device()
        self._on = False
        self._position = 0.0
        self.set_state(tango.DevState.OFF)

    @attribute
    def isOn(self) -> bool:
        return self._on

    @isOn.write
    def isOn(self, on: bool) -> None:
        time.sleep(0.004)  # what a relay takes
        self._on = on
        self.set_state(tango.DevState.ON if on else tango.DevState.OFF)

    @attribute(unit="mm")
    def position(self) -> float:
        return self._position

    @position.write
    def position(self, position: float) -> None:
        time.sleep(0.008)  # what a motor takes
        self._position = position

    @attribute(unit="degC")
    def temperature(self) -> float:
        time.sleep(0.002)  # what a serial line takes
        return 36.6 if self._on else 21.4

    @command
    def Calibrate(self) -> None:
        if not self._on:
            tango.Except.throw_exception(
                "FollowerIsOff", f"{self.get_name()} is off: turn it on first", "Calibrate"
            )
        self._position = 0.0


if __name__ == "__main__":
    Follower.run_server()
