"""Charts: that they say what they show, and show what was counted."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from io import BytesIO

import pytest

from gateway.reports.charts import draw
from gateway.reports.days import Days
from gateway.reports.period import period
from gateway.reports.usage import usage_rows
from tests.reports.calls import NOON, by_addon, by_credits, by_pool, call

HOSTILE = "$\\frac{$<script>&\x1b[2J\u202e 東京 " + "x" * 300


def days_of(since: str, until: str, *, with_calls: bool = True) -> Days:
    """Return the days of a period with one call of half a minute by each source."""
    days = Days(period(since, until, time_zone="Europe/London", now=NOON))
    if with_calls:
        for row in usage_rows(call([by_addon(30), by_pool(30), by_credits(30, 7_000)])):
            days.add(row)
    return days


def drawn(days: Days, suffix: str = ".svg", name: str = "Acme") -> bytes:
    """Return a chart."""
    file = BytesIO()
    draw(file, suffix, days, name=name, zone="Europe/London", currency="EUR")
    return file.getvalue()


def texts(svg: bytes) -> list[str]:
    """Return what is written in an SVG chart."""
    root = ET.fromstring(svg)
    return ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_it_says_what_it_shows() -> None:
    """Whose, of when, in which units and zone, and who paid; no picture needs its command."""
    found = texts(drawn(days_of("2026-03-01", "2026-04-01")))

    assert {
        "Dial-out of Acme, 2026-03-01 to 2026-03-31",
        "minutes a day",
        "EUR a day",
        "day (Europe/London)",
        "add-on",
        "tenant pool",
        "credits",
    } <= set(found)
    assert "promotion" not in found


def test_an_empty_period_is_an_empty_chart() -> None:
    """It says that there was nothing, and does not look like a fault."""
    found = texts(drawn(days_of("2026-03-01", "2026-04-01", with_calls=False)))

    assert found.count("none in this period") == 2
    assert "tenant pool" not in found


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_same_days_are_the_same_bytes(suffix: str) -> None:
    """A chart that is made again is no new file for whoever keeps them."""
    first, second = (drawn(days_of("2026-03-01", "2026-04-01"), suffix) for _ in range(2))

    assert first == second


def test_a_png_is_one() -> None:
    """And large enough to print: 1500 x 960."""
    png = drawn(days_of("2026-03-01", "2026-04-01"), ".png")

    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert [int.from_bytes(png[place : place + 4]) for place in (16, 20)] == [1500, 960]


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_hostile_name_is_only_text(suffix: str) -> None:
    """Neither a formula, nor markup, nor what no font has can spoil it; it is cut where it ends."""
    chart = drawn(days_of("2026-03-01", "2026-04-01"), suffix, HOSTILE)

    if suffix == ".svg":
        [title] = [each for each in texts(chart) if each.startswith("Dial-out of ")]
        assert title.startswith("Dial-out of $\\frac{$<script>& [2J  東京 xx")
        assert len(title) < 120


@pytest.mark.parametrize(
    ("since", "until"),
    [("2026-03-10", "2026-03-11"), ("2026-03-10", "2026-03-14"), ("2006-01-01", "2026-06-01")],
)
def test_a_day_and_decades_can_be_drawn(since: str, until: str) -> None:
    """From one step to thousands of them."""
    found = texts(drawn(days_of(since, until)))

    assert any("Minutes: 2 in all" in each for each in found)
    assert any("Spend: 0.01 EUR in all" in each for each in found)


def test_the_extra_is_named_where_it_is_missing() -> None:
    """Before any work is done, and in words that say what to install."""
    without = "import sys; sys.modules['matplotlib'] = None; from gateway.cli import main; main()"
    command = (*("report", "usage", "Acme", "--from", "2026-03-01"), "--chart", "days.svg")

    done = subprocess.run(
        [sys.executable, "-c", without, *command], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "pip install 'dialout-gateway[charts]'" in done.stderr
    assert "Traceback" not in done.stderr
