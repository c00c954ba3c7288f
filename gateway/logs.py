"""Structured logs on standard output: JSON for machines, colours on a terminal.

An event is named ``noun.past_verb``. Telephone numbers are masked here, by processors, so that no
caller can forget to: under the keys that hold one, and wherever one in E.164 stands in the line.
"""

import contextlib
import logging
import os
import re
import select
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

log = structlog.get_logger()

_NUMBER_KEYS = frozenset({"destination", "number", "number_typed", "caller_id"})
_E164 = re.compile(r"\+[0-9]{7,15}")
_SHOWN_FIRST, _SHOWN_LAST = 4, 2

_READER_SECONDS_MAX = 0.1
"""How long a reader that has fallen behind is waited for, once: calls wait with the line."""


def configure(
    format: Literal["auto", "json", "console"],  # noqa: A002 - the setting's own name
    level: Literal["debug", "info", "warning", "error"],
) -> None:
    """Set structlog and the standard library's logging up, once, before anything logs."""
    console = format == "console" or (format == "auto" and sys.stdout.isatty())
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _Lines(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(console=console),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # They would write down addresses, and the address of a webhook may hold a secret.
    for name in ("httpcore", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes lines while they can be written, and never lets a call suffer if they cannot.

    Of a disk that is full, or a reader that has gone or does not read, standard error is told in
    one line; the first line that can be written again is followed by how many could not. A line
    that could be written in part stands for itself, and counts among those.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lost = 0
        self._is_torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; if it is the first that can be again, say how many are missing."""
        lost = self._lost
        try:
            line = self.format(record) + self.terminator
            self._write(line, wait_seconds=0.0 if lost else _READER_SECONDS_MAX)
        except OSError as error:
            self._lose(str(error))
        except Exception:  # what cannot be put into words is a fault of ours
            self.handleError(record)
        if lost and self._lost == lost:
            self._lost = 0
            log.error("log.lines_lost", lines=lost)

    def _write(self, line: str, *, wait_seconds: float) -> None:
        """Write a line in pieces of which a pipe that is ready can take one without waiting.

        Raises ``OSError``, and ``TimeoutError`` if the reader is waited for any longer than that.
        """
        descriptor = _descriptor(self.stream)
        if descriptor is None:
            self.stream.write(line)
            self.flush()
            return
        left = line.encode(errors="backslashreplace")
        if self._is_torn:
            left = b"\n" + left
        deadline = time.monotonic() + wait_seconds
        while left:
            if not _is_ready(descriptor, wait_seconds=deadline - time.monotonic()):
                raise TimeoutError("nobody reads it")
            left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
            self._is_torn = bool(left)

    def _lose(self, why: str) -> None:
        self._lost += 1
        errors = _descriptor(sys.stderr)
        if self._lost == 1 and (errors is None or _is_ready(errors, wait_seconds=0.0)):
            with contextlib.suppress(OSError):
                print(f"The log cannot be written: {why}", file=sys.stderr, flush=True)  # noqa: T201


def _descriptor(stream: TextIO) -> int | None:
    """Return the file of a stream, if it has one."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _is_ready(descriptor: int, *, wait_seconds: float) -> bool:
    """Return whether something can be written by then: as much as a pipe takes in one piece."""
    looks = select.poll()
    looks.register(descriptor, select.POLLOUT)
    return bool(looks.poll(max(0.0, wait_seconds) * 1000))


def mask(number: str) -> str:
    """Return the number with its middle hidden: enough to recognise, not to call."""
    hidden = len(number) - _SHOWN_FIRST - _SHOWN_LAST
    if hidden <= 0:
        return "*" * len(number)
    return number[:_SHOWN_FIRST] + "*" * hidden + number[-_SHOWN_LAST:]


def mask_numbers(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask what stands under the keys that hold a telephone number, however it is written."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def mask_line(_logger: Any, _method: str, line: Any) -> str:
    """Mask every number in E.164 in a line that is ready to be written, whatever it came from."""
    return _E164.sub(lambda match: mask(match[0]), line)


def _masked(key: object, value: Any) -> Any:
    match value:
        case str() if key in _NUMBER_KEYS:
            return mask(value)
        case dict():
            return {inner: _masked(inner, each) for inner, each in value.items()}
        case list() | tuple():
            return [_masked(key, each) for each in value]
        case _:
            return value


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_numbers,
    ]


def _renderers(*, console: bool) -> list[structlog.typing.Processor]:
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
            # The other ones show what local variables hold: secrets, and numbers as typed.
            exception_formatter=structlog.dev.plain_traceback,
        )
    return [structlog.processors.format_exc_info, renderer, mask_line]
