"""A motor, as device servers have it: a position with events, a command, a state; an ordinary device
server.
"""

from tango import AttrWriteType, DevState
from tango.server import Device, attribute, command, run


class Motor(Device):
    _position = 0.0

    def init_device(self):
        super().init_device()
        self.set_state(DevState.ON)
        self.set_change_event("position", True, False)

    @attribute(dtype=float, access=AttrWriteType.READ_WRITE, unit="mm", format="%.2f")
    def position(self):
        return self._position

    @position.write
    def position(self, value):
        self.Move(value)

    @command(dtype_in=float)
    def Move(self, target):
        if not -100 <= target <= 100:
            raise ValueError(f"{target} is beyond the limits")
        self._position = target
        self.push_change_event("position", target)


if __name__ == "__main__":
    run((Motor,))
