"""`tango-telemetry show` as a user runs it: a process of its own, its two streams and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

OLD, NEW = "0af7" * 8, "4bf9" * 8


def write(path: Path, trace_id: str, service: str, count: int = 1, start: int = 10**18) -> None:
    def span(number: int) -> dict[str, object]:
        parent = {"parentSpanId": "0" * 15 + "1"} if number > 1 else {}
        times = {"startTimeUnixNano": str(start + number), "endTimeUnixNano": str(start + 10 * count)}
        attributes = [
            {"key": f"tango.attribute.{key}", "value": {"stringValue": "value" * 5}} for key in range(10)
        ]
        return {
            "traceId": trace_id,
            "spanId": f"{number:016x}",
            **parent,
            "name": f"step {number}",
            "attributes": attributes,
            **times,
        }

    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    with path.open("a") as stream:
        for first in range(1, count + 1, 512):
            spans = [span(number) for number in range(first, min(first + 512, count + 1))]
            stream.write(
                json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]})
                + "\n"
            )


def show(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLUMNS", "NO_COLOR", "TERM", "FORCE_COLOR")
    }
    command = [sys.executable, "-m", "tango_telemetry_tools", "show", *map(str, arguments)]
    full = {**inherited, "PYTHONUTF8": "1", **environment}
    return subprocess.run(command, env=full, capture_output=True, text=True, timeout=60, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "a.jsonl", OLD, "old.app", start=10**18)
    write(tmp_path / "b.jsonl", NEW, "new.app", count=2, start=2 * 10**18)
    return tmp_path


def test_the_newest_is_drawn(folder: Path) -> None:
    result = show(folder)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["new.app: step 1", f"trace {NEW}"]
    assert lines[-1] == "1 of 2 traces; --list shows all, --trace ID draws another"
    assert all(len(line) <= 80 for line in lines)
    assert "\x1b" not in result.stdout


def test_one_by_the_first_digits_of_its_id(folder: Path) -> None:
    assert show(folder, "--trace", OLD[:5].upper()).stdout.splitlines()[1] == f"trace {OLD}"
    missing = show(folder, "--trace", "ff")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "tango-telemetry show: no trace starts with ff; --list shows all 2\n"


def test_the_list(folder: Path) -> None:
    result = show(folder / "b.jsonl", folder, "--list")
    assert result.returncode == 0
    assert [line.split()[2] for line in result.stdout.splitlines()[1:]] == [NEW[:8], OLD[:8]]


@pytest.mark.parametrize("arguments", [[], ["x", "--trace", "no"], ["x", "--unknown"]])
def test_wrong_usage(arguments: list[str]) -> None:
    result = show(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: ")


def test_nothing_to_show(tmp_path: Path) -> None:
    result = show(tmp_path, tmp_path / "no")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"tango-telemetry show: {tmp_path}: no *.jsonl or *.json file in this folder",
        f"tango-telemetry show: {tmp_path / 'no'}: No such file or directory",
        "tango-telemetry show: no spans found",
    ]


def test_bad_lines_go_to_stderr_and_the_rest_is_shown(folder: Path) -> None:
    with (folder / "b.jsonl").open("ab") as stream:
        stream.write(b"\xff\xfe\n{}\n")
    result = show(folder)
    assert result.returncode == 0
    assert result.stdout.startswith("new.app: step 1\n")
    assert result.stderr.splitlines() == [
        f"tango-telemetry show: {folder}/b.jsonl:2: not text: OTLP JSON is UTF-8",
        f'tango-telemetry show: {folder}/b.jsonl:3: JSON, but not OTLP: there is no "resourceSpans", '
        '"resourceLogs" or "resourceMetrics"',
    ]


@pytest.mark.parametrize(
    "environment", [{"TERM": "dumb"}, {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}]
)
def test_plain_ascii_where_the_terminal_can_do_no_better(folder: Path, environment: dict[str, str]) -> None:
    result = show(folder, **environment)
    assert result.returncode == 0
    assert result.stdout.isascii()
    assert "`-step 2" in result.stdout


def test_page(folder: Path) -> None:
    page = folder / "page.html"
    result = show(folder, "--html", page)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, f"page: {page}")
    assert "<title>new.app: step 1</title>" in page.read_text()
    refused = show(folder, "--html", folder / "no" / "page.html")
    assert refused.returncode == 1
    assert refused.stderr.startswith("tango-telemetry: the page could not be written: ")


def test_a_reader_that_leaves_early(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", NEW, "app", count=5000)
    command = [sys.executable, "-m", "tango_telemetry_tools", "show", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(30), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_ten_thousand_spans(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", NEW, "app", count=10_000)
    start = time.monotonic()
    result = show(tmp_path)
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 10_006
    # About one second on two idle cores; the bound is for a busy machine, and for what is quadratic.
    assert time.monotonic() - start < 15


def test_version() -> None:
    command = [sys.executable, "-m", "tango_telemetry_tools", "--version"]
    assert subprocess.check_output(command, text=True).startswith("tango-telemetry 0.")
