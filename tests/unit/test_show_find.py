"""The finder as a user runs it: the slow and the failing one among many traces, for people and for other
programs.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tango_telemetry_tools.__main__ import main
from tango_telemetry_tools.store.database import Store
from tango_telemetry_tools.store.feed import MIN_CACHED_BYTES
from trace_files import MS, SECOND, append, attributes, call, line, log, log_line, metric_line, span

NOW = 1_760_000_000 * SECOND
EVIL = "\x1b[2J\x1b]0;x\x07\u202e<b>"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "spans"
    folder.mkdir()
    monkeypatch.setenv("TANGO_TELEMETRY_TRACES_ENDPOINT", str(folder))
    for number in range(60):
        error = "Refused: the shutter of the other beam line is open" if number == 7 else ""
        duration = (90 if number == 50 else 2) * MS
        text = call(
            number + 1,
            10 * number + 1,
            "Move",
            f"lab/motor/{number % 4}",
            NOW + number * SECOND,
            duration,
            0,
            error,
        )
        append(folder / f"{number % 3}.jsonl", text)
    append(folder / "0.jsonl", line("s", [span(900, 900, "DeviceProxy", NOW, MS, 0, 3)]))
    return folder


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()


def test_the_folder_of_the_settings_is_read_when_none_is_named(folder: Path) -> None:
    status, out, _ = run("show", "--list", "-n", "0")
    assert status == 0
    assert len(out.splitlines()) == 61


@pytest.mark.parametrize("name", ["TANGO_TELEMETRY_TRACING_ENDPOINTS", "TANGO_TELEMETRY_TRACES_ENDPOINT"])
def test_urls_among_the_endpoints_are_no_folders(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TANGO_TELEMETRY_TRACES_ENDPOINT")
    monkeypatch.setenv(name, f"grpc://localhost:4317, {folder}")
    assert run("show", "--list", "-n", "1")[0] == 0
    monkeypatch.setenv(name, "http://localhost:4318/v1/traces")
    with pytest.raises(SystemExit):
        run("show", "--list")


def test_columns_can_be_cut_and_sorted(folder: Path) -> None:
    _, out, err = run("show", "--list", "--sort", "duration", "-n", "3")
    heading, first, *_ = (text.split() for text in out.splitlines())
    assert heading == ["started", "trace", "device", "root", "services", "spans", "errors", "ms"]
    assert first[-4:] == ["pytango.client,Motor", "2", "0", "90.000"]
    assert first[3:6] == ["lab/motor/2", "command_inout", "Move"]
    assert "3 of 60 traces" in err
    assert "1 trace of connects" in err


def test_the_failing_one_is_found(folder: Path) -> None:
    _, out, _ = run("show", "--list", "--errors", "--json")
    (found,) = json.loads(out)
    assert (found["device"], found["errors"], found["root"]) == ("lab/motor/3", 2, "command_inout Move")
    status, out, _ = run("show", "--errors")
    assert status == 0
    assert "Refused: the shutter of the other beam line is open" in out
    status, out, _ = run("show", "--trace", found["trace_id"][:32], "-v")
    assert "tango.device.class = Motor" in out
    status, out, _ = run("show", "--trace", found["trace_id"], "--json")
    assert [item["status_message"] != "" for item in json.loads(out)] == [True, True]


def test_nothing_left_is_said(folder: Path) -> None:
    status, out, err = run("show", "--list", "--device", "nowhere")
    assert (status, out, err) == (1, "", "tango-telemetry show: no trace is left by these filters\n")
    assert run("show", "--list", "--operation", "DeviceProxy")[0] == 0


@pytest.mark.parametrize(
    ("command", "where"),
    [
        (["show"], ""),
        (["show", "-v"], ""),
        (["show", "--list"], ""),
        (["top"], ""),
        (["map"], ""),
        (["map", "--dot"], ""),
        (["show", "--logs"], ""),
        (["show", "--list", "--logs"], ""),
        (["show", "--metrics"], ""),
        (["show", "--json"], ""),
    ],
)
def test_nothing_in_a_name_steers_the_terminal(tmp_path: Path, command: list[str], where: str) -> None:
    evil = span(1, 1, EVIL, NOW, MS, 0, 3, f"a/{EVIL}/c", EVIL, evil=EVIL, tango__device__class=EVIL)
    evil["events"] = [{"name": EVIL, "timeUnixNano": str(NOW), "attributes": []}]
    append(tmp_path / "a.jsonl", line(EVIL, [evil]))
    append(tmp_path / "a.jsonl", log_line(EVIL, [log(NOW, EVIL, 17, 1, 1, tango__device__name=EVIL)]))
    point = {"timeUnixNano": "2", "asInt": "1", "attributes": attributes({EVIL: EVIL})}
    append(
        tmp_path / "a.jsonl",
        metric_line(EVIL, [{"name": EVIL, "unit": EVIL, "gauge": {"dataPoints": [point]}}]),
    )
    status, out, err = run(*command, str(tmp_path))
    assert status == 0
    assert not [sign for sign in out + err if not sign.isprintable() and sign != "\n"]


def test_top(folder: Path) -> None:
    _, out, _ = run("top", "--by", "device", "--sort", "longest", "-n", "1")
    assert out.splitlines()[1].split()[:6] == ["lab/motor/2", "15", "0", "1.600", "72.000", "72.000"]
    _, out, _ = run("top", "--json", "--errors")
    assert [(row["device"], row["operation"], row["errors"]) for row in json.loads(out)] == [
        ("lab/motor/3", "Motor.Move", 1)
    ]
    status, _, err = run("top", "--device", "nowhere")
    assert (status, err) == (1, "tango-telemetry top: no span is left by these filters\n")


def test_map(folder: Path, tmp_path: Path) -> None:
    append(
        folder / "0.jsonl",
        line("Motor", [span(901, 901, "Motor.push_change_event p", NOW, MS, 0, 4)], "lab/motor/1"),
    )
    append(folder / "0.jsonl", call(70, 701, "Ask", "lab/leader/1", NOW, MS, caller=("Motor", "lab/motor/1")))
    append(
        folder / "0.jsonl", call(71, 711, "Ask", "lab/motor/1", NOW, MS, caller=("Leader", "lab/leader/1"))
    )
    status, out, _ = run("map")
    assert status == 0
    assert [text.split()[:6] for text in out.splitlines() if "nobody" in text] == [
        ["lab/motor/1", "(nobody)", "events", "p", "1", "0"]
    ]
    edges = json.loads(run("map", "--json")[1])["edges"]
    assert {edge["calls"] for edge in edges if edge["caller"] == "pytango.client"} == {15}
    assert '"lab/leader/1" -> "lab/motor/1" [label="1, p95 1.00 ms"];' in run("map", "--dot")[1]
    assert run("map", "--svg", str(tmp_path / "m.svg"), "--html", str(tmp_path / "m.html"))[0] == 0
    picture = (tmp_path / "m.svg").read_text()
    assert "1 event p reaches nobody" in picture
    assert picture.count('<g class="node') == 6
    # Labels come last, so that no line runs through them; and there is no room for a node that is nobody.
    assert picture.rindex("<path") < picture.index("<rect") < picture.rindex("<rect") < picture.index("p95")
    right = max(int(x) for x in re.findall(r'<rect x="(\d+)"', picture)) + 200
    assert right < int(re.findall(r'<svg [^>]* width="(\d+)"', picture)[0]) <= right + 270
    assert "default-src 'none'" in (tmp_path / "m.html").read_text()


def test_no_line_leads_through_a_device_that_it_passes(folder: Path, tmp_path: Path) -> None:
    leader = ("Leader", "lab/leader/1")
    append(folder / "0.jsonl", call(70, 701, "Ask", "lab/leader/1", NOW, MS))
    append(
        folder / "0.jsonl",
        *(call(71, 710 + n, "Ask", f"lab/motor/{n}", NOW, MS, caller=leader) for n in (1, 3)),
    )
    assert run("map", "--svg", str(tmp_path / "m.svg"))[0] == 0
    picture = (tmp_path / "m.svg").read_text()
    boxes = {
        name: [int(number) for number in numbers]
        for name, *numbers in re.findall(
            r'<title>([^<]+)</title><rect x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', picture
        )
    }
    left, top, _, height = boxes["lab/leader/1"]
    assert boxes["pytango.client"][0] < left < boxes["lab/motor/1"][0]
    # The lines from the client to the motors behind the leader pass its column above or below it.
    passing = [int(y) for x, y in re.findall(r" L(\d+) (\d+)", picture) if int(x) == left + 200]
    assert len(set(passing)) == 2
    assert not [y for y in passing if top - 5 < y < top + height + 5]


def test_nothing_in_a_name_runs_in_the_picture(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    append(tmp_path / "a.jsonl", call(1, 10, evil, f"a/{evil}/c", NOW, MS, caller=(evil, "")))
    for option in ("--svg", "--html"):
        assert run("map", str(tmp_path), option, str(tmp_path / "m"))[0] == 0
        assert "<script" not in (tmp_path / "m").read_text()


def test_compare(folder: Path) -> None:
    slow, quick = f"{51:032x}", f"{47:032x}"
    _, out, _ = run("compare", quick, slow)
    assert out.splitlines()[1].split()[:2] == ["slower", "lab/motor/2"]
    assert out.splitlines()[1].split()[-1] == "+88.0"
    assert run("compare", quick, quick)[1].startswith("the same")
    status, out, _ = run(
        "compare",
        "2025-10-09T00:00:00+00:00..2025-10-09T08:53:29+00:00",
        "2025-10-09T08:53:40+00:00..",
        "--json",
    )
    assert status == 0
    assert {change["kind"] for change in json.loads(out)} <= {
        "more often",
        "slower, more often",
        "less often",
        "quicker, more often",
    }
    for wrong in ("2h..3h..", "xyz", "5h..6h", "ffffffff"):
        assert run("compare", wrong, quick)[0] == 1


def test_top_watches(folder: Path) -> None:
    command = [sys.executable, "-m", "tango_telemetry_tools", "top", "--watch", "--json", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stdout is not None
    try:
        counts = []
        for text in process.stdout:
            if '"count"' in text:
                counts.append(int(text.split(":")[1].strip(" ,\n")))
            if text.rstrip().endswith("]"):
                if sum(counts) == 60:
                    append(folder / "9.jsonl", call(100, 1001, "Move", "lab/motor/1", NOW, MS))
                if sum(counts) == 61:
                    break
                counts = []
        assert sum(counts) == 61
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_ctrl_c_amid_a_question_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr("tango_telemetry_tools.store.queries.find_traces", interrupted)
    assert run("show", "--list") == (130, "", "")


def test_what_was_read_before_ctrl_c_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, number = tmp_path / "a.jsonl", 1
    while not path.exists() or path.stat().st_size < MIN_CACHED_BYTES:
        lines = [
            line("s", [span(n, n, "work", NOW + n, MS) for n in range(start, start + 100)])
            for start in range(number, number + 10_000, 100)
        ]
        append(path, *lines)
        number += 10_000
    command = [sys.executable, "-m", "tango_telemetry_tools", "show", "--list", "-n", "1", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    # Bytes that only spans can have made.
    while sum(part.stat().st_size for part in tmp_path.glob("cache/*/*")) < 100_000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130
    (cache,) = tmp_path.glob("cache/*/*.duckdb")
    with Store(cache) as store:
        ((some,),) = store.query("select count(*) from spans")
    assert 0 < some < number - 1
    status, _, err = run("show", "--list", "-n", "1", str(path))
    assert (status, f"1 of {number - 1} traces" in err) == (0, True)
