"""What a value must look like that is only passed on.

Names of channels and conferences are anybody's, and go on into log lines, actions and sets of
what is followed. So none has a character that ends or rewrites a line, and none is so long that
many of them fill the memory: Asterisk's own names have 150 characters at most.
"""

import re

_CHARACTERS_MAX = 1000
_NONE_THAT_CONTROLS = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*")


def is_line(text: str) -> bool:
    """Tell whether a value, which may be empty, is one line of text and not too long a one."""
    if len(text) > _CHARACTERS_MAX:
        return False
    # The first question is answered ten times as fast, and by nearly every value with yes.
    return text.isprintable() or _NONE_THAT_CONTROLS.fullmatch(text) is not None
