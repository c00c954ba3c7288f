"""The database on the Asterisk host's disk, which outlives Asterisk."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from gateway.simulator.clock import Clock

_SYNC_MS = 1000
"""Asterisk puts what was written on the disk once a second."""


class Memory(StrEnum):
    """What a killed Asterisk finds of its records when it starts again."""

    KEPT = "kept"
    UNSYNCED = "unsynced"
    """All but what was written within the last second."""
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    at_ms: int
    path: str
    before: str | None


class Records:
    """Values by path, a path being family and key with slashes between, and none in front."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[str, str] = {}
        self._unsynced: deque[_Change] = deque()

    def get(self, path: str) -> str | None:
        """Return the value at a path; None if there is none."""
        return self._values.get(path)

    def put(self, path: str, value: str) -> None:
        """Write a value."""
        self._note(path)
        self._values[path] = value

    def delete(self, path: str) -> None:
        """Delete a value, if it is there."""
        if path in self._values:
            self._note(path)
            del self._values[path]

    def tree(self, family: str) -> tuple[tuple[str, str], ...]:
        """Return the paths and values of a family, in the order in which they were written."""
        prefix = f"{family}/"
        return tuple(each for each in self._values.items() if each[0].startswith(prefix))

    def sync(self) -> None:
        """Have everything on the disk that was written so far."""
        self._unsynced.clear()

    def crash(self, memory: Memory) -> None:
        """Become what is found after Asterisk was killed now."""
        match memory:
            case Memory.KEPT:
                pass
            case Memory.UNSYNCED:
                self._undo()
            case Memory.LOST:
                self._values.clear()
        self.sync()

    def _undo(self) -> None:
        self._forget_synced()
        for change in reversed(self._unsynced):
            if change.before is None:
                self._values.pop(change.path, None)
            else:
                self._values[change.path] = change.before

    def _note(self, path: str) -> None:
        self._forget_synced()
        change = _Change(at_ms=self._clock.now_ms(), path=path, before=self._values.get(path))
        self._unsynced.append(change)

    def _forget_synced(self) -> None:
        synced_ms = self._clock.now_ms() - _SYNC_MS
        while self._unsynced and self._unsynced[0].at_ms < synced_ms:
            self._unsynced.popleft()
