"""Traffic that no Asterisk sends, made of traffic that one did; the same for the same seed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

TRAFFIC = (Path(__file__).parent / "traffic.ami").read_bytes()
"""What an Asterisk of the lab said to a gateway from its banner on, while it placed seven calls
to numbers that nobody has: answered, busy, declined, hung up and rung in vain."""

END = b"\r\n\r\n"
MESSAGES = tuple(TRAFFIC.split(b"\r\n", 1)[1].removesuffix(END).split(END))

Mutation = Callable[[Random, bytes], bytes]


def mutated(random: Random, size: int) -> Iterator[bytes]:
    """Yield pieces of mutated traffic, of so many bytes together or a little more.

    Half of the messages are as they were, so that what is broken stands among what is not.
    """
    while size > 0:
        piece = random.choice(MESSAGES) + END
        if random.random() < 0.5:
            piece = random.choice(MUTATIONS)(random, piece)
        size -= len(piece)
        yield piece


def _flip_bits(random: Random, piece: bytes) -> bytes:
    flipped = bytearray(piece)
    for _ in range(random.randint(1, 8)):
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    return bytes(flipped)


def _delete(random: Random, piece: bytes) -> bytes:
    start, stop = _span(random, piece)
    return piece[:start] + piece[stop:]


def _duplicate(random: Random, piece: bytes) -> bytes:
    start, stop = _span(random, piece)
    return piece[:stop] + piece[start:stop] * random.randint(1, 20) + piece[stop:]


def _truncate(random: Random, piece: bytes) -> bytes:
    return piece[: random.randrange(len(piece))]


def _splice(random: Random, piece: bytes) -> bytes:
    other = random.choice(MESSAGES) + END
    return piece[: random.randrange(len(piece))] + other[random.randrange(len(other)) :]


def _insert(random: Random, piece: bytes, inserted: bytes) -> bytes:
    at = random.randrange(len(piece))
    return piece[:at] + inserted + piece[at:]


def _insert_bytes(random: Random, piece: bytes) -> bytes:
    odd = (b"\0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\r", b"\n", b"\x1b[2J", b"\xe2\x80\xa8")
    return _insert(random, piece, random.choice(odd) * random.randint(1, 3))


def _insert_long_line(random: Random, piece: bytes) -> bytes:
    return _insert(random, piece, b"x" * _mostly_few(random, (100, 5_000, 70_000)))


def _insert_line_ends(random: Random, piece: bytes) -> bytes:
    return piece + random.choice((b"\r\n", b"\n", b"\r")) * _mostly_few(random, (10, 1_000, 50_000))


def _insert_banner(random: Random, piece: bytes) -> bytes:
    return _insert(random, piece, b"Asterisk Call Manager/11.0.0\r\n")


def _many_headers(random: Random, piece: bytes) -> bytes:
    headers = b"".join(b"H%d: 1\r\n" % n for n in range(_mostly_few(random, (100, 300, 5_000))))
    return piece.removesuffix(b"\r\n") + headers + b"\r\n"


def _repeat_header(random: Random, piece: bytes) -> bytes:
    line = random.choice(piece.split(b"\r\n"))
    return piece.removesuffix(b"\r\n") + (line + b"\r\n") * random.choice((1, 50)) + b"\r\n"


def _rename_header(random: Random, piece: bytes) -> bytes:
    headers = (b"Uniqueid", b"DestUniqueid", b"Timestamp", b"DialStatus", b"ActionID", b"Key")
    return piece.replace(random.choice(headers), random.choice(headers))


def _replace_value(random: Random, piece: bytes) -> bytes:
    lines = piece.split(b"\r\n")
    at = random.randrange(len(lines))
    values = (b"", b"9" * 18, b"9" * 400, b"-1", b"<null>", b"\xff" * 40, b"1.5e9", b"Complete")
    lines[at] = lines[at].split(b": ")[0] + b": " + random.choice(values)
    return b"\r\n".join(lines)


def _list_of_nobody(random: Random, _: bytes) -> bytes:
    start = b"Response: Success\r\nActionID: nobody\r\nEventList: start\r\n\r\n"
    item = b"Event: CoreShowChannel\r\nActionID: nobody\r\nUniqueid: 1\r\n\r\n"
    ending = b"Event: CoreShowChannelsComplete\r\nActionID: nobody\r\nEventList: Complete\r\n\r\n"
    return start + item * random.randint(0, 200) + ending * random.randint(0, 2)


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits,
    _delete,
    _duplicate,
    _truncate,
    _splice,
    _insert_bytes,
    _insert_long_line,
    _insert_line_ends,
    _insert_banner,
    _many_headers,
    _repeat_header,
    _rename_header,
    _replace_value,
    _list_of_nobody,
)


def _mostly_few(random: Random, numbers: tuple[int, int, int]) -> int:
    """Return one of the numbers; the largest seldom, or there would be little else to read."""
    return random.choices(numbers, (85, 13, 2))[0]


def _span(random: Random, piece: bytes) -> tuple[int, int]:
    start = random.randrange(len(piece))
    return start, min(len(piece), start + random.randint(1, 60))
