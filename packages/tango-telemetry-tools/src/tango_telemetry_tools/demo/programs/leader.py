"""A device server that calls other devices, traced. One import is all that it takes.

TANGO_TELEMETRY_ENABLE=on python leader.py demo
"""

import tango
import tango_telemetry_server  # noqa: F401  with TANGO_TELEMETRY_ENABLE=on: every request served, every call made
from tango.server import Device, attribute, command, device_property


class Leader(Device):
    """Turns its Followers on and off."""

    FollowerDevices = device_property(dtype=(str,), doc="the names of the Followers", mandatory=True)

    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)

    @attribute(doc="how many Followers there are")
    def followers(self) -> int:
        return len(self.FollowerDevices)

    @command(doc_in="the number of the Follower, from 1")
    def TurnFollowerOn(self, number: int) -> None:
        self._follower(number).isOn = True

    @command(doc_in="the number of the Follower, from 1")
    def TurnFollowerOff(self, number: int) -> None:
        self._follower(number).isOn = False

    def _follower(self, number: int) -> tango.DeviceProxy:
        return tango.DeviceProxy(self.FollowerDevices[number - 1])


if __name__ == "__main__":
    Leader.run_server()
