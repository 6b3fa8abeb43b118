"""A sequencer on gevent: greenlets that move a motor, a queue between them, a thread pool, events.

Usage: python sequencer.py thread=False|all MOTOR [MODULE ...]     # modules that it loads once it is patched

Its last line of output is what it measured, as JSON.
"""

import gevent.monkey

import sys  # isort: skip

FORM, MOTOR, *PLUGINS = sys.argv[1:]
if FORM == "all":
    gevent.monkey.patch_all()
else:
    gevent.monkey.patch_all(thread=False)

import importlib  # noqa: E402
import json  # noqa: E402
import queue  # noqa: E402

import gevent  # noqa: E402
import gevent.pool  # noqa: E402
import gevent.queue  # noqa: E402

for plugin in PLUGINS:
    importlib.import_module(plugin)

import tango  # noqa: E402
from tango.gevent import DeviceProxy as GreenProxy  # noqa: E402

Proxy = GreenProxy if FORM == "all" else tango.DeviceProxy


def main():
    motor = Proxy(MOTOR)
    done = gevent.queue.Queue() if FORM == "all" else queue.Queue()
    seen = []
    subscription = motor.subscribe_event("position", tango.EventType.CHANGE_EVENT, lambda e: seen.append(e))

    def step(number):
        motor.Move(float(number))
        gevent.sleep(0.01)
        done.put((number, motor.read_attribute("position").value is not None))

    group = gevent.pool.Group()
    for number in range(20):
        group.start(group.greenlet_class(step, number))
    group.join()
    try:
        motor.Move(1000.0)
        refused = ""
    except tango.DevFailed as error:
        refused = error.args[0].desc
    motor.position = 7.5
    with gevent.Timeout(10):
        while len(seen) < 5:
            gevent.sleep(0.02)
    motor.unsubscribe_event(subscription)
    pool = gevent.get_hub().threadpool
    steps = sorted(done.get() for _ in range(20))
    result = {
        "steps": len(steps),
        "read": all(read for _, read in steps),
        "refused": "ValueError" in refused,
        "position": motor.read_attribute("position").value,
        "pool": pool.apply(sum, ([1, 2, 3],)),
        "events": all(not event.err for event in seen),
    }
    print(json.dumps(result), flush=True)


main()
