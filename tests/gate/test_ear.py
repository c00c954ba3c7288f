"""What the tests hear a telephone with: it keeps its silence, and never fails unseen."""

import asyncio
import socket

import pytest

from gateway.lab import program
from gateway.lab.telephone import ear_on

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEADER = bytes(12)
LOUD, SILENT = bytes([0x2A]) * 160, bytes([0xD5]) * 160


async def test_a_packet_is_heard_and_answered_with_silence() -> None:
    """As much as came: into a telephone that sends nothing Asterisk would whisper nothing."""
    port = program.free_port(socket.SOCK_DGRAM)
    async with ear_on(port) as ear:
        with _telephone(port) as telephone:
            telephone.send(HEADER + LOUD)
            heard = await ear.next_telephone()
            answer = await _received(telephone)

    assert len(heard.heard_at()) == 1
    assert answer[-len(SILENT) :] == SILENT
    assert len(answer) == len(HEADER) + len(SILENT)


async def test_an_ear_that_fails_fails_its_test() -> None:
    """Asyncio logs what a protocol raises, and goes on: a deaf ear would pass for a quiet line."""

    async def listen(port: int) -> None:
        async with ear_on(port) as ear:
            with _telephone(port) as telephone:
                ear.connection_made(asyncio.BaseTransport())
                telephone.send(HEADER + LOUD)
                await ear.next_telephone()

    with pytest.raises(ExceptionGroup, match="the ear failed"):
        await listen(program.free_port(socket.SOCK_DGRAM))


def _telephone(port: int) -> socket.socket:
    """Return a socket whose packets go to a port of the loopback interface."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.connect(("127.0.0.1", port))
    return opened


async def _received(telephone: socket.socket) -> bytes:
    """Return the next packet that comes back; TimeoutError if none does."""
    async with asyncio.timeout(2):
        return await asyncio.get_running_loop().sock_recv(telephone, 2048)
