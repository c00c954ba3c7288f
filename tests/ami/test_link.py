"""The link is known to be up or known to be down, and comes back by itself."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context

import pytest
from structlog.testing import capture_logs

from gateway.ami import (
    AmiLoginRefused,
    AmiUnavailable,
    Event,
    GateReached,
    Hangup,
    LinkDown,
    LinkUp,
    Shutdown,
)
from gateway.ami.answers import Answers
from gateway.ami.inbox import Inbox
from gateway.ami.link import Link
from gateway.ami.malformed import Malformed
from tests.ami.conftest import SECRET, Linked, Running, link
from tests.ami.scripted_server import DEADLINE_SECONDS, ScriptedServer, Session, message
from tests.ami.test_translate import GATE


def hangup(number: int) -> bytes:
    """Return the event of a channel's end."""
    return message("Event: Hangup", f"Uniqueid: pbx-1.{number}", "Cause: 16")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event announces."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)


async def test_the_link_is_up_once_asterisk_is_fully_booted(server: ScriptedServer) -> None:
    """Logged in is not enough: before that, Asterisk's dialplan may not be loaded."""
    running = Running(server.port)
    session = await server.session()
    asked = await session.log_in()
    assert not running.client.ready

    session.send("Event: FullyBooted", "Uptime: 7", "Status: Fully Booted")
    assert await running.event() == LinkUp(uptime_seconds=7)
    assert running.client.ready
    assert asked["Secret"] == SECRET
    assert list(asked)[:2] == ["Action", "ActionID"]
    await running.stop()


async def test_events_keep_the_order_of_the_wire_across_the_link_s_ends(linked: Linked) -> None:
    """A hangup before the loss was seen, one after it was not: billing tells them apart."""
    linked.session.write(hangup(1) + message("Event: Shutdown") + hangup(2))
    linked.session.write(message(*GATE))
    first = [await linked.running.event() for _ in range(4)]
    linked.session.abort()
    second = await linked.server.session()
    await second.boot(uptime_seconds=1)
    second.write(hangup(3))
    events = first + [await linked.running.event() for _ in range(3)]

    kinds = [Hangup, Shutdown, Hangup, GateReached, LinkDown, LinkUp, Hangup]
    assert [type(event) for event in events] == kinds
    hangups = [event.uniqueid for event in events if isinstance(event, Hangup)]
    assert hangups == ["pbx-1.1", "pbx-1.2", "pbx-1.3"]
    assert events[5] == LinkUp(uptime_seconds=1)


async def test_a_second_fully_booted_is_no_second_link(linked: Linked) -> None:
    """Asterisk sends it twice to a session that logged in while it was booting."""
    linked.session.send("Event: FullyBooted", "Uptime: 8")
    linked.session.write(hangup(1))

    assert isinstance(await linked.running.event(), Hangup)


async def test_noise_is_ignored(linked: Linked) -> None:
    """Unknown events, malformed ones, bare line ends and bytes that are no text end nothing."""
    linked.session.write(b"\r\n\r\n\r\nno colon\r\n\r\nEvent: \r\n\r\nEvent: Newexten\r\nX\r\n\r\n")
    linked.session.write(b"Event: Unheard\r\nActionID: nobody\r\n: \r\n\r\nResponse: Odd\r\n\r\n")
    linked.session.write(message("Event: UserEvent", "UserEvent: DialoutGate", "Key: no"))
    linked.session.write(
        b"\r\nEvent: Hangup\r\nUniqueid: \xff\xfe\r\nCause: many\r\n\r\n" + hangup(1)
    )
    odd, good = await linked.running.event(), await linked.running.event()

    assert odd == Hangup(uniqueid="\ufffd\ufffd", linkedid="", channel="", cause=0, at=None)
    assert isinstance(good, Hangup)
    assert linked.client.ready


async def test_a_message_without_end_ends_the_link(linked: Linked) -> None:
    """What waits for its end must not fill the memory."""
    linked.session.write(b"Event: Hangup\r\n" + b"x" * 70_000)
    event = await linked.running.event()

    assert event == LinkDown(reason="a message was too long")
    assert isinstance((await link(linked.server, linked.running)).session, Session)


async def test_a_consumer_that_is_too_slow_loses_the_link_and_no_single_event(
    server: ScriptedServer,
) -> None:
    """It is told that it missed something, and where. It reconciles after the next link."""
    linked = await link(server, Running(server.port, events_max=10))
    linked.session.write(b"".join(hangup(number) for number in range(50)))
    await until(lambda: not linked.client.ready)
    events: list[Event] = [await linked.running.event() for _ in range(11)]

    assert [event.uniqueid for event in events[:10] if isinstance(event, Hangup)] == [
        f"pbx-1.{number}" for number in range(10)
    ]
    assert isinstance(events[10], LinkDown)
    assert "overflow" in events[10].reason
    await link(server, linked.running)
    await linked.running.stop()


