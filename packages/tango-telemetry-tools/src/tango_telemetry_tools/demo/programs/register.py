"""Tell the database server which devices there are: python register.py COUNT.

What `tango_admin` or Jive does elsewhere.
"""

import sys
import time

import tango

TIMEOUT = 30.0


def connect() -> tango.Database:
    """Wait for the database: its port is open a moment before it can answer."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            database = tango.Database()
            database.get_info()
            return database
        except tango.DevFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def register(followers: int) -> None:
    """Register one Leader, its Followers, and which they are."""
    names = [f"demo/follower/{number}" for number in range(1, followers + 1)]
    database = connect()
    for server, device_class, devices in (
        ("Leader/demo", "Leader", ["demo/leader/1"]),
        ("Follower/demo", "Follower", names),
    ):
        infos = []
        for name in devices:
            info = tango.DbDevInfo()
            info.server, info._class, info.name = server, device_class, name
            infos.append(info)
        database.add_server(server, infos, with_dserver=True)
    database.put_device_property("demo/leader/1", {"FollowerDevices": names})


if __name__ == "__main__":
    register(int(sys.argv[1]))
