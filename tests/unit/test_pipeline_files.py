"""What the file exporter has taken is in the folder that was asked for, whatever others do to it, within its
bounds.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from tango_telemetry.pipeline import Endpoint, PipelineSettings
from tango_telemetry.pipeline.delivery import Result
from tango_telemetry.pipeline.exporters.choice import create_exporter
from tango_telemetry.pipeline.exporters.file import FileExporter, RotatedFile
from tango_telemetry_tools.viewer.reader import Problems, find_files, read_spans

LINE = b'{"line": %3d, "text": "' + b"x" * 75 + b'"}\n'


def exporter_for(folder: Path, max_bytes: int = 1 << 20, max_count: int = 8) -> FileExporter:
    settings = PipelineSettings(file_max_bytes=max_bytes, file_max_count=max_count)
    made = create_exporter(Endpoint("file", str(folder)), settings)
    assert isinstance(made, FileExporter)
    return made


def send(exporter: FileExporter, number: int) -> None:
    assert exporter.send(LINE % number, 1.0).result is Result.DELIVERED


def lines(folder: Path) -> list[int]:
    """The numbers of the lines of all files that a reader finds in the folder, in the reader's order."""
    found = find_files([folder], Problems()) if folder.is_dir() else []
    return [json.loads(line)["line"] for path in found for line in path.read_bytes().splitlines()]


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def rename_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def remove_file(folder: Path) -> None:
    only_file(folder).unlink()


def rename_file(folder: Path) -> None:
    path = only_file(folder)
    path.rename(path.with_name(path.name + ".1"))


def rename_and_create(folder: Path) -> None:
    """As logrotate's `create`."""
    path = only_file(folder)
    path.rename(path.with_name(path.name + ".1"))
    path.touch()


def truncate(folder: Path) -> None:
    """As logrotate's `copytruncate`."""
    path = only_file(folder)
    shutil.copy(path, path.with_name(path.name + ".1"))
    os.truncate(path, 0)


def replace_by_another(folder: Path) -> None:
    path = only_file(folder)
    other = folder.parent / "other"
    other.write_bytes(b'{"line": 900}\n')
    other.replace(path)


def replace_by_folder(folder: Path) -> None:
    path = only_file(folder)
    path.unlink()
    path.mkdir()


def replace_by_pipe(folder: Path) -> None:
    path = only_file(folder)
    path.unlink()
    os.mkfifo(path)


def replace_by_link(folder: Path) -> None:
    path = only_file(folder)
    path.unlink()
    path.symlink_to("/dev/null")


def make_unreadable(folder: Path) -> None:
    only_file(folder).chmod(0)


