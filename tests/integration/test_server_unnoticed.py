"""A device class behaves with tracing as without, and each request is one trace that says what was
asked for.
"""

from __future__ import annotations

import pytest
from integration.support import PYTANGO, System
from receiver import ReceivedSpan

needs_fisallowed = pytest.mark.skipif(PYTANGO < (9, 4), reason="command(fisallowed=…) is new in PyTango 9.4")
# Of several DeviceTestContexts in one process the second hangs, now and then on 10.0 and 10.1 (untraced too).
needs_contexts = pytest.mark.skipif(
    PYTANGO < (10, 3), reason="a second DeviceTestContext in one process hangs"
)

# Prints what PyTango and the program find; run with tracing and without.
REFLECTION = """
import functools, inspect, os
if os.environ.get("TANGO_TELEMETRY_ENABLE") == "on":
    import tango_telemetry_server
import tango
from tango.server import Device, attribute, command
from tango.test_context import DeviceTestContext, MultiDeviceTestContext

class Mixin:
    def Park(self):
        return "parked"

class Base(Mixin, Device):
    @attribute
    def speed(self) -> float:
        return 1.5
    @command
    def Go(self, distance: float) -> float:
        '''Go there.'''
        return distance
    @command(fisallowed="may_move")
    def Stop(self): pass
    def may_move(self):
        return True
    Go.of_the_user = "kept"

    def init_device(self):
        super().init_device()
        for name in ("Park", "Home"):
            self.add_command(command(f=getattr(self, name)))
        self.add_command(command(f=self.Odd, fisallowed=lambda device: True))
        for name in ("first", "second"):
            self.add_attribute(attribute(name=name, dtype=float, fget=self.read_any))
        self.add_attribute(attribute(name="third", dtype=float, fget=lambda device, attr: 2.0))
    def Home(self): ...
    def Odd(self): ...
    def read_any(self, attr):
        return 3.0

def look(device_class):
    with DeviceTestContext(device_class, process=False) as proxy:
        for _ in range(3):
            print(sorted(proxy.get_command_list()), sorted(proxy.get_attribute_list()), proxy.Go(2.0), proxy.third)
            proxy.Init()
    for name in ("Go", "Stop", "may_move", "init_device", "Home"):
        found = getattr(device_class, name)
        print(name, found.__name__, found.__qualname__, found.__module__, found.__doc__, inspect.signature(found),
              sorted(key for key in vars(found) if key not in ("__tango_telemetry__", "__wrapped__")),
              type(vars(device_class).get(name)).__name__)

look(Base)

class Derived(Base):
    @command
    def More(self):
        return super().Go(1.0)
    def Park(self):
        return super().Park()

look(Derived)
look(Base)

class Again(Derived):
    pass

with MultiDeviceTestContext([{"class": Again, "devices": [{"name": "a/b/1"}]}, {"class": Base, "devices": [{"name": "a/b/2"}]}],
                            process=False) as context:
    for name in ("a/b/1", "a/b/2"):
        print(sorted(context.get_device(name).get_command_list()))
print("end", flush=True)
os._exit(0)
"""  # noqa: E501


CHANGED_LATER = """
import os
if os.environ.get("TANGO_TELEMETRY_ENABLE") == "on":
    import tango_telemetry_server
import tango
from tango.server import Device, attribute, command
from tango.test_context import MultiDeviceTestContext

class Base(Device):
    def init_device(self):
        super().init_device()
        self.log = ["init"]
    def always_executed_hook(self):
        self.log.append("hook")
    @command(dtype_out=str)
    def Log(self):
        return str(self.log)
    level = attribute(dtype=float)
    def read_level(self):
        return 1.0
    def read_attr_hardware(self, numbers):
        self.log.append("hardware")

class Derived(Base):
    pass
class Mixin(Base):
    pass
class Diamond(Derived, Mixin):  # what Mixin is given comes before what Base has
    pass

def look():
    for number, device_class in enumerate(CLASSES):
        proxy = context.get_device(f"a/b/{number}")
        proxy.Init()
        print(device_class.__name__, proxy.level, proxy.state(), proxy.status(), proxy.Log())

def init(self):
    Device.init_device(self)
    self.log = ["init of another kind"]

CLASSES = (Derived, Diamond, Base)
devices = [{"class": each, "devices": [{"name": f"a/b/{number}"}]} for number, each in enumerate(CLASSES)]
with MultiDeviceTestContext(devices, process=False) as context:
    look()
    Base.init_device = init
    Base.always_executed_hook = lambda self: self.log.append("another hook")
    Base.dev_state = lambda self: tango.DevState.MOVING
    Mixin.dev_status = lambda self: "mixed"
    Mixin.always_executed_hook = lambda self: self.log.append("hook of the mixin")
    look()
    Device.dev_status = lambda self: "of all"
    look()
print("end", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("program", [pytest.param("REFLECTION", marks=needs_contexts), "CHANGED_LATER"])
def test_reflection_finds_what_it_finds_without_tracing(program: str) -> None:
    """And what a base class is given later, by a test's ``mock.patch`` as a rule, is what is called."""
    outputs = []
    for enable in ("off", "on"):
        with System(TANGO_TELEMETRY_ENABLE=enable) as system:
            text = system.run_client(globals()[program])
        # cppTango writes its line where it likes between those of Python.
        outputs.append(text.replace("Ready to accept request", "").split())
    assert outputs[0][-1] == "end"
    assert outputs[0] == outputs[1]


