"""The journal of grants on a real disk: whose it is, and what outlives a crash or a full disk."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.core.grant import Gone, Granted, GrantedCall, Released, written
from gateway.grants import Journal, JournalUnusable
from tests.core.test_grant import NOON, grant


@contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """Have the kernel refuse any file of this process to grow beyond so much."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def crash(journal: Journal) -> None:
    """End a process as the kernel does it: its files are closed, and what is in them stays."""
    os.close(journal._file)


def test_what_a_crash_left_behind_is_taken_in_once(tmp_path: Path) -> None:
    """The next process has it in its own file, and the old one is gone."""
    left = Journal(tmp_path)
    call = grant()
    left.append([Granted(grant=call), Released(key=call.key, at=NOON)])
    crash(left)

    following = Journal(tmp_path)
    assert following.take_in() == {call.key: GrantedCall(grant=call, released_at=NOON)}
    assert following.take_in() == {}
    crash(following)
    again = Journal(tmp_path)

    assert again.take_in() == {call.key: GrantedCall(grant=call, released_at=NOON)}
    assert len(list(tmp_path.iterdir())) == 1
    again.close()


def test_two_processes_never_share_a_file(tmp_path: Path) -> None:
    """What a living gateway has granted is its own to book."""
    living, other = Journal(tmp_path), Journal(tmp_path)
    living.append([Granted(grant=grant())])

    assert other.take_in() == {}
    assert len(list(tmp_path.iterdir())) == 2
    living.close()
    other.close()


def test_a_journal_in_which_nothing_is_left_leaves_no_file(tmp_path: Path) -> None:
    """Years of starts fill no directory."""
    journal = Journal(tmp_path)
    journal.append([Granted(grant=grant())])
    journal.clear()
    journal.close()

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_takes_a_line_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was written of it is taken back, or a shorter one would have the rest behind it."""
    journal = Journal(tmp_path)
    call, refused = grant(), Granted(grant=grant())
    journal.append([Granted(grant=call)])
    room = len(written(Granted(grant=call))) + len(written(refused)) + 100

    with full_disk(room), pytest.raises(OSError, match="large"):
        journal.append([refused, refused])
    journal.append([Released(key=call.key, at=NOON)])
    crash(journal)

    following = Journal(tmp_path)
    assert following.take_in() == {call.key: GrantedCall(grant=call, released_at=NOON)}
    assert [each.suffix for each in tmp_path.iterdir()] == [".journal"]
    following.close()


def test_damage_is_kept_for_somebody_to_look_at(tmp_path: Path) -> None:
    """What can be read counts; the file goes to the side, and is not read again."""
    left = Journal(tmp_path)
    call, booked = grant(), grant()
    left.append([Granted(grant=booked), Granted(grant=call), Gone(key=booked.key)])
    left.append([Released(key=call.key, at=NOON)])
    crash(left)
    [path] = tmp_path.iterdir()
    path.write_bytes(b"\x00\x00\n" + path.read_bytes())

    following = Journal(tmp_path)

    assert set(following.take_in()) == {call.key}
    assert [each.suffix for each in sorted(tmp_path.iterdir())].count(".damaged") == 1
    assert following.take_in() == {}
    following.close()


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_file_that_cannot_go_is_taken_in_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_damaged: bool
) -> None:
    """Its lines would fill the disk, a copy a second; it goes when it can."""
    left = Journal(tmp_path)
    call = grant()
    left.append([Granted(grant=call), Released(key=call.key, at=NOON)])
    crash(left)
    [path] = tmp_path.iterdir()
    path.write_bytes(b"\x00\n" * is_damaged + path.read_bytes())
    following = Journal(tmp_path)

    def refuses(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "unlink", refuses)
        disk.setattr(Path, "rename", refuses)
        assert set(following.take_in()) == {call.key}
        sizes = [each.stat().st_size for each in sorted(tmp_path.iterdir())]
        assert following.take_in() == {}
        assert [each.stat().st_size for each in sorted(tmp_path.iterdir())] == sizes
    assert following.take_in() == {}
    assert not path.exists()
    assert path.with_suffix(".damaged").exists() is is_damaged
    put_back = grant()
    path.write_bytes(
        written(Granted(grant=put_back)) + written(Released(key=put_back.key, at=NOON))
    )
    assert set(following.take_in()) == {put_back.key}
    following.close()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """It may have gone since the settings were read."""
    with pytest.raises(JournalUnusable, match="nowhere: No such file"):
        Journal(tmp_path / "nowhere")
