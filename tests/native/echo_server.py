"""A device server that tells what context it received. Runs on every PyTango from 9.3.6 on."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource

import tango
import tango_telemetry_native
from tango.server import Device, attribute, command, run
from tango_telemetry_native import giop, identification


def install():
    giop.install()
    if how := os.environ.get("ECHO_IDENTIFICATION"):  # "read", or "scopes" for cppTango's scopes too
        identification.install(scopes=how == "scopes")


install()


def show(context):
    """A context as text: "-" where there is none."""
    return "-" if context is None else "|".join(context)


def url(device):
    return "tango://127.0.0.1:{}/{}#dbase=no".format(os.environ["ECHO_PORT"], device)


class Echo(Device):
    stored = "never written"

    @command(dtype_out=str)
    def Incoming(self):
        return show(giop.get_incoming())

    @command(dtype_in=str, dtype_out=str)
    def IncomingOf(self, argument):
        return argument + " " + show(giop.get_incoming())

    @command(dtype_out=str)
    def Idl6(self):
        return "|".join(tango_telemetry_native.get_trace_context().values())

    @attribute(dtype=str)
    def idl6(self):
        return "|".join(tango_telemetry_native.get_trace_context().values())

    @attribute(dtype=str)
    def written6(self):
        return self.stored + " " + "|".join(tango_telemetry_native.get_trace_context().values())

    @written6.write
    def write_written6(self, value):
        self.stored = value + " " + "|".join(tango_telemetry_native.get_trace_context().values())

    @attribute(dtype=str)
    def incoming(self):
        return show(giop.get_incoming())

    @attribute(dtype=str)
    def written(self):
        return self.stored + " " + show(giop.get_incoming())

    @written.write
    def write_written(self, value):
        self.stored = value + " " + show(giop.get_incoming())

    @command(dtype_in=str, dtype_out=[str])
    def CallOn(self, device):
        """Calls another device; gives the incoming context before, there, and after."""
        seen = [show(giop.get_incoming())]
        previous = giop.set_outgoing(f"00-{0xCA11:032x}-{2:016x}-01", "on=1")
        seen.append(tango.DeviceProxy(device).Incoming())
        giop.restore_outgoing(previous)
        seen.append(show(giop.get_incoming()))
        return seen

    @command(dtype_in=str, dtype_out=[str])
    def CallOnWithNone(self, device):
        """As CallOn, with a call that is given no context on purpose."""
        seen = [show(giop.get_incoming())]
        previous = giop.set_outgoing("", "")
        seen.append(tango.DeviceProxy(device).Incoming())
        giop.restore_outgoing(previous)
        seen.append(show(giop.get_incoming()))
        return seen

    @command(dtype_in=str, dtype_out=str)
    def CallOnAsynch(self, device):
        """Calls another device asynchronously and gives what it saw."""
        previous = giop.set_outgoing(f"00-{0xCA11:032x}-{3:016x}-01", "on=1")
        proxy = tango.DeviceProxy(device)
        number = proxy.command_inout_asynch("Incoming")
        giop.restore_outgoing(previous)
        return proxy.command_inout_reply(number, 5000)

    @command(dtype_in=str, dtype_out=[str])
    def CallUnseen(self, device):
        """Calls another device twice, the second time with a context; gives what came here, there, there, and
        here again.
        """
        proxy = tango.DeviceProxy(device)
        seen = ["|".join(tango_telemetry_native.get_trace_context().values()), proxy.command_inout("Idl6")]
        previous = giop.set_outgoing(f"00-{0xCA11:032x}-{4:016x}-01", "tango=0000000000000004-01,on=1")
        seen.append(proxy.command_inout("Idl6"))
        giop.restore_outgoing(previous)
        seen.append("|".join(tango_telemetry_native.get_trace_context().values()))
        return seen

    @command(dtype_out=str)
    def IdentificationStatus(self):
        return json.dumps(identification.status())

    @command(dtype_out=str)
    def Status(self):
        return "Echo"

    @command(dtype_out=str)
    def GiopStatus(self):
        return json.dumps(giop.status())

    @command(dtype_out=int)
    def PeakMemory(self):
        """KiB."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @command(dtype_in=str, dtype_out=str)
    def Fork(self, how):
        """Forks; the child ends as multiprocessing ends it ("process") or by os._exit ("_exit"). Gives its
        status.

        exit(3) in such a child hangs on 10.1.5 and 10.3.1 without this product and with telemetry off, where
        cppTango destroys its ORB: so that is not tried.
        """
        if how == "process":
            child = multiprocessing.get_context("fork").Process(target=giop.status)
            child.start()
            child.join()
            return str(child.exitcode)
        pid = os.fork()
        if pid == 0:
            tango_telemetry_native.get_trace_context()
            os._exit(0)
        return str(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    if "ECHO_FIRST_CALL" in os.environ:  # a client that becomes a server: Util destroys the client's ORB
        tango.DeviceProxy(os.environ["ECHO_FIRST_CALL"]).ping()
    run([Echo], post_init_callback=install if "ECHO_NO_INSTALL" not in os.environ else None)
