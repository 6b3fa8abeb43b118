"""Payloads on disk: several processes, damage, full and forbidden folders."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from pathlib import Path

import pytest
from tango_telemetry.pipeline.spool import Spool

ENDPOINT = "http://user:password@collector:4318/v1/traces"


def spool(folder: Path, max_bytes: int = 1 << 20) -> Spool:
    return Spool(str(folder), ENDPOINT, max_bytes)


def store(target: Spool, payload: bytes, spans: int = 1) -> None:
    file = target.write(payload, spans)
    assert file is not None
    target.add(file)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.otlp"))


def test_what_is_written_is_read_in_order_and_removed(tmp_path: Path) -> None:
    one = spool(tmp_path)
    store(one, b"first", 3)
    store(one, b"second")
    file = one.oldest()
    assert file is not None
    assert (one.read(file), file.spans, file.own) == (b"first", 3, True)
    one.remove(file)
    assert [path.read_bytes() for path in files(tmp_path)] == [b"second"]


def test_only_the_owner_may_look(tmp_path: Path) -> None:
    one = spool(tmp_path / "new")
    store(one, b"x")
    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "password" not in str(path)


def test_a_folder_open_to_others_is_closed(tmp_path: Path) -> None:
    store(spool(tmp_path), b"x")
    folder = files(tmp_path)[0].parent
    folder.chmod(0o755)
    store(spool(tmp_path), b"y")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store(spool(tmp_path), b"x")
    folder = files(tmp_path)[0].parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert spool(tmp_path).write(b"y", 1) is None
    assert len(caplog.records) == 1


def test_the_next_process_takes_over_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    dead, living = spool(tmp_path), spool(tmp_path)
    store(dead, b"left behind", 7)
    store(living, b"mine")
    dead.close()
    heir = spool(tmp_path)
    assert heir.adopt() == 1
    file = heir.oldest()
    assert file is not None
    assert (heir.read(file), file.spans, file.own) == (b"left behind", 7, False)
    assert living.oldest() is not None
    assert living.read(living.oldest()) == b"mine"  # type: ignore[arg-type]


def test_two_heirs_never_share_a_file(tmp_path: Path) -> None:
    for _ in range(20):
        dead = spool(tmp_path)
        store(dead, b"x")
        dead.close()
    heirs = [spool(tmp_path), spool(tmp_path)]
    assert sum(heir.adopt() for heir in heirs) == 20


def test_files_without_their_lock_are_taken_over(tmp_path: Path) -> None:
    dead = spool(tmp_path)
    store(dead, b"x")
    dead.close()
    for lock in tmp_path.rglob("*.lock"):
        lock.unlink()
    assert spool(tmp_path).adopt() == 1


def test_a_file_begun_by_a_dead_process_is_cleared_away(tmp_path: Path) -> None:
    dead = spool(tmp_path)
    store(dead, b"x")
    (path,) = files(tmp_path)
    half = path.with_name(f".{path.name.replace('000001', '000002')}.new")
    half.write_bytes(b"half")
    dead.close()
    spool(tmp_path).adopt()
    assert not half.exists()


@pytest.mark.parametrize("damage", [b"", b"wrong", b"first and more"])
def test_a_damaged_file_is_not_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    one = spool(tmp_path)
    store(one, b"first")
    files(tmp_path)[0].write_bytes(damage)
    file = one.oldest()
    assert file is not None
    assert one.read(file) is None
    one.remove(file)
    assert not files(tmp_path)
    assert "damaged" in caplog.text


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    store(spool(tmp_path), b"x")
    folder = files(tmp_path)[0].parent
    strange = folder / "notes.txt"
    strange.write_text("mine")
    spool(tmp_path).adopt()
    assert strange.read_text() == "mine"


def test_the_total_is_bounded(tmp_path: Path) -> None:
    one = spool(tmp_path, max_bytes=250)
    assert [one.write(b"x" * 100, 1) is not None for _ in range(4)] == [True, True, False, False]


def test_the_total_counts_other_processes(tmp_path: Path) -> None:
    other = spool(tmp_path)
    store(other, b"x" * 200)
    one = spool(tmp_path, max_bytes=250)
    one.adopt()
    assert one.write(b"x" * 100, 1) is None


@pytest.mark.parametrize("obstacle", ["file", "no_device"])
def test_an_unusable_folder_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    if obstacle == "file":
        (tmp_path / "spool").write_text("in the way")
    else:
        monkeypatch.setattr(
            os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
    one = spool(tmp_path / "spool")
    for _ in range(5):
        assert one.write(b"x", 1) is None
        assert one.adopt() == 0
    assert len(caplog.records) == 1
    assert "PYTANGO_TELEMETRY_SPOOL_DIR" in caplog.text
    assert not files(tmp_path)


def test_after_a_fork_the_child_owns_nothing_of_its_parent(tmp_path: Path) -> None:
    parent = spool(tmp_path)
    store(parent, b"parent's")
    child = os.fork()
    if child == 0:
        parent.after_fork()
        ok = parent.oldest() is None and parent.adopt() == 0 and parent.write(b"child's", 1) is not None
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert parent.oldest() is not None
    assert len(files(tmp_path)) == 2


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tango_telemetry.pipeline.spool._RETRY_AFTER_ERROR", 0.0)
    one = spool(tmp_path / "spool")
    store(one, b"lost")
    shutil.rmtree(tmp_path / "spool")
    store(one, b"kept")
    assert [path.read_bytes() for path in files(tmp_path)] == [b"kept"]
    heir = spool(tmp_path / "spool")
    assert heir.adopt() == 0  # its owner lives
