"""What three clocks tell: which of them was set, and what an outage's detail may hold."""

from dataclasses import replace

import pytest

from gateway.core.outage import Reading, detail_of, step_detail, steps

BEFORE = Reading(asterisk_ms=1_000_000, gateway_ms=5_000_000, asked_ms=100, answered_ms=110)


def later(ms: int, *, asterisk: int = 0, gateway: int = 0, awaited: int = 10) -> Reading:
    """Return a reading of ``ms`` afterwards, with clocks that were set by so much."""
    return Reading(
        asterisk_ms=BEFORE.asterisk_ms + ms + asterisk,
        gateway_ms=BEFORE.gateway_ms + ms + gateway,
        asked_ms=BEFORE.answered_ms + ms - awaited,
        answered_ms=BEFORE.answered_ms + ms,
    )


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (later(2000), []),
        (later(2000, gateway=1999, asterisk=-1999), []),
        (later(2000, gateway=2000), [("the gateway's", 2000)]),
        (later(2000, gateway=-3_600_000), [("the gateway's", -3_600_000)]),
        (later(2000, asterisk=2020), [("Asterisk's", 2020)]),
        (later(3_600_000, asterisk=-9000), [("Asterisk's", -9000)]),
        (later(2000, gateway=5000, asterisk=5000), [("the gateway's", 5000), ("Asterisk's", 5000)]),
    ],
)
def test_a_clock_that_was_set_differs_from_the_steady_one(
    after: Reading, found: list[tuple[str, int]]
) -> None:
    """Two seconds between two beats are no drift; either host's clock may be meant, or both."""
    assert list(steps(BEFORE, after)) == found


def test_an_answer_that_was_long_in_coming_is_no_step() -> None:
    """Asterisk may have read its clock when it was asked or just before it answered."""
    slow = later(2000, asterisk=-4000, awaited=3000)

    assert list(steps(BEFORE, slow)) == []
    assert list(steps(BEFORE, replace(slow, asterisk_ms=slow.asterisk_ms - 1010))) == [
        ("Asterisk's", -5010)
    ]


def test_what_lies_between_two_readings_is_placed_by_the_steady_clock() -> None:
    """Nobody can set that one, so that no outage moves because somebody set another."""
    assert BEFORE.asterisk_at(BEFORE.answered_ms + 1500) == BEFORE.asterisk_ms + 1500


@pytest.mark.parametrize(
    ("by_ms", "words"),
    [
        (2500, "Asterisk's clock was set 2.5 s ahead"),
        (-60_000, "Asterisk's clock was set 60.0 s back"),
    ],
)
def test_a_step_is_told_in_words(by_ms: int, words: str) -> None:
    """Which way a clock was set decides what it did to the times of calls."""
    assert step_detail("Asterisk's", by_ms) == words


def test_a_cause_is_kept_short_and_printable() -> None:
    """It is what an operating system or a server said: it reaches a table, and a terminal."""
    assert detail_of("lost:\x00\x1b[2J " + "x" * 300) == "lost:  [2J " + "x" * 189
