"""Structured logs on standard output: JSON for machines, colours on a terminal.

An event is named ``noun.past_verb``. Telephone numbers are masked here, by a processor,
so that no caller can forget to.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_NUMBER_KEYS = frozenset({"destination", "number", "number_typed", "caller_id"})
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SHOWN_FIRST, _SHOWN_LAST = 4, 2


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
    handler = logging.StreamHandler(sys.stdout)
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


def mask(number: str) -> str:
    """Return the number with its middle hidden: enough to recognise, not to call."""
    hidden = len(number) - _SHOWN_FIRST - _SHOWN_LAST
    if hidden <= 0:
        return "*" * len(number)
    return number[:_SHOWN_FIRST] + "*" * hidden + number[-_SHOWN_LAST:]


def mask_numbers(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask telephone numbers: under the keys that hold one, and E.164 in any text."""
    for key, value in event.items():
        if not isinstance(value, str):
            continue
        if key in _NUMBER_KEYS:
            event[key] = mask(value)
        elif "+" in value:
            event[key] = _E164.sub(lambda match: mask(match[0]), value)
    return event


def _shared() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_numbers,
    ]


def _renderers(*, console: bool) -> list[structlog.typing.Processor]:
    if console:
        return [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