@pytest.mark.parametrize(
    ("interfere", "expected"),
    [
        (remove_folder, [2]),
        (rename_folder, [2]),
        (remove_file, [2]),
        (rename_file, [2, 1]),
        (rename_and_create, [2, 1]),
        (truncate, [2, 1]),
        (replace_by_another, [900, 2]),
        (replace_by_folder, [2]),
        (replace_by_pipe, [2]),
        (replace_by_link, [2]),
        (make_unreadable, [1, 2]),
    ],
)
@pytest.mark.parametrize("reopened", [False, True])
def test_it_can_be_found_whatever_others_do_to_the_file(
    interfere: Callable[[Path], None], expected: list[int], reopened: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "traces"
    exporter = exporter_for(folder)
    send(exporter, 1)
    interfere(folder)
    if reopened:
        exporter.close()
    send(exporter, 2)
    if interfere is make_unreadable:
        unreadable = next(path for path in folder.iterdir() if not path.stat().st_mode & 0o400)
        assert LINE % 2 not in unreadable.read_bytes()
    if interfere is replace_by_link:
        next(path for path in folder.iterdir() if path.is_symlink()).unlink()
    assert lines(folder) == expected


def test_removed_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = exporter_for(tmp_path)
    send(exporter, 1)
    write = os.write

    def write_and_remove(file: int, data: bytes) -> int:
        monkeypatch.undo()
        only_file(tmp_path).unlink()
        return write(file, data)

    monkeypatch.setattr(os, "write", write_and_remove)
    send(exporter, 2)
    assert lines(tmp_path) == [2]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_what_could_not_be_written_is_not_delivered(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = exporter_for(tmp_path)
    send(exporter, 1)

    def fail(file: int, data: bytes) -> int:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "write", fail)
    for _ in range(3):
        outcome = exporter.send(LINE % 2, 1.0)
        assert (outcome.result, os.strerror(error) in outcome.reason) == (Result.RETRY, True)
        exporter.close()
    monkeypatch.undo()
    send(exporter, 2)
    assert lines(tmp_path) == [1, 2]


def test_no_more_open_files(tmp_path: Path) -> None:
    exporter = exporter_for(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        outcome = exporter.send(LINE % 1, 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (outcome.result, outcome.reason) == (Result.RETRY, "OSError: Too many open files")
    send(exporter, 1)
    assert lines(tmp_path) == [1]


def test_a_limit_on_the_size_of_a_file_begins_a_new_one(tmp_path: Path) -> None:
    code = f"""
import resource
from tango_telemetry.pipeline.exporters.file import RotatedFile
resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))
file = RotatedFile({str(tmp_path)!r}, 1 << 20, 8)
for number in range(1, 7):
    file.append({LINE!r} % number, "service")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert lines(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("max_count", "expected"), [(8, [6, 7, 8, 9]), (4, [6, 7, 8, 9]), (2, [8, 9]), (1, [9])]
)
def test_files_rotate_within_both_bounds_and_sort_by_age(
    max_count: int, expected: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = exporter_for(tmp_path, max_bytes=len(LINE % 1), max_count=max_count)
    for number in range(10):
        send(exporter, number)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= max_count * len(LINE % 1)
    assert lines(tmp_path)[-len(expected) :] == expected
    assert lines(tmp_path) == list(range(10))[-max_count:]
    assert caplog.text.count("PYTANGO_TELEMETRY_FILE_MAX_COUNT") == 1


def test_a_line_that_is_longer_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    exporter = exporter_for(tmp_path, max_bytes=10)
    for number in range(3):
        send(exporter, number)
    assert lines(tmp_path) == [0, 1, 2]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_batch_of_many_lines_is_spread_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure in the middle neither loses nor repeats a line."""
    exporter = exporter_for(tmp_path, max_bytes=350, max_count=100)
    payload = b"".join(LINE % number for number in range(20))
    write, calls = os.write, []

    def full(file: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    assert exporter.send(payload, 1.0).result is Result.RETRY
    exporter.close()
    assert exporter.send(payload + LINE % 20, 1.0).result is Result.DELIVERED
    assert lines(tmp_path) == list(range(21))
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {3 * len(LINE % 1)}


@pytest.mark.parametrize("native", [False, True])
def test_spans_of_both_providers_keep_to_the_bound(native: bool, tmp_path: Path) -> None:
    bound = 20_000
    exporter = exporter_for(tmp_path, max_bytes=bound, max_count=1000)
    keep: list[ReadableSpan] = []
    provider = TracerProvider(resource=Resource({"service.name": "s"}), shutdown_on_exit=False)
    tracer = provider.get_tracer("t")
    for number in range(300):
        span = tracer.start_span(f"span {number}", attributes={"text": "x" * 100})
        span.end()
        keep.append(span)  # type: ignore[arg-type]
    if native:
        payloads = [exporter.transcode(encode_spans(keep).SerializeToString())]
    else:
        size = exporter.chunk_spans
        payloads = [exporter.encode(keep[at : at + size]) for at in range(0, 300, size)]
    assert exporter.send(b"".join(payloads), 1.0).result is Result.DELIVERED
    assert max(path.stat().st_size for path in tmp_path.iterdir()) <= bound
    problems = Problems()
    names = [span.name for span in read_spans(find_files([tmp_path], problems), problems)]
    assert names == [f"span {number}" for number in range(300)]


def test_rotated_files_that_somebody_has_moved_away(tmp_path: Path) -> None:
    exporter = exporter_for(tmp_path, max_bytes=1, max_count=3)
    for number in range(5):
        send(exporter, number)
    for path in tmp_path.iterdir():
        path.rename(tmp_path.parent / path.name)
    for number in range(5, 10):
        send(exporter, number)
    assert lines(tmp_path) == [7, 8, 9]


def test_a_forked_child_has_files_of_its_own(tmp_path: Path) -> None:
    exporter = exporter_for(tmp_path)
    send(exporter, 1)
    child = exporter_for(tmp_path)
    child._file = RotatedFile.__new__(RotatedFile)
    child._file.__dict__.update(exporter._file.__dict__, _file=-1)
    child.reset_after_fork()
    send(child, 2)
    send(exporter, 3)
    assert sorted(lines(tmp_path)) == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 2


def test_show_reads_what_rotation_has_compressed(tmp_path: Path) -> None:
    whole = json.dumps(
        {"resourceSpans": [{"scopeSpans": [{"spans": [
            {"traceId": "1" * 32, "spanId": "2" * 16, "name": "n", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}  # noqa: E501
        ]}]}]}
    ).encode() + b"\n"  # fmt: skip
    (tmp_path / "a.000001.jsonl.gz").write_bytes(gzip.compress(whole))
    (tmp_path / "a.000002.jsonl.gz").write_bytes(gzip.compress(whole + whole)[:-10])
    (tmp_path / "a.000003.jsonl.gz").write_bytes(b"not compressed")
    (tmp_path / "a.jsonl").write_bytes(whole)
    problems = Problems()
    names = [span.name for span in read_spans(find_files([tmp_path], problems), problems)]
    assert names.count("n") >= 3
    assert {Path(problem.path).name for problem in problems.found} == {
        "a.000002.jsonl.gz",
        "a.000003.jsonl.gz",
    }
