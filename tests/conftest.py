"""Where the tests' servers keep their data: in memory, where there is room for it.

A database for each test is hundreds of files, and a disk that is busy with them makes every
telephone late.
"""

import os
import shutil
import tempfile
from pathlib import Path

import psutil

MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 4 * 1024**3


def _is_roomy(memory: Path) -> bool:
    if not os.access(memory, os.W_OK):
        return False
    free = min(shutil.disk_usage(memory).free, psutil.virtual_memory().available)
    return free >= MEMORY_BYTES_MIN


if _is_roomy(MEMORY):
    # pytest's own folders, which outlive the run.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    tempfile.tempdir = str(MEMORY)
