"""The log: JSON lines, and no telephone number in the clear."""

import errno
import io
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
import structlog

from gateway import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_a_line_is_json_with_its_event_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    """Machines read the log; each line stands for itself."""
    logs.configure("json", "info")

    structlog.get_logger().info("dial_out.ended", billable_seconds=61)

    line = json.loads(capsys.readouterr().out)
    assert line["event"] == "dial_out.ended"
    assert line["level"] == "info"
    assert line["billable_seconds"] == 61
    assert line["timestamp"].endswith("Z")


def test_the_standard_librarys_lines_are_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's warning must not break the reader of the log."""
    logs.configure("json", "info")

    logging.getLogger("some.module").warning("called +442079460123 twice")

    line = json.loads(capsys.readouterr().out)
    assert line["level"] == "warning"
    assert "+442079460123" not in line["event"]


@pytest.mark.parametrize("key", ["destination", "number_typed", "number", "caller_id", "anything"])
def test_numbers_are_masked(capsys: pytest.CaptureFixture[str], key: str) -> None:
    """Whoever reads the log sees enough to recognise a number, not enough to call it."""
    logs.configure("json", "info")

    structlog.get_logger().info("call.dialed", **{key: "+442079460123"})

    line = json.loads(capsys.readouterr().out)
    assert line[key] == "+442*******23"


def test_a_number_inside_a_text_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    """An error message that quotes a number is masked like a field that holds one."""
    logs.configure("json", "info")

    structlog.get_logger().error("call.failed", error="no route to +12025550123, giving up")

    assert "+12025550123" not in capsys.readouterr().out


def test_national_digits_are_masked_under_their_key(capsys: pytest.CaptureFixture[str]) -> None:
    """What a person typed has no plus sign and is a telephone number all the same."""
    logs.configure("json", "info")

    structlog.get_logger().info("dial_out.refused", number_typed="020 7946 0123")

    assert "7946" not in capsys.readouterr().out


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_number_is_masked_wherever_it_stands(
    capsys: pytest.CaptureFixture[str], format_: Literal["json", "console"]
) -> None:
    """In what went wrong, in what holds other values, in what is written as its ``repr``."""
    logs.configure(format_, "info")
    log, typed = structlog.get_logger(), "020 7946 0123"

    try:
        raise ValueError("+442079460123 is no number")
    except ValueError as error:
        log.exception("call.failed", error=error, length=len(typed))
    log.info(
        "call.dialed",
        numbers=["+442079460123", ("+442079460123",)],
        extra={"number_typed": typed, "deep": [{"caller_id": typed}], "+442079460123": 1},
    )
    logging.getLogger("asyncio").error("boom", exc_info=ValueError("+442079460123"))

    said = capsys.readouterr().out
    assert "+442*******23 is no number" in said
    assert "Traceback" in said
    assert "+442079460123" not in said
    assert "7946 0123" not in said


def test_what_a_caller_sent_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line end inside a value stays inside the value."""
    logs.configure("json", "info")

    structlog.get_logger().info("dial_out.refused", conference_id='x"}\n{"event":"forged"}')

    assert len(capsys.readouterr().out.splitlines()) == 1


class Disk(io.StringIO):
    """A file on a disk that can be full."""

    is_full = True

    def write(self, text: str) -> int:
        """Take a text, or fail as a file does."""
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_a_full_disk_costs_lines_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who logs notices, and standard error has one line of it, not one for each line."""
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - closing it fails
    monkeypatch.setattr(sys, "stdout", full)
    logs.configure("json", "info")

    for _ in range(1000):
        structlog.get_logger().info("dial_out.ended", billable_seconds=61)

    said = capsys.readouterr().err
    with suppress(OSError):
        full.close()
    assert "No space left on device" in said
    assert len(said.splitlines()) == 1


def test_what_was_not_written_is_counted_once_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever reads the log must know that it has a hole, and how large that is."""
    disk = Disk()
    monkeypatch.setattr(sys, "stdout", disk)
    logs.configure("json", "info")
    for _ in range(3):
        structlog.get_logger().info("dial_out.ended")

    disk.is_full = False
    for _ in range(2):
        structlog.get_logger().info("dial_out.placed")

    lines = [json.loads(line) for line in disk.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "dial_out.placed",
        "log.lines_lost",
        "dial_out.placed",
    ]
    assert lines[1]["lines"] == 3


def test_a_reader_that_does_not_read_costs_lines_and_no_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe is full at some time; whoever waits for its reader then answers no gate."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as pipe, os.fdopen(reader, "rb") as read:
        monkeypatch.setattr(sys, "stdout", pipe)
        logs.configure("json", "info")
        begun = time.monotonic()

        for _ in range(1000):
            structlog.get_logger().info("dial_out.ended", text="x" * 1000)

        assert time.monotonic() - begun < 20.0
        assert "nobody reads it" in capsys.readouterr().err
        before = read.read1(1_000_000).count(b"dial_out.ended")
        structlog.get_logger().info("dial_out.placed")
        after = [json.loads(line) for line in read.read1(1_000_000).splitlines()]

    assert [line["event"] for line in after] == ["dial_out.placed", "log.lines_lost"]
    assert after[1]["lines"] + before == 1000


@pytest.mark.parametrize("size", [5_000, 50_000, 500_000])
def test_a_long_line_does_not_wait_for_its_reader_either(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A pipe that is ready has room for a page, and a traceback is longer than that.

    What was begun of a line and could not be ended stands alone, and counts as lost.
    """
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as pipe, os.fdopen(reader, "rb") as read:
        monkeypatch.setattr(sys, "stdout", pipe)
        logs.configure("json", "info")
        begun = time.monotonic()

        for _ in range(20):
            structlog.get_logger().info("dial_out.ended", text="x" * size)

        assert time.monotonic() - begun < 20.0
        written = read.read1(1_000_000)
        structlog.get_logger().info("dial_out.placed")
        written += read.read1(1_000_000)

    *before, placed, lost = written.splitlines()
    assert json.loads(placed)["event"] == "dial_out.placed"
    whole = sum(line.endswith(b"}") for line in before)
    assert json.loads(lost)["lines"] == 20 - whole
