"""The grants of one process on disk, until the ledger has booked them.

One file a process, locked for as long as that lives: two never share one, and one that is not
locked was left by a crash and is taken in by whoever finds it. A line is on the disk before
anything is done that it tells of.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import structlog

from gateway.core.grant import (
    Answered,
    Ended,
    Granted,
    GrantedCall,
    Joined,
    Line,
    Released,
    read,
    written,
)
from gateway.core.key import DialOutKey

log = structlog.get_logger()

_SUFFIX = ".journal"
_DAMAGED = ".damaged"


class JournalUnusable(Exception):
    """Grants cannot be kept there. The text says why."""


class Journal:
    """The file of this process. Every method waits for the disk; none may overlap another.

    Raises ``OSError`` if the disk does not take a line; what was written of it is taken back.
    """

    def __init__(self, directory: Path) -> None:
        """Make the file. Raises ``JournalUnusable``."""
        self._directory = directory
        self._path = directory / f"{uuid4().hex}{_SUFFIX}"
        self._size = 0
        self._named: set[Path] = set()
        self._damaged_lines: dict[Path, tuple[int, ...]] = {}
        try:
            with _locked(directory):
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _sync_directory(directory)
        except OSError as error:
            raise JournalUnusable(f"grants.directory: {directory}: {error.strerror}") from error

    def append(self, lines: Iterable[Line]) -> None:
        """Write lines so that they outlive a loss of power."""
        text = b"".join(map(written, lines))
        try:
            _write(self._file, text, self._size)
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(text)

    def clear(self) -> None:
        """Forget everything: all of it is booked."""
        os.ftruncate(self._file, 0)
        self._size = 0
        os.fsync(self._file)

    def take_in(self) -> dict[DialOutKey, GrantedCall]:
        """Return the calls of processes that are no more; from now on they are in this file.

        What was not let dial never will be, and is left out. A file goes when its lines are here,
        which come in once even if it cannot go. One with damage is kept beside, for people to see.
        One that cannot be taken in, or cannot go, is named once, and keeps no other from it.
        """
        found: dict[DialOutKey, GrantedCall] = {}
        with _locked(self._directory):
            for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
                if path != self._path:
                    self._try_to_take_in(path, found)
        return found

    def close(self) -> None:
        """Leave the file to the next start, or remove it if nothing is in it."""
        if self._size == 0:
            with suppress(OSError):
                self._path.unlink()
        os.close(self._file)

    def _try_to_take_in(self, path: Path, found: dict[DialOutKey, GrantedCall]) -> None:
        try:
            self._take_in(path, found)
        except OSError as error:
            if path not in self._named:
                self._named.add(path)
                log.error("grant.journal_failed", path=str(path), error=str(error))

    def _take_in(self, path: Path, found: dict[DialOutKey, GrantedCall]) -> None:
        """Take in one file, unless its process lives, or has just ended in peace."""
        with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path not in self._damaged_lines:
                self._damaged_lines[path] = self._copy(path, file.read(), found)
            if self._damaged_lines[path]:
                path.rename(path.with_suffix(_DAMAGED))
            else:
                path.unlink()
            del self._damaged_lines[path]
            _sync_directory(self._directory)

    def _copy(
        self, path: Path, text: bytes, found: dict[DialOutKey, GrantedCall]
    ) -> tuple[int, ...]:
        """Have the calls of a file in this one; return which of its lines are damaged."""
        told, damaged = read(text)
        calls = {key: call for key, call in told.items() if call.released_at is not None}
        self.append(line for call in calls.values() for line in _lines(call))
        found |= calls
        if damaged:
            log.error("grant.journal_damaged", path=str(path), lines=damaged)
        return damaged


def _lines(call: GrantedCall) -> Iterator[Line]:
    """Yield the lines that tell of a call."""
    key = call.grant.key
    yield Granted(grant=call.grant)
    if call.released_at is not None:
        yield Released(key=key, at=call.released_at)
    if call.answered_at is not None:
        yield Answered(key=key, at=call.answered_at)
    if call.joined_at is not None:
        yield Joined(key=key, at=call.joined_at)
    if call.ending is not None:
        yield Ended(key=key, ending=call.ending)


def _write(file: int, text: bytes, offset: int) -> None:
    """Write all of a text, which the disk may take in parts."""
    while text:
        count = os.pwrite(file, text, offset)
        text, offset = text[count:], offset + count


def _sync_directory(directory: Path) -> None:
    """Have a new or removed name outlive a loss of power."""
    with _opened(directory) as handle:
        os.fsync(handle)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes from making or taking in files: a new one is not locked at once."""
    with _opened(directory) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)
