"""A file of a report is there whole, or what was there before still is."""

import stat
from pathlib import Path

import pytest

from gateway.reports.files import replaced


def test_it_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """In one step, and nothing else is left in the directory."""
    path = tmp_path / "usage.csv"
    path.write_bytes(b"old")

    with replaced(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """It has telephone numbers in it."""
    path = tmp_path / "usage.csv"
    with replaced(path) as file:
        file.write(b"new")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    """Half an export under its final name would be taken for a whole one."""
    path = tmp_path / "usage.csv"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with replaced(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail_half_way()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_stays(tmp_path: Path) -> None:
    """Neither a directory nor a device, like a terminal, is ever replaced."""
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(OSError, match="no file"), replaced(path):
            raise AssertionError("it was lent")

    assert Path("/dev/null").is_char_device()
