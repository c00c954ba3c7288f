"""The log: JSON lines, and no telephone number in the clear."""

import json
import logging
from collections.abc import Iterator

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


def test_what_a_caller_sent_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line end inside a value stays inside the value."""
    logs.configure("json", "info")

    structlog.get_logger().info("dial_out.refused", conference_id='x"}\n{"event":"forged"}')

    assert len(capsys.readouterr().out.splitlines()) == 1