async def test_nothing_is_taken_from_a_link_that_ended() -> None:
    """What a transport still delivers lies behind the gap that `LinkDown` is about to tell of."""
    inbox = Inbox(events_max=10)
    ended = Link(
        inbox=inbox,
        answers=Answers(list_bytes_max=1000),
        malformed=Malformed(),
        message_bytes_max=1000,
    )
    ended.data_received(b"Asterisk Call Manager/11.0.0\r\n" + hangup(1))
    ended.drop("overflow")
    ended.data_received(hangup(2))
    inbox.close()

    assert [event async for event in inbox] == [
        Hangup(uniqueid="pbx-1.1", linkedid="", channel="", cause=16, at=None)
    ]


async def test_no_link_is_made_for_a_consumer_that_stands_still(server: ScriptedServer) -> None:
    """Or every new link would add to an inbox that nobody empties.

    Another client that loses its link three times in the meantime shows that there was time.
    """
    linked = await link(server, Running(server.port, events_max=10))
    linked.session.write(b"".join(hangup(number) for number in range(11)))
    assert await linked.session.rest() == b""
    for _ in range(5):
        await linked.running.event()
    async with ScriptedServer() as elsewhere:
        other = Running(elsewhere.port)
        for _ in range(3):
            again = await link(elsewhere, other)
            again.session.abort()
            assert isinstance(await other.event(), LinkDown)
        await other.stop()
    assert server.sessions_waiting == 0

    await linked.running.event()
    assert isinstance(await server.session(), Session)
    await linked.running.stop()


async def test_a_half_open_link_is_noticed(server: ScriptedServer) -> None:
    """A pulled cable sends nothing. Only an unanswered ping tells."""
    linked = await link(
        server, Running(server.port, ping_interval_seconds=0.05, ping_deadline_seconds=1.5)
    )
    for _ in range(2):
        asked = await linked.session.asked()
        assert asked["Action"] == "Ping"
        linked.session.answer(asked, "Ping: Pong")
    unanswered = await linked.session.asked()

    assert unanswered["Action"] == "Ping"
    assert await linked.running.event() == LinkDown(reason="a ping was not answered")
    await link(server, linked.running)
    await linked.running.stop()


async def test_a_refused_ping_is_an_answer(server: ScriptedServer) -> None:
    """Whoever answers is there."""
    linked = await link(server, Running(server.port, ping_interval_seconds=0.01))
    for _ in range(3):
        linked.session.answer(await linked.session.asked(), response="Error")

    assert linked.client.ready
    await linked.running.stop()


def bad_banner(session: Session) -> None:
    """Be something else than Asterisk."""
    session.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def silence(_session: Session) -> None:
    """Accept the connection and say nothing."""


def silent_login(session: Session) -> None:
    """Say nothing to the login."""
    session.greet()


@pytest.mark.parametrize("fail", [bad_banner, silence, silent_login, Session.abort])
async def test_a_connection_that_comes_to_nothing_is_tried_again(
    server: ScriptedServer, fail: Callable[[Session], None]
) -> None:
    """Asterisk and networks come back; nobody should have to restart the gateway for it."""
    running = Running(server.port, connect_deadline_seconds=1.5)
    for _ in range(2):
        fail(await server.session())

    await link(server, running)
    await running.stop()


async def test_an_asterisk_that_does_not_boot_is_tried_again(server: ScriptedServer) -> None:
    """Also the account without the class `system`, which the reason in the log names."""
    with capture_logs() as logs:
        running = Running(server.port, boot_deadline_seconds=0.3)
        await (await server.session()).log_in()
        await link(server, running)
    await running.stop()

    assert "read=system" in logs[0]["reason"]


async def test_refused_connections_are_tried_ever_more_slowly(server: ScriptedServer) -> None:
    """Waits double up to their maximum, and start short again after a link that was up."""
    port = server.port
    with capture_logs() as logs:
        async with ScriptedServer() as gone:
            port = gone.port
        running = Running(port, reconnect_seconds_max=0.1)
        await until(lambda: len(logs) >= 7)
        await running.stop()

    waits = [log["wait_seconds"] for log in logs if log["event"] == "ami.connect_failed"]
    assert all(0.01 <= wait <= 0.02 for wait in waits[:1])
    assert all(0.04 <= wait <= 0.05 for wait in waits[2:3])
    assert all(0.1 <= wait <= 0.111 for wait in waits[5:])


@pytest.mark.parametrize("reason", ["Authentication failed", "Permission denied"])
async def test_a_refused_login_ends_the_run(server: ScriptedServer, reason: str) -> None:
    """A wrong secret stays wrong. Whoever reads the error learns where to look, not the secret."""
    with capture_logs() as logs:
        running = Running(server.port)
        session = await server.session()
        session.greet()
        session.answer(await session.asked(), f"Message: {reason}", response="Error")
        with pytest.raises(AmiLoginRefused, match=reason) as caught:
            await asyncio.wait_for(running.run, DEADLINE_SECONDS)

    assert "manager.conf" in str(caught.value)
    assert "'gateway'" in str(caught.value)
    assert SECRET not in f"{caught.value!r} {logs}"
    assert [log["event"] for log in logs] == ["ami.login_refused"]
    with pytest.raises(StopAsyncIteration):
        await running.event()


