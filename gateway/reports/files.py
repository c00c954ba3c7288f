"""Files that are there whole, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Lend a file that takes the place of ``path`` when it is left without an error.

    It lies in the same directory, so that there is one step between the old file and the new
    one, and only its owner may read it: it holds telephone numbers. Raises ``OSError``; also
    if ``path`` is something else than a file, like a terminal, which nothing may take the
    place of.
    """
    if path.exists() and not path.is_file():
        raise OSError(0, "it is there, and is no file", str(path))
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
