"""Payloads on disk, so that they outlive an outage of the collector and the end of the process.

One folder per user and endpoint inside `PYTANGO_TELEMETRY_SPOOL_DIR`. A file holds a plain OTLP request and
is called `<owner>-<sequence>-<spans>-<crc32>.otlp`. An owner is one process; it keeps a lock (`flock`) on
`<owner>.lock` while it lives, so who gets that lock knows that the owner is dead, and takes its files over by
renaming them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import stat
import time
import zlib
from collections import deque
from dataclasses import dataclass

from tango_telemetry.base.originals import Lock
from tango_telemetry.base.system import lock_file, open_flags, user_id

_logger = logging.getLogger("tango_telemetry.pipeline")
_FILE = re.compile(
    r"(?P<owner>[0-9a-f]{8,40})-(?P<sequence>\d{12})-(?P<spans>\d{1,9})-(?P<crc>[0-9a-f]{8})\.otlp"
)
_RETRY_AFTER_ERROR = 30.0
_ADOPT_EVERY = 30.0


@dataclass(frozen=True)
class SpoolFile:
    """A payload on disk. `own`: its spans were made by this process."""

    name: str
    spans: int
    size: int
    own: bool


def _folder(root: str, endpoint: str) -> str:
    # The endpoint may hold credentials, so its digest, not its text, goes into a file name.
    digest = hashlib.sha256(endpoint.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return os.path.join(root, f"{user_id()}-{digest}")


def _make_private(folder: str) -> None:
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user_id():
        raise PermissionError(f"{folder} is not a folder of this user")
    if status.st_mode & 0o077:
        os.chmod(folder, 0o700)


class Spool:
    """The files of one endpoint. `write` is called from the worker, the reading side from the sender.

    No method raises OSError: the first error is logged once, the spool rests for 30 s, and tracing goes on
    without it.
    """

    def __init__(self, root: str, endpoint: str, max_bytes: int) -> None:
        self._folder = _folder(root, endpoint)
        self._max_bytes = max_bytes
        self.reset()

    def reset(self) -> None:
        """Start with no files and no owner: at first, and in a forked child, whose parent keeps its own."""
        self._lock = Lock()
        self._files: deque[SpoolFile] = deque()
        self._owner = ""
        self._lock_file = -1
        self._sequence = 0
        self._bytes = 0
        self._full = False
        self._resting_until = 0.0
        self._in_error = False
        self._next_adoption = 0.0
        self._undeletable: set[str] = set()

    def after_fork(self) -> None:
        """In a forked child: the parent's files and lock are the parent's."""
        if self._lock_file >= 0:
            os.close(self._lock_file)  # the parent's own descriptor still holds the lock
        self.reset()

    @property
    def usable(self) -> bool:
        """False while it rests after an error."""
        return time.monotonic() >= self._resting_until

    @property
    def accepting(self) -> bool:
        """False too while there is no room: what waits in memory is then sent from there."""
        return self.usable and not self._full

    # --- writing

    def write(self, payload: bytes, spans: int) -> SpoolFile | None:
        """Store a payload; None where there is no room or no disk, and the caller keeps it.

        `add` makes it readable.
        """
        self._full = self._bytes + len(payload) > self._max_bytes
        if not self.accepting:
            return None
        try:
            self._own()
            self._sequence += 1
            name = f"{self._owner}-{self._sequence:012d}-{spans}-{zlib.crc32(payload):08x}.otlp"
            self._write_atomically(name, payload)
        except OSError as error:
            self._failed("write to", error)
            return None
        if self._in_error:
            self._in_error = False
            _logger.info("tango-telemetry: the spool folder %s works again", self._folder)
        with self._lock:
            self._bytes += len(payload)
        return SpoolFile(name, spans, len(payload), own=True)

    def add(self, file: SpoolFile) -> None:
        """Let the reading side have a file that was written."""
        with self._lock:
            self._files.append(file)

    def _own(self) -> None:
        """Become an owner: a lock file that is locked before anybody else can see it.

        Once more where somebody has removed it, as a rule with the whole folder.
        """
        if self._owner and os.path.exists(os.path.join(self._folder, f"{self._owner}.lock")):
            return
        self._disown()
        _make_private(self._folder)
        owner = secrets.token_hex(8)
        hidden = os.path.join(self._folder, f".{owner}.new")
        lock = os.open(hidden, open_flags("O_RDWR", "O_CREAT", "O_EXCL"), 0o600)
        try:
            lock_file(lock)
            os.rename(hidden, os.path.join(self._folder, f"{owner}.lock"))
        except OSError:
            os.close(lock)
            os.unlink(hidden)
            raise
        self._lock_file, self._owner = lock, owner

    def _disown(self) -> None:
        lock, self._lock_file, self._owner = self._lock_file, -1, ""
        if lock >= 0:
            os.close(lock)

    def _write_atomically(self, name: str, payload: bytes) -> None:
        path = os.path.join(self._folder, name)
        hidden = os.path.join(self._folder, f".{name}.new")
        file = os.open(hidden, open_flags("O_WRONLY", "O_CREAT", "O_EXCL"), 0o600)
        try:
            try:
                view = memoryview(payload)
                while view:
                    view = view[os.write(file, view) :]
            finally:
                os.close(file)
            os.rename(hidden, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(hidden)
            raise

    def _failed(self, what: str, error: OSError) -> None:
        self._resting_until = time.monotonic() + _RETRY_AFTER_ERROR
        if not self._in_error:
            self._in_error = True
            _logger.warning(
                "tango-telemetry: cannot %s the spool folder %s (PYTANGO_TELEMETRY_SPOOL_DIR): %s; spans "
                "wait in memory"
                " only, and it is tried again every %.0f s",
                what,
                self._folder,
                error.strerror or type(error).__name__,
                _RETRY_AFTER_ERROR,
            )

    # --- reading

    def oldest(self) -> SpoolFile | None:
        """The file to send next."""
        with self._lock:
            return self._files[0] if self._files else None

    def read(self, file: SpoolFile) -> bytes | None:
        """Its payload; None if it is gone or damaged."""
        match = _FILE.fullmatch(file.name)
        try:
            with open(os.path.join(self._folder, file.name), "rb") as handle:
                payload = handle.read(file.size + 1)
        except OSError:
            payload = b""
        if match is not None and payload and int(match["crc"], 16) == zlib.crc32(payload):
            return payload
        _logger.warning("tango-telemetry: file %s of the spool is damaged or gone; skipped", file.name)
        return None

    def put_last(self, file: SpoolFile) -> None:
        """Send the others first."""
        with self._lock:
            self._files.remove(file)
            self._files.append(file)

    def remove(self, file: SpoolFile) -> None:
        """It was delivered, or cannot be."""
        with self._lock:
            self._files.remove(file)
            self._bytes -= file.size
        try:
            os.unlink(os.path.join(self._folder, file.name))
        except FileNotFoundError:
            pass
        except OSError as error:
            # Another process may deliver it a second time; this one does not.
            self._undeletable.add(file.name)
            self._failed("delete from", error)

    # --- taking over

    def adopt(self) -> int:
        """Take over the files of processes that are dead; the number of files. Looks every 30 s at most."""
        now = time.monotonic()
        if now < self._next_adoption or not self.usable:
            return 0
        self._next_adoption = now + _ADOPT_EVERY
        try:
            self._own()
            names = sorted(os.listdir(self._folder))
            adopted = 0
            for name in names:
                if name.endswith(".lock") and name != f"{self._owner}.lock":
                    adopted += self._adopt_owner(name.removesuffix(".lock"), names)
            owners = {name.removesuffix(".lock") for name in names if name.endswith(".lock")}
            for name in names:
                match = _FILE.fullmatch(name)
                if match is not None and match["owner"] not in owners:
                    adopted += self._adopt_file(name)  # somebody deleted the lock of a dead owner
            self._count_bytes()
        except OSError as error:
            self._failed("read", error)
            return 0
        return adopted

    def _adopt_owner(self, owner: str, names: list[str]) -> int:
        path = os.path.join(self._folder, f"{owner}.lock")
        try:
            lock = os.open(path, open_flags("O_RDWR", "O_NOFOLLOW"))
        except OSError:
            return 0  # somebody else was faster
        adopted = 0
        try:
            lock_file(lock)
            if os.fstat(lock).st_nlink == 0:
                return 0
            for name in names:
                if name.startswith(f".{owner}-"):
                    os.unlink(os.path.join(self._folder, name))  # it died while writing this one
                elif name.startswith(f"{owner}-"):
                    adopted += self._adopt_file(name)
            os.unlink(path)
        except BlockingIOError:
            pass  # it lives
        finally:
            os.close(lock)
        return adopted

    def _adopt_file(self, name: str) -> int:
        match = _FILE.fullmatch(name)
        if match is None:
            return 0
        self._sequence += 1
        new_name = f"{self._owner}-{self._sequence:012d}-{match['spans']}-{match['crc']}.otlp"
        path = os.path.join(self._folder, new_name)
        try:
            os.rename(os.path.join(self._folder, name), path)
            size = os.stat(path).st_size
        except FileNotFoundError:
            return 0
        with self._lock:
            self._files.append(SpoolFile(new_name, int(match["spans"]), size, own=False))
        return 1

    def _count_bytes(self) -> None:
        """What all processes together hold; between two counts only our own changes are known."""
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
        self._bytes = total

    def close(self) -> None:
        """Give up ownership; files that are left are for the next process."""
        lock, self._lock_file = self._lock_file, -1
        if lock < 0:
            return
        with contextlib.suppress(OSError):
            if not self._files:
                os.unlink(os.path.join(self._folder, f"{self._owner}.lock"))
            os.close(lock)
        self._owner = ""
