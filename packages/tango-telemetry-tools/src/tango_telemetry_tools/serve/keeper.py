"""The thread that keeps the store: what came in is written, folders are read, bounds are held."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

from ..store.database import Store, StoreDamagedError
from ..store.feed import Feeder
from ..viewer import selection
from ..viewer.reader import Problems

_FLUSH_SECONDS = 0.2
_POLL_SECONDS = 0.5
_TRIM_SECONDS = 60.0


def keep(store: Store, places: Collection[Path], stop: threading.Event) -> None:
    """Do so until `stop` is set."""
    problems = Problems(report=selection.reporter("serve"))

    def read_from_the_beginning() -> Feeder:
        return Feeder(store, places, problems, live=True, stopped=stop.is_set)

    feeder = read_from_the_beginning()
    waited = trimmed = 0.0
    while not stop.wait(_FLUSH_SECONDS):
        waited += _FLUSH_SECONDS
        trimmed += _FLUSH_SECONDS
        try:
            store.flush()
            if places and waited >= _POLL_SECONDS:
                waited = 0.0
                feeder.poll()
            if trimmed >= _TRIM_SECONDS:
                trimmed = 0.0
                store.trim()
        except StoreDamagedError:
            # Said, set aside, and a new one is there.
            feeder = read_from_the_beginning()