async def test_a_login_that_is_in_use_is_tried_again(server: ScriptedServer) -> None:
    """Asterisk holds our dead connection for as long as it has not noticed its end itself."""
    running = Running(server.port)
    for reason in ("Login Already In Use", "Asterisk is shutting down"):
        session = await server.session()
        session.greet()
        session.answer(await session.asked(), f"Message: {reason}", response="Error")

    await link(server, running)
    await running.stop()


async def test_the_secret_is_in_no_log(server: ScriptedServer) -> None:
    """Through connecting, a timeout, a loss and the end."""
    with capture_logs() as logs:
        linked = await link(server, Running(server.port, action_deadline_seconds=0.01))
        with pytest.raises(Exception, match="not answered"):
            await linked.client.ping()
        linked.session.abort()
        assert isinstance(await linked.running.event(), LinkDown)
        await link(server, linked.running)
        await linked.running.stop()

    events = [log["event"] for log in logs]
    assert events[:3] == ["ami.connected", "ami.action_timed_out", "ami.lost"]
    assert SECRET not in str(logs)


async def test_close_ends_everything(linked: Linked) -> None:
    """An action in flight, the run, the stream, the socket; the fixture looks for tasks."""
    asking = asyncio.ensure_future(linked.client.ping())
    await linked.session.asked()
    await linked.client.close()
    await linked.client.close()
    await asyncio.wait_for(linked.running.run, DEADLINE_SECONDS)

    with pytest.raises(AmiUnavailable) as caught:
        await asking
    assert caught.value.unknown
    assert await linked.session.rest() == b""
    assert await linked.running.event() == LinkDown(reason="closed")
    with pytest.raises(StopAsyncIteration):
        await linked.running.event()
    with pytest.raises(AmiUnavailable):
        await linked.client.ping()


async def test_cancelling_the_run_ends_everything(linked: Linked) -> None:
    """As `close`, but the cancellation is passed on, or a TaskGroup would wait for ever."""
    linked.running.run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(linked.running.run, DEADLINE_SECONDS)

    assert await linked.session.rest() == b""
    assert await linked.running.event() == LinkDown(reason="closed")


@pytest.mark.parametrize("stage", [None, silence, silent_login])
async def test_close_while_connecting_leaves_nothing(
    server: ScriptedServer, stage: Callable[[Session], None] | None
) -> None:
    """At every stage: nothing may connect again after the end."""
    running = Running(server.port)
    if stage is not None:
        session = await server.session()
        stage(session)
        await running.stop()
        await session.rest()
    await running.stop()

    assert running.run.done()
    assert server.sessions_waiting == 0


async def test_close_during_the_wait_for_the_next_try(server: ScriptedServer) -> None:
    """The timer of a reconnection must not outlive the client."""
    running = Running(server.port)
    (await server.session()).abort()
    with capture_logs() as logs:
        await until(lambda: len(logs) > 0)
        await running.stop()

    assert running.run.exception() is None
    with pytest.raises(StopAsyncIteration):
        await running.event()


async def test_a_client_closed_before_it_ran_does_not_run(server: ScriptedServer) -> None:
    """A shutdown may overtake the start."""
    running = Running(server.port)
    await running.client.close()
    await asyncio.wait_for(running.run, DEADLINE_SECONDS)

    assert server.sessions_waiting == 0


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the loopback that signs itself, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN=ami -addext subjectAltName=IP:127.0.0.1 -keyout {path}.key -out {path}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.key").read_text())
    return path


async def test_the_link_may_be_encrypted(certificate: Path) -> None:
    """Asterisk on another host: the certificate is checked, actions and events pass."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with ScriptedServer(ssl=context) as server:
        trusting = create_default_context(cafile=str(certificate))
        linked = await link(server, Running(server.port, ssl=trusting))
        pinging = asyncio.ensure_future(linked.client.ping())
        linked.session.answer(await linked.session.asked(), "Timestamp: 2.5")
        assert await pinging == 2500
        await linked.running.stop()


async def test_a_certificate_that_is_not_trusted_gets_no_secret(certificate: Path) -> None:
    """The login would hand the secret to whoever answers at that address."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with ScriptedServer(ssl=context) as server:
        with capture_logs() as logs:
            running = Running(server.port, ssl=create_default_context())
            await until(lambda: len(logs) > 0)
        await running.stop()

    assert logs[0]["event"] == "ami.connect_failed"
    assert "certificate" in logs[0]["reason"]
    assert server.sessions_waiting == 0