SHARED = """
import functools
import tango_telemetry_server
import tango
from tango.server import Device, attribute, command, run

def of_nobody(device):
    return False

class Shared(Device):
    @command(fisallowed="may")
    def On(self): pass
    @command(fisallowed="may")
    def Off(self): pass
    @command(fisallowed=of_nobody)
    def Reset(self): pass
    @command(fisallowed=of_nobody)
    def ResetAll(self): pass
    x = attribute(dtype=float, fget="read_any", fisallowed="may_read")
    x_y = attribute(dtype=float, fget="read_any", fisallowed="may_read")

    def init_device(self):
        super().init_device()
        for name in ("go", "go_on"):
            method = functools.partial(self.act)
            functools.update_wrapper(method, self.act)
            method.__name__ = name
            self.add_command(command(f=method, fisallowed=self.may))
        for name in ("a", "a_b", "a_b_read"):
            self.add_attribute(attribute(name=name, dtype=float, fget=self.read_plain, fisallowed=self.may_read))
            self.add_attribute(attribute(name=f"{name}_open", dtype=float, fget=self.read_plain))
    def act(self): pass
    def may(self):
        return False
    def may_read(self, request):
        return False
    def read_any(self):
        return 1.0
    def read_plain(self, attr):
        return 1.0

class Low(tango.LatestDeviceImpl):
    def __init__(self, cls, name):
        super().__init__(cls, name)
        self.init_device()
    def init_device(self):
        self.get_device_properties(self.get_device_class())
    def Fast(self): pass
    def Slow(self): pass
    def may(self):
        return False
    def read_p(self, attr):
        attr.set_value(1.0)
    read_q = read_p

class LowClass(tango.DeviceClass):
    cmd_list = {
        name: [[tango.DevVoid], [tango.DevVoid], {"Is allowed": "may"}] for name in ("Fast", "Slow")
    }
    attr_list = {name: [[tango.DevDouble, tango.SCALAR, tango.READ]] for name in ("p", "q")}

run([(LowClass, Low), Shared])
"""  # noqa: E501
REFUSED = """
import sys, tango
import tango_telemetry_client
def attempt(function, *args):
    try:
        function(*args)
    except tango.DevFailed:
        return
    raise AssertionError(args)
proxy = tango.DeviceProxy(sys.argv[1])
low = tango.DeviceProxy(sys.argv[2])
for name in ("On", "Off", "Reset", "ResetAll", "go", "go_on"):
    attempt(proxy.command_inout, name)
for name in ("x", "x_y", "a", "a_b", "a_b_read"):
    attempt(proxy.read_attribute, name)
for name in ("a_open", "a_b_open", "a_b_read_open"):
    proxy.read_attribute(name)
for name in ("Fast", "Slow"):
    attempt(low.command_inout, name)
for name in ("p", "q"):
    low.read_attribute(name)
"""


def _subject(span: ReceivedSpan) -> str | None:
    found = span.attributes.get("tango.command.name") or span.attributes.get("tango.attribute.name")
    return None if found is None else str(found)


@needs_fisallowed
@pytest.mark.parametrize("traced", [True, False])
def test_a_span_names_what_was_asked_for_and_not_the_function(traced: bool) -> None:
    with System() as system:
        server = system.start_server(SHARED, "Shared/test", "Low::test/low/1", "Shared::test/shared/1")
        system.clear()
        names = [server.proxy_name(name) for name in ("test/shared/1", "test/low/1")]
        # Off, because PyTango's built-in tracing would trace the client otherwise.
        untraced = {} if traced else {"TANGO_TELEMETRY_ENABLE": "off"}
        system.run_client(REFUSED, *names, **untraced)
        spans = [span for span in system.collect() if span.kind != "CLIENT"]
    refused = [
        "On",
        "Off",
        "Reset",
        "ResetAll",
        "go",
        "go_on",
        "x",
        "x_y",
        "a",
        "a_b",
        "a_b_read",
        "Fast",
        "Slow",
    ]
    read = ["a_open", "a_b_open", "a_b_read_open", "p", "q"]
    assert [_subject(span) for span in sorted(spans, key=lambda span: span.start_ns)] == [
        *refused[:11],
        *read[:3],
        *refused[11:],
        *read[3:],
    ]
    for span in spans:
        assert str(_subject(span)) in span.name.replace("_allowed", "").split("is_")[-1]
        if _subject(span) in refused:
            assert span.attributes["error.type"] in ("API_CommandNotAllowed", "API_AttrNotAllowed")
        if not traced:
            assert span.kind == "SERVER"
            assert not span.parent_span_id


