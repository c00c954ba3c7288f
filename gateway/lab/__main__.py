"""Builds the programs that tests run and the machine lacks: ``python -m gateway.lab DIRECTORY``.

By itself and beforehand, because a test has a minute, and a slow network may take longer.
"""

import sys
from pathlib import Path

from gateway.lab.browser import find_chromium
from gateway.lab.program import LabError, find_asterisk, find_sipp


def main() -> None:
    """Build Asterisk, SIPp and Chromium under a directory where they are not on the machine."""
    lab = Path(sys.argv[1])
    try:
        for find in (find_asterisk, find_sipp, find_chromium):
            find(lab)
    except LabError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
