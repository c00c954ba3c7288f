"""Money and time as people read them."""

from gateway.core.rating import Micros, Seconds

_MICROS_A_UNIT = 1_000_000
_CENTS_DIGITS = 2


def money(micros: Micros, currency: str) -> str:
    """Return an amount exactly, with two decimals or as many more as it has: 0.021 USD."""
    units, rest = divmod(micros, _MICROS_A_UNIT)
    decimals = f"{rest:06d}".rstrip("0").ljust(_CENTS_DIGITS, "0")
    return f"{units}.{decimals} {currency}"


def clock(seconds: Seconds) -> str:
    """Return a length of time as a telephone shows it: 0:07, 12:40, 1:00:00."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
