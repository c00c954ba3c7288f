"""Five hundred texts that somebody might send instead of a number or a name."""

import random
from typing import Final

GOOD_NUMBER: Final = "+442079460999"
TEXTS: Final = 500

_PIECES: Final = (
    # Asterisk's expressions, functions and arguments
    "${SHELL(id)}",
    "${EXTEN}",
    "$[1=1]",
    "${GLOBAL(DIALOUT_HEARTBEAT)}",
    "${DB_DELETE(dialout/ended/x)}",
    "&PJSIP/19005550100@dialout-trunk",
    "@dialout-trunk",
    ",30,gL(3600000)",
    "^dialout-release^1",
    ")Dial(PJSIP/19005550100",
    '" = "" | "1',
    "|",
    ";2",
    "/n",
    "!",
    "_X.",
    "h",
    # lines, ends of text, other alphabets
    "\r\nAction: Originate",
    "\nVariable: DIALOUT_TENANT=x",
    "\r",
    "\x00",
    "\x1b[31m",
    "\x7f",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\u0661\u0662\u0663",
    "\uff14\uff14",
    "\u06f0",
    "\u0967",
    "\U0001d7d9",
    "Ⅷ",
    "²",
    "é",
    "\U0001f600",
    # headers of SIP and AMI, addresses, markup, SQL
    "\r\nContact: <sip:19005550100@127.0.0.1>",
    "\r\nResponse: Success",
    ";phone-context=+1",
    ";ext=5",
    "tel:+442079460999",
    "sip:19005550100@127.0.0.1",
    "%0d%0aAction: Ping",
    "<script>alert(1)</script>",
    "'; DROP TABLE dialout.dial_out; --",
    "../../etc/passwd",
    "\\",
    "p",
    "w",
    "A",
    "D",
    "x" * 10_000,
    "0" * 10_000,
)


def texts(good: str, seed: int = 5) -> tuple[str, ...]:
    """Return hostile texts: each piece before, after, within and instead of what is good.

    The rest are two pieces at once. The same seed gives the same texts.
    """
    middle = len(good) // 2
    made = dict.fromkeys(
        text
        for piece in _PIECES
        for text in (piece, piece + good, good + piece, good[:middle] + piece + good[middle:])
    )
    choose = random.Random(seed)
    while len(made) < TEXTS:
        first, second = choose.sample(_PIECES, 2)
        made[first + good + second] = None
    return tuple(made)[:TEXTS]