HOOKED = """
import tango_telemetry_server
from tango import AttrWriteType
from tango.server import Device, attribute, command, run

class Hooked(Device):
    level = attribute(dtype=float, access=AttrWriteType.READ_WRITE)
    hidden = attribute(dtype=float)
    def always_executed_hook(self): pass
    def read_attr_hardware(self, indexes): pass
    def write_attr_hardware(self, indexes): pass
    def is_Go_allowed(self):
        return True
    def is_level_allowed(self, request):
        return True
    @command
    def Go(self): pass
    def read_level(self):
        return 1.0
    def write_level(self, value): pass
    def read_hidden(self):
        return 1.0

run((Hooked,))
"""
REQUESTS = """
import sys, tango
proxy = tango.DeviceProxy(sys.argv[1])
for _ in range(2):
    proxy.command_inout("Go")
    proxy.read_attribute("level")
    proxy.write_attribute("level", 2.0)
    proxy.read_attribute("hidden")
    proxy.state()
"""
HOOKS = {
    "always_executed_hook",
    "read_attr_hardware",
    "write_attr_hardware",
    "is_Go_allowed",
    "is_level_allowed",
}


def _is_hook(span: ReceivedSpan) -> bool:
    return span.name.partition(".")[2] in HOOKS


def _ask_hooked(client: str, untraced: bool = False, **environment: str) -> list[ReceivedSpan]:
    with System(**environment) as system:
        server = system.start_server(HOOKED, "Hooked/test", "test/hooked/1")
        system.clear()
        off = {"TANGO_TELEMETRY_ENABLE": "off"} if untraced else {}
        system.run_client(client + REQUESTS, server.proxy_name("test/hooked/1"), **off)
        return [span for span in system.collect() if span.name.startswith("Hooked.")]


def test_hooks_of_an_untraced_caller_begin_no_trace() -> None:
    spans = _ask_hooked("", untraced=True)
    assert len(spans) == len({span.trace_id for span in spans}) == 10
    assert all(span.kind == "SERVER" and not span.parent_span_id for span in spans)


@pytest.mark.parametrize(
    ("variable", "value", "left_out"),
    [
        ("PYTANGO_TELEMETRY_EXCLUDE", "attribute:hidden", {"read hidden"}),
        ("PYTANGO_TELEMETRY_EXCLUDE", "command:Go,attribute:level", {"Go", "read level", "write level"}),
        ("PYTANGO_TELEMETRY_STATE_STATUS", "off", {"dev_state"}),
    ],
)
def test_hooks_are_left_out_with_their_request(variable: str, value: str, left_out: set[str]) -> None:
    # The client is not told: it goes on sending its context with what the server leaves out.
    client = f"import os\nos.environ.pop('{variable}', None)\nimport tango_telemetry_client\n"
    spans = _ask_hooked(client, **{variable: value})
    handlers = [span for span in spans if not _is_hook(span)]
    everything = ["Go", "dev_state", "read hidden", "read level", "write level"]
    assert sorted(span.name.partition(".")[2] for span in handlers) == sorted(
        2 * [name for name in everything if name not in left_out]
    )
    hooks = [span for span in spans if _is_hook(span)]
    assert hooks
    requests = {span.parent_span_id for span in handlers}
    assert all(span.parent_span_id in requests for span in hooks)


MIXED = """
import tango_telemetry_server
from tango.server import Device, attribute, command
class Mixed(Device):
    @attribute
    def level(self) -> float:
        return 1.0
    @command
    def Push(self) -> None:
        self.push_change_event("level", 1.0, 0.0, tango.AttrQuality.ATTR_VALID)
    def init_device(self):
        super().init_device()
        self.set_change_event("level", True, False)
import tango
if __name__ == "__main__":
    Mixed.run_server()
"""


@pytest.mark.parametrize("excluded", [False, True])
def test_a_device_has_one_name_in_all_spans_however_it_is_written(excluded: bool) -> None:
    """In the server's list and in a client's; one pattern leaves it out of all spans."""
    client = """
    import sys, tango, tango_telemetry_client
    name = sys.argv[1]
    head, _, tail = name.partition("/Test/")
    for written in (name, head + "/tEST/mIXED/1#dbase=no", head + "/test/mixed/1#dbase=no"):
        proxy = tango.DeviceProxy(written)
        proxy.Push(); proxy.read_attribute("Level"); proxy.ping()
        tango.AttributeProxy(written.replace("#", "/Level#")).read()
    """
    settings = {"PYTANGO_TELEMETRY_EXCLUDE": "device:TEST/Mixed/*"} if excluded else {}
    with System(**settings) as system:
        server = system.start_server(MIXED, "Mixed/test", "Test/Mixed/1")
        system.clear()
        system.run_client(client, server.proxy_name("Test/Mixed/1"))
        spans = system.collect()
    assert {span.attributes.get("tango.device.name") for span in spans} == (
        set() if excluded else {"test/mixed/1"}
    )
    assert excluded or {span.kind for span in spans} == {"CLIENT", "SERVER", "PRODUCER"}
