"""The name of a meeting, as it can be spelled to somebody who is called."""

import re
from typing import Final
from unicodedata import normalize

_LETTERS_MAX: Final = 60
_WORD: Final = re.compile(r"[A-Za-z0-9]+")


def spellable(name: str) -> str:
    """Return the ASCII letters and digits of a name, its words joined by ``-``; at most 60.

    Accents go, and so does whatever has no letter of that kind: a name of another script may
    leave nothing.
    """
    plain = normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "-".join(_WORD.findall(plain))[:_LETTERS_MAX].rstrip("-")
