"""A script, traced. The import of tango_telemetry_client is all that it takes; a tracer of its own names its
steps.

TANGO_TELEMETRY_ENABLE=on python client.py demo/leader/1 demo/follower/1 demo/follower/2
"""

import sys

import tango
import tango_telemetry_client  # noqa: F401  with TANGO_TELEMETRY_ENABLE=on, this traces every Tango call of this process
from tango_telemetry import get_tracer

tracer = get_tracer("my.app")


def check_followers(leader_name: str, follower_names: list[str]) -> None:
    leader = tango.DeviceProxy(leader_name)
    followers = [tango.DeviceProxy(name) for name in follower_names]

    with tracer.start_as_current_span("turn on"):
        for number in range(1, leader.followers + 1):
            leader.TurnFollowerOn(number)

    with tracer.start_as_current_span("move"):
        for follower in followers:
            follower.position = 12.5
            follower.read_attributes(["isOn", "position", "temperature"])

    with tracer.start_as_current_span("look at all together"):
        group = tango.Group("followers")
        group.add(follower_names)
        group.read_attribute("isOn")
        tango.AttributeProxy(f"{follower_names[0]}/temperature").read()
        database = tango.Database()
        database.put_device_property(leader_name, {"LastCheck": ["ok"]})
        database.get_device_property(leader_name, "LastCheck")

    with tracer.start_as_current_span("turn off"):
        for number in range(1, leader.followers + 1):
            leader.TurnFollowerOff(number)

    with tracer.start_as_current_span("calibrate"):
        try:
            followers[0].Calibrate()
        except tango.DevFailed as failure:
            print("calibration failed:", failure.args[0].desc)


if __name__ == "__main__":
    with tracer.start_as_current_span("check followers") as span:
        print(f"trace {span.get_span_context().trace_id:032x}")
        check_followers(sys.argv[1], sys.argv[2:])
