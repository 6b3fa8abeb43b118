"""Who called: what cppTango knows of the client whose request a handler serves."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Mapping
from typing import Any

from tango_telemetry import semantic_conventions as names
from tango_telemetry.instrumentation import BoundedDict

__all__ = ["POLLED", "client_ident_attributes", "describe_client", "known_clients", "tells_clients"]

_PID = r"\bPID=(\d{1,10})\b"
POLLED: Mapping[str, Any] = {names.TANGO_POLLING: True}
"""The attributes of a call that cppTango's polling makes."""
_FOREIGN: type = getattr(threading, "_DummyThread")  # noqa: B009 - what current_thread() gives for C++'s threads
known_clients: BoundedDict[tuple[Any, ...], Mapping[str, Any]] = BoundedDict(256)
"""What :func:`describe_client` gave, by ``(address, process id)`` where there is one."""
_tango: Any = None


def tells_clients() -> bool:
    """Whether this PyTango says who called (>= 10.1)."""
    return hasattr(importlib.import_module("tango").DeviceImpl, "get_client_ident")


def client_ident_attributes(device: Any, lifecycle: bool) -> Mapping[str, Any] | None:
    """Return the span attributes of the client that made the running request.

    On one of C++'s own threads without a client ident it is cppTango's polling that calls, but for the
    device's ``lifecycle`` (a server that ends deletes its devices on such a thread). The main thread, which
    starts the server and writes memorized attributes, and a user's ``EnsureOmniThread`` are Python's.
    ``get_client_ident`` may crash on other threads (PyTango 10.3's own remark), so it is not called there.
    """
    global _tango
    if _tango is None:
        import tango as _tango
    get_ident = getattr(device, "get_client_ident", None)  # PyTango >= 10.1
    if get_ident is None or not _tango.is_omni_thread():
        return None
    ident = get_ident()
    if ident is None:
        polled = not lifecycle and isinstance(threading.current_thread(), _FOREIGN)
        return POLLED if polled else None
    return describe_client(ident)


def describe_client(ident: Any) -> Mapping[str, Any]:
    """Return the span attributes of a client, made once for each."""
    pid = ident.client_pid
    # The address names the connection. A process id settles the rest; Java clients, which have none, send a
    # class name.
    key = (ident.client_ip, pid) if pid else (ident.client_ip, ident.client_lang, ident.java_main_class)
    known = known_clients.get(key)
    if known is None:
        known = known_clients[key] = _describe(ident)
    return known


def _describe(ident: Any) -> Mapping[str, Any]:
    languages = _tango.LockerLanguage
    attributes: dict[str, Any] = {
        names.TANGO_CLIENT_IDENT_LOCATION: str(ident.client_ip),
        names.TANGO_CLIENT_IDENT_LANG: str(ident.client_lang),
    }
    if ident.client_lang in (languages.JAVA, getattr(languages, "JAVA_6", languages.JAVA)):
        main_class = str(ident.java_main_class)
        attributes[names.TANGO_CLIENT_IDENT_JAVA_MAIN_CLASS] = main_class
        attributes[names.TANGO_CLIENT_IDENT_JAVA_IDENT] = f"{ident.java_ident[0]:x}{ident.java_ident[1]:x}"
        found = re.search(_PID, main_class)
        if found:
            attributes[names.TANGO_CLIENT_IDENT_PID] = int(found[1])
    else:
        attributes[names.TANGO_CLIENT_IDENT_PID] = int(ident.client_pid)
    return attributes
