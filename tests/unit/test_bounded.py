"""What is kept for later calls is bounded, and is no part of the object that it is kept for."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from itertools import count

from tango_telemetry.base.bounded import BoundedDict


def test_a_new_entry_takes_the_place_of_the_oldest() -> None:
    kept: BoundedDict[int, str] = BoundedDict(3)
    for number in range(5):
        kept[number] = str(number)
    assert dict(kept) == {2: "2", 3: "3", 4: "4"}


def test_a_known_key_takes_no_place() -> None:
    kept: BoundedDict[int, str] = BoundedDict(2)
    kept[1], kept[2] = "a", "b"
    kept[1] = "c"
    assert dict(kept) == {1: "c", 2: "b"}


def test_a_copy_begins_with_none() -> None:
    kept: BoundedDict[int, object] = BoundedDict(2)
    kept[1] = threading.Lock()  # what cannot be copied or pickled
    for made in (copy.copy(kept), copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert type(made) is BoundedDict
        assert not made
        made[1] = made[2] = made[3] = "x"
        assert len(made) == 2


def test_threads_that_fill_it_at_once() -> None:
    kept: BoundedDict[int, int] = BoundedDict(4)
    numbers, failed = count(), []

    def fill() -> None:
        try:
            for _ in range(20_000):
                kept[next(numbers)] = 1
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=fill) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not failed
    assert len(kept) <= 8  # each thread may add one beside the others
