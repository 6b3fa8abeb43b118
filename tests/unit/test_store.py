"""The store: spans as they were, each once, whatever happens to the files, to the store's own file, and to
its bounds.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from tango_telemetry_tools.store import database, feed
from tango_telemetry_tools.store.criteria import Criteria, parse_duration, parse_time
from tango_telemetry_tools.store.database import Store, StoreBusyError, StoreDamagedError
from tango_telemetry_tools.store.feed import Feeder
from tango_telemetry_tools.store.queries import compare, device_map, find_traces, operation_totals, top
from tango_telemetry_tools.viewer.model import Event, Link, Resource, Span
from tango_telemetry_tools.viewer.reader import Problems, find_files, read_spans
from trace_files import MS, SECOND, append, call, line, span

NOW = 1_760_000_000 * SECOND


def fill(*lines: str, folder: Path) -> Store:
    append(folder / "a.jsonl", *lines)
    store = Store()
    Feeder(store, [folder], Problems()).poll()
    return store


def count(store: Store) -> int:
    return int(store.query("select count(*) from spans")[0][0])


@pytest.mark.parametrize("text", ["plain", "é€", "\x1b[2J\x00\u202e", "a\ud800b", '"]},{', "x" * 5000])
def test_a_span_comes_out_as_it_went_in(text: str) -> None:
    pairs = (
        (text, text),
        ("list", (text, 1, (2.5,))),
        ("map", {text: (True,)}),
        ("none", None),
        ("big", 1 << 62),
    )
    original = Span(
        trace_id="f" * 32,
        span_id="f" * 16,
        parent_id="e" * 16,
        name=text,
        kind="client",
        start=5,
        end=8,
        resource=Resource(text, text, pairs),
        scope=text,
        is_error=True,
        status_message=text,
        trace_state=text,
        attributes=pairs,
        events=(Event((1 << 64) - 1, text, pairs),),
        links=(Link("1" * 32, "2" * 16, pairs),),
    )
    store = Store()
    store.add([original])
    store.flush()
    assert store.trace("f" * 32) == [original]
    assert store.find("ffff") == ["f" * 32]


def test_times_out_of_range_do_not_stop_the_rest(tmp_path: Path) -> None:
    late = span(1, 1, "late", (1 << 64) - 5, 1)
    backwards = span(2, 2, "backwards", NOW, -5 * SECOND)
    store = fill(line("s", [late, backwards, span(3, 3, "good", NOW, 5)]), folder=tmp_path)
    assert {trace.name for trace in find_traces(store, Criteria()).traces} == {"late", "backwards", "good"}


def _grow(path: Path) -> None:
    append(path, call(2, 20, "Stop", "a/b/c", NOW + SECOND, MS))


def _rename(path: Path) -> None:
    path.rename(path.with_name("a.jsonl.1"))
    append(path, call(2, 20, "Stop", "a/b/c", NOW + SECOND, MS))


def _compress(path: Path) -> None:
    with gzip.open(path.with_name("a-1.jsonl.gz"), "wb") as stream:
        stream.write(path.read_bytes())
    path.unlink()
    append(path, call(2, 20, "Stop", "a/b/c", NOW + SECOND, MS))


def _copy(path: Path) -> None:
    _grow(path)
    shutil.copy(path, path.with_name("copy.jsonl"))


def _diverge(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.jsonl"))
    append(path.with_name("copy.jsonl"), "\n", call(2, 20, "Stop", "a/b/c", NOW + SECOND, MS))


def _rewrite(path: Path) -> None:
    first = path.read_text().splitlines(keepends=True)[0]
    path.write_text(first + call(2, 20, "Stop", "a/b/c", NOW + SECOND, MS))


@pytest.mark.parametrize("change", [_grow, _rename, _compress, _copy, _diverge, _rewrite])
def test_each_span_is_read_once(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder, path = tmp_path / "spans", tmp_path / "spans" / "a.jsonl"
    folder.mkdir()
    append(path, call(1, 10, "Move", "a/b/c", NOW, MS))
    with Store(tmp_path / "s.duckdb") as store:
        feeder = Feeder(store, [folder], Problems())
        assert (feeder.poll(), feeder.poll()) == (2, 0)
        change(path)
        assert (feeder.poll(), feeder.poll()) == (2, 0)
    # Another process later reads nothing twice either.
    with Store(tmp_path / "s.duckdb") as store:
        assert Feeder(store, [folder], Problems()).poll() == 0
        assert count(store) == 4


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    whole = call(1, 10, "Move", "a/b/c", NOW, MS)
    path = tmp_path / "a.jsonl"
    path.write_text(whole[:-40])
    problems = Problems()
    store = Store()
    assert Feeder(store, [tmp_path], problems, live=True).poll() == 1
    assert problems.found == []
    feeder = Feeder(store, [tmp_path], problems)
    assert feeder.poll() == 0
    assert "cut off" in problems.found[0].message
    path.write_text(whole)
    assert feeder.poll() == 1
    assert count(store) == 2


def test_reading_ends_when_it_is_told_to_and_goes_on_where_it_was(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", *(call(n, 10 * n, "Move", "a/b/c", NOW, MS) for n in range(1, 6)))
    append(tmp_path / "b.jsonl", call(9, 90, "Move", "a/b/c", NOW, MS))
    told = iter([False, False, False, True, True])
    with Store(tmp_path / "s.duckdb") as store:
        assert Feeder(store, [tmp_path], Problems(), stopped=lambda: next(told)).poll() == 3
    with Store(tmp_path / "s.duckdb") as store:
        assert Feeder(store, [tmp_path], Problems()).poll() == 9
        assert count(store) == 12


@pytest.mark.parametrize("cut", [-1, -9, 40])
def test_a_compressed_file_that_is_cut_off_is_named_and_the_rest_read(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl.gz"
    with gzip.open(path, "wb") as stream:
        stream.write(call(1, 10, "Move", "a/b/c", NOW, MS).encode())
    path.write_bytes(path.read_bytes()[:cut])
    append(tmp_path / "b.jsonl", call(2, 20, "Stop", "a/b/c", NOW, MS))
    problems = Problems()
    store = Store()
    Feeder(store, [tmp_path], problems).poll()
    assert [(problem.path, problem.message.split(":")[0]) for problem in problems.found] == [
        (str(path), "damaged or cut off")
    ]
    assert [trace.name for trace in find_traces(store, Criteria(operation="Stop")).traces] == [
        "command_inout Stop"
    ]
    assert list(read_spans(find_files([path], Problems()), Problems())) is not None


def test_problems_are_remembered_for_the_next_command(tmp_path: Path) -> None:
    folder = tmp_path / "spans"
    folder.mkdir()
    append(folder / "a.jsonl", call(1, 10, "Move", "a/b/c", NOW, MS), "{}\n")
    for _ in range(2):
        with Store(tmp_path / "s.duckdb") as store:
            Feeder(store, [folder], Problems()).poll()
            assert [(line, message[:9]) for _, line, message in feed.known_problems(store)] == [
                (3, "JSON, but")
            ]


def test_the_same_by_file_and_otlp_counts_once(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", call(1, 10, "Move", "a/b/c", NOW, MS))
    spans = list(read_spans([tmp_path / "a.jsonl"], Problems()))
    store = Store()
    store.add([*spans, *spans])
    store.flush()
    store.add(spans)
    store.flush()
    assert count(store) == 2


@pytest.mark.parametrize(
    "damage", [lambda old: b"garbage" * 999, lambda old: old[:5000], lambda old: b"", None]
)
def test_a_damaged_store_is_set_aside_and_said(
    tmp_path: Path, damage: Callable[[bytes], bytes] | None
) -> None:
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        store.query("select 1")
    if damage is None:
        damage = lambda old: old[:8192] + bytes(byte ^ 0x5A for byte in old[8192:])  # noqa: E731
    path.write_bytes(damage(path.read_bytes()))
    said: list[str] = []
    with Store(path, said.append) as store:
        assert count(store) == 0
    aside = list(tmp_path.glob("s.duckdb.damaged-*"))
    if path.stat().st_size and said:
        assert len(aside) == len(said) == 1
        assert str(aside[0]) in said[0]


class _Damaged:
    """A connection that finds a block whose checksum is wrong, as DuckDB says it."""

    def execute(self, *arguments: object) -> None:
        raise duckdb.Error(
            "Corrupt database file: computed checksum 1 does not match stored checksum 2 in block at "
            "location 8192"
        )

    def close(self) -> None:
        pass


def test_a_store_that_turns_out_damaged_later_is_set_aside_too(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", *(call(n, 10 * n, "Move", "a/b/c", NOW + n, MS) for n in range(1, 20)))
    said: list[str] = []
    with Store(tmp_path / "s.duckdb", said.append) as store:
        Feeder(store, [tmp_path], Problems()).poll()
        store._connection.close()
        store._connection = _Damaged()  # type: ignore[assignment]
        with pytest.raises(StoreDamagedError):
            count(store)
        assert len(said) == 1
        assert list(tmp_path.glob("s.duckdb.damaged-*"))
        assert count(store) == 0
        assert Feeder(store, [tmp_path], Problems()).poll() == 38


def test_a_store_in_use_by_another_process(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    code = (
        "import sys; from pathlib import Path; from tango_telemetry_tools.store.database import Store\n"
        "s = Store(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreBusyError):
            Store(path)
        said: list[str] = []
        with database.open_near(path, said.append) as store:
            assert store.path is None
    finally:
        other.communicate("")
    Store(path).close()


def test_bounded_in_size_and_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(tmp_path / "a.jsonl", *(call(n, 10 * n, "Move", "a/b/c", NOW + n, MS) for n in range(1, 1001)))
    said: list[str] = []
    store = Store(None, said.append, max_bytes=100_000)
    Feeder(store, [tmp_path], Problems()).poll()
    store.trim()
    assert count(store) == 1800
    assert len(said) == 1
    assert store.query("select min(start) from spans")[0][0] > NOW + 90
    store = Store(None, max_age=3600)
    Feeder(store, [tmp_path], Problems()).poll()
    store.trim()
    assert count(store) == 2000
    now = store._now()
    monkeypatch.setattr(store, "_now", lambda: now + 3602)
    store.trim()
    assert count(store) == 0


@pytest.fixture
def plant(tmp_path: Path) -> Store:
    """300 calls by two scripts, a motor that is slow each 50th time, a command that fails for one of the
    scripts only.
    """
    lines = []
    for number in range(300):
        caller = ("scan", "") if number % 3 else ("align", "")
        device = f"lab/motor/{number % 4}"
        slow = number % 200 == 3
        error = "Refused: not from here" if caller[0] == "align" and number % 4 == 1 else ""
        start = NOW + number * SECOND
        lines.append(
            call(
                number + 1,
                100 * number + 1,
                "Move",
                device,
                start,
                (80 if slow else 2) * MS,
                0,
                error,
                caller,
            )
        )
        lines.append(
            line("scan", [span(1000 + number, 50_000 + number, "DeviceProxy", start, MS, 0, 3, device)])
        )
        lines.append(
            line(
                "Motor",
                [
                    span(
                        2000 + number,
                        60_000 + number,
                        "Motor.read State",
                        start,
                        MS,
                        0,
                        2,
                        device,
                        tango__polling=True,
                    )
                ],
                device,
            )
        )
    lines.append(
        line(
            "Motor",
            [span(90000, 9, "Motor.push_change_event speed", NOW, MS, 0, 4, "lab/motor/2")],
            "lab/motor/2",
        )
    )
    lines.append(
        line(
            "Motor",
            [span(80000, 8, "Motor.push_change_event pos", NOW, MS, 0, 4, "lab/motor/1")],
            "lab/motor/1",
        )
    )
    lines.append(line("gui", [span(70000, 7, "push_event pos", NOW, MS, 0, 5, "LAB/motor/1")]))
    return fill(*lines, folder=tmp_path)


@pytest.mark.parametrize(
    ("criteria", "total"),
    [
        (Criteria(), 303),
        (Criteria(everything=True), 903),
        (Criteria(errors=True), 25),
        (Criteria(minimum=50 * MS), 2),
        (Criteria(device="lab/motor/3", minimum=50 * MS), 2),
        (Criteria(device="lab/motor/3", errors=True), 0),
        (Criteria(device="*/1", errors=True), 25),
        (Criteria(device="motor/1"), 77),
        (Criteria(device_class="Mot*", operation="*.Move", service="motor"), 300),
        (Criteria(operation="DeviceProxy"), 300),
        (Criteria(service="align"), 100),
        (Criteria(since=NOW + 10 * SECOND, until=NOW + 20 * SECOND), 11),
        (Criteria(text="not from"), 25),
        (Criteria(text="LAB/MOTOR/3"), 75),
        (Criteria(text="nowhere"), 0),
    ],
)
def test_traces_are_found(plant: Store, criteria: Criteria, total: int) -> None:
    found = find_traces(plant, criteria, limit=5)
    assert (found.total, len(found.traces)) == (total, min(5, total))


def test_traces_are_sorted(plant: Store) -> None:
    slowest = find_traces(plant, Criteria(), "duration", 2).traces
    assert [trace.duration for trace in slowest] == [80 * MS, 80 * MS]
    newest = find_traces(plant, Criteria(), "start", 1).traces[0]
    assert (newest.start, newest.device, newest.services) == (
        NOW + 299 * SECOND,
        "lab/motor/3",
        ("scan", "Motor"),
    )
    assert find_traces(plant, Criteria(), "errors", 1).traces[0].errors == 2
    assert find_traces(plant, Criteria()).folded == 600


def test_the_device_of_a_trace_is_the_one_that_failed(tmp_path: Path) -> None:
    root = line("scan", [span(1, 1, "scan", NOW, SECOND)])
    good = call(1, 11, "Move", "lab/a/1", NOW, MS, 1)
    store = fill(root, good, call(1, 21, "Move", "lab/b/2", NOW + MS, MS, 1, "Refused: no"), folder=tmp_path)
    (found,) = find_traces(store, Criteria()).traces
    assert (found.name, found.device) == ("scan", "lab/b/2")
    (found,) = find_traces(store, Criteria(device="*/a/1")).traces
    assert found.device == "lab/a/1"


def test_top(plant: Store) -> None:
    rows = top(plant, Criteria())
    assert rows[0].key == ("lab/motor/3", "Motor.Move")
    assert (rows[0].count, rows[0].errors, rows[0].longest) == (75, 0, 64 * MS)
    assert abs(sum(row.share for row in rows) - 1) < 1e-9
    by_caller = {row.key: row.errors for row in top(plant, Criteria(), "caller")}
    assert by_caller["align", "lab/motor/1", "command_inout Move"] == 25
    assert by_caller["scan", "lab/motor/1", "command_inout Move"] == 0
    assert {row.key for row in top(plant, Criteria(), "class")} == {("Motor",)}
    assert len(top(plant, Criteria(), "device")) == 4


def test_map(plant: Store) -> None:
    found = device_map(plant, Criteria())
    calls = {(edge.caller, edge.callee): (edge.calls, edge.errors) for edge in found.edges if not edge.event}
    assert calls["align", "lab/motor/1"] == (25, 25)
    events = {(edge.caller, edge.callee): edge.calls for edge in found.edges if edge.event}
    assert events == {("lab/motor/1", "gui"): 1, ("lab/motor/2", ""): 1}
    assert found.nodes["lab/motor/1"] == "device"
    assert found.nodes["scan"] == "program"
    by_class = device_map(plant, Criteria(), "class")
    assert {(edge.caller, edge.callee) for edge in by_class.edges if not edge.event} == {
        ("scan", "Motor"),
        ("align", "Motor"),
    }


def test_compare(plant: Store) -> None:
    before = operation_totals(plant, trace=f"{1:032x}")
    after = operation_totals(plant, trace=f"{4:032x}")
    kinds = {change.key[0]: change.kind for change in compare(before, after)}
    assert kinds == {"lab/motor/0": "gone", "lab/motor/3": "new"}
    (slower, _) = compare(
        operation_totals(plant, trace=f"{8:032x}"), operation_totals(plant, trace=f"{4:032x}")
    )
    assert (slower.kind, slower.extra) == ("slower", 78 * MS)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("50ms", 50 * MS), ("1.5 s", 1500 * MS), ("10m", 600 * SECOND), ("7µs", 7000), (".5h", 1800 * SECOND)],
)
def test_durations_are_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "50", "ms", "5 parsecs", "-3s", "1e9s", "yesterday"])
def test_what_is_no_duration_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text)


def test_times_are_read() -> None:
    assert parse_time("10m", 1000.0) == 400 * SECOND
    assert parse_time("1970-01-02T00:00:00+00:00") == 86400 * SECOND
    assert parse_time("2026-11-30") < parse_time("2026-11-30 12:00")


def test_small_folders_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = append(tmp_path / "a.jsonl", call(1, 10, "Move", "a/b/c", NOW, MS))
    assert feed.cache_path([tmp_path], [path]) is None
    monkeypatch.setattr(feed, "MIN_CACHED_BYTES", 1)
    folder, file = feed.cache_path([tmp_path], [path]), feed.cache_path([path], [path])
    assert folder is not None
    assert file is not None
    assert folder != file
    assert folder.parent == tmp_path / "cache" / "tango-telemetry"
    assert not os.path.exists(tmp_path / "cache")
