"""The device at the end of the tests' traces: it does what it is told and asks nobody."""

import threading
import time

import tango_telemetry_server  # noqa: F401
from tango import Except
from tango.server import Device, attribute, command, run


class Follower(Device):
    """Everything that a client can ask for."""

    _position = 0.0
    _released = threading.Event()

    @attribute(dtype=bool)
    def isOn(self):
        return True

    @attribute(dtype=float)
    def position(self):
        return self._position

    @position.write
    def position(self, value):
        self._position = value

    @attribute(dtype=float)
    def broken(self):
        Except.throw_exception("SensorBroken", "no signal", "Follower.broken")

    @command(dtype_in=str, dtype_out=str)
    def Echo(self, text):
        return text

    @command
    def Go(self):
        pass

    @command
    def Fail(self):
        Except.throw_exception("FollowerIsOff", "turn it on first", "Follower.Fail")

    @command(dtype_in=int)
    def Sleep(self, milliseconds):
        time.sleep(milliseconds / 1000)

    @command
    def Push(self):
        self.set_change_event("position", True, False)
        self.push_change_event("position", self._position)


if __name__ == "__main__":
    run((Follower,))
