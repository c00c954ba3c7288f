"""Messages are whole, however the network cut them."""

import time

import pytest

from gateway.ami.framer import Framer, MessageTooLong

WIRE = "Banner\r\nEvent: A\r\nName: José\r\n\r\nEvent: B\r\nLast: \r\n\r\n".encode()
MESSAGES = [b"Banner", "Event: A\r\nName: José".encode(), b"Event: B\r\nLast: "]


def test_every_cut_gives_the_same_messages() -> None:
    """A read may end anywhere: within a character, within the end of a message."""
    for cut in range(len(WIRE) + 1):
        framer = Framer(message_bytes_max=100)

        assert [*framer.feed(WIRE[:cut]), *framer.feed(WIRE[cut:])] == MESSAGES


def test_single_bytes_give_the_same_messages() -> None:
    """The worst cut of all."""
    framer = Framer(message_bytes_max=100)

    assert [frame for byte in WIRE for frame in framer.feed(bytes([byte]))] == MESSAGES


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_message_longer_than_the_maximum_is_refused(end: bytes) -> None:
    """Whether or not it ends at last: what waits for its end fills the memory."""
    framer = Framer(message_bytes_max=100)
    list(framer.feed(b"Banner\r\n" + b"x" * 100 + b"\r\n\r\n"))

    with pytest.raises(MessageTooLong):
        list(framer.feed(b"x" * 101 + end))


def test_the_longest_message_is_taken_however_it_is_cut() -> None:
    """What has come of its end is no part of it: a busy network must not cost a link."""
    wire = b"Banner\r\n" + b"x" * 100 + b"\r\n\r\n"
    for cut in range(len(wire) + 1):
        framer = Framer(message_bytes_max=100)

        assert [*framer.feed(wire[:cut]), *framer.feed(wire[cut:])] == [b"Banner", b"x" * 100]


def test_a_long_message_costs_no_more_than_its_length() -> None:
    """Eight times the reads of one message take about eight times as long, not sixty-four times.

    The processor's time is measured, and the best of several, because the machine is shared.
    """

    def seconds(reads: int) -> float:
        framer = Framer(message_bytes_max=10_000_000)
        list(framer.feed(b"Banner\r\n"))
        begin = time.process_time()
        for _ in range(reads):
            list(framer.feed(b"x" * 500))
        return time.process_time() - begin

    assert min(seconds(8000) for _ in range(3)) < 30 * min(seconds(1000) for _ in range(3))
