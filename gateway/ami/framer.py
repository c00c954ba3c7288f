"""Bytes in, whole messages out."""

from collections.abc import Iterator

_LINE_END = b"\r\n"
_MESSAGE_END = b"\r\n\r\n"


class MessageTooLong(Exception):
    """The other side sent more bytes without an end of message than any message has."""


class Framer:
    """Cuts what one connection receives into its banner line and then its messages.

    Works on bytes, so that a character split over two reads is decoded whole. Each byte is
    searched once, however the reads are cut, so that a long message costs no more than its length.
    """

    def __init__(self, *, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._buffer = bytearray()
        self._searched = 0
        self._end = _LINE_END

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages that these bytes complete, without their end; the first is the banner.

        To be read to its end. Raises MessageTooLong once a message exceeds the maximum.
        """
        self._buffer += data
        start = 0
        stop = self._buffer.find(self._end, max(0, self._searched - len(self._end) + 1))
        while stop >= 0:
            self._check(stop - start)
            yield bytes(self._buffer[start:stop])
            start = stop + len(self._end)
            self._end = _MESSAGE_END
            stop = self._buffer.find(self._end, start)
        del self._buffer[:start]
        self._searched = len(self._buffer)
        if self._searched > self._message_bytes_max:
            self._check(self._searched - self._end_begun())

    def _end_begun(self) -> int:
        """Return how many of the last bytes may be the beginning of the end.

        They are no part of the message: or it would depend on the cut whether the longest
        message is taken.
        """
        return next(
            length
            for length in reversed(range(len(self._end)))
            if self._buffer.endswith(self._end[:length])
        )

    def _check(self, message_bytes: int) -> None:
        if message_bytes > self._message_bytes_max:
            raise MessageTooLong
