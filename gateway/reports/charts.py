"""Charts of minutes and spend by day, as SVG or PNG. Needs the extra ``charts``.

Drawn in memory, without a display. The same days give the same bytes.
"""

import warnings
from collections.abc import Callable, Sequence
from datetime import date
from typing import BinaryIO, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from matplotlib.typing import RcKeyType

from gateway.reports.cells import MICROS_A_UNIT
from gateway.reports.days import Days
from gateway.reports.usage import Payer

SUFFIXES: Final = (".png", ".svg")

_NAME_CHARS_MAX: Final = 60
_TICKS_MAX: Final = 12
_DAYS_NAMED_MAX: Final = 8
_ENGINEERING_MIN: Final = 10_000
_INCHES: Final = (10.0, 6.4)
_DOTS_AN_INCH: Final = 150

# Told apart by people who see fewer colours, too, and by their lightness in print.
_COLOURS: Final = {
    Payer.PROMOTION: "#009e73",
    Payer.ADDON: "#56b4e9",
    Payer.POOL: "#0072b2",
    Payer.CREDITS: "#e69f00",
    Payer.NOBODY: "#b5b5b5",
}
_LABELS: Final = {
    Payer.PROMOTION: "promotion",
    Payer.ADDON: "add-on",
    Payer.POOL: "tenant pool",
    Payer.CREDITS: "credits",
    Payer.NOBODY: "unpaid (beyond what was set aside)",
}
_STYLE: Final[dict[RcKeyType, object]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "dialout",
    "svg.fonttype": "none",
}


def draw(file: BinaryIO, suffix: str, days: Days, *, name: str, zone: str, currency: str) -> None:
    """Write the chart of a tenant to ``file``, in the format that ``suffix`` names."""
    with rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks is shown as boxes; the figures are what counts.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        _figure(days, name, zone, currency).savefig(
            file,
            format=suffix.removeprefix("."),
            dpi=_DOTS_AN_INCH,
            metadata={"Date": None} if suffix == ".svg" else None,
        )


def _figure(days: Days, name: str, zone: str, currency: str) -> Figure:
    figure = Figure(figsize=_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(_title(name, days.days()), fontsize=13, parse_math=False)
    minutes, spend = figure.subplots(2, 1, sharex=True)
    seconds = _stack(minutes, days, lambda day, payer: days.seconds(day, payer) / 60)
    minutes.set_title(f"Minutes: {seconds:,.0f} in all", loc="left", fontsize=10)
    minutes.set_ylabel("minutes a day")
    units = _stack(spend, days, lambda day, payer: days.micros(day, payer) / MICROS_A_UNIT)
    spend.set_title(f"Spend: {units:,.2f} {currency} in all", loc="left", fontsize=10)
    spend.set_ylabel(f"{currency} a day")
    spend.set_xlabel(f"day ({zone})", parse_math=False)
    _name_days(spend, days.days())
    if days.payers():
        handles, labels = minutes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def _title(name: str, days: Sequence[date]) -> str:
    short = name if len(name) <= _NAME_CHARS_MAX else f"{name[: _NAME_CHARS_MAX - 1]}…"
    printable = "".join(each if each.isprintable() else " " for each in short)
    return f"Dial-out of {printable}, {days[0]} to {days[-1]}"


def _stack(axes: Axes, days: Days, amount: Callable[[date, Payer], float]) -> float:
    """Draw a step a day, one payer upon the other, and return the sum of all days."""
    dates = days.days()
    # A day's step has the day's tick in its middle.
    left = date2num(dates[0]) - 0.5
    edges = [left + n for n in range(len(dates) + 1)]
    below = [0.0] * len(dates)
    for payer in days.payers():
        above = [low + amount(day, payer) for low, day in zip(below, dates, strict=True)]
        axes.stairs(
            above, edges, baseline=below, fill=True, color=_COLOURS[payer], label=_LABELS[payer]
        )
        below = above
    axes.set_xlim(edges[0], edges[-1])
    _frame(axes, max(below))
    return sum(below)


def _frame(axes: Axes, top: float) -> None:
    if top == 0:
        axes.set_ylim(0, 1)
        axes.set_yticks([0])
        axes.text(0.5, 0.5, "none in this period", transform=axes.transAxes, ha="center")
        return
    axes.set_ylim(0, top * 1.08)
    axes.grid(visible=True, axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if top >= _ENGINEERING_MIN:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def _name_days(axes: Axes, dates: Sequence[date]) -> None:
    if len(dates) <= _DAYS_NAMED_MAX:
        axes.set_xticks(date2num(dates), [day.isoformat() for day in dates])
        return
    locator = AutoDateLocator(minticks=2, maxticks=_TICKS_MAX, interval_multiples=True)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
