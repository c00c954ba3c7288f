"""One gateway and two bridges, each an Asterisk with a carrier of its own."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway import db
from gateway.core.causes import Disposition
from gateway.core.dial_out import BridgeName
from gateway.lab.asterisk import Asterisk
from gateway.lab.carrier import Carrier, Invite
from gateway.lab.program import find_asterisk, find_sipp
from gateway.lab.service import CALLER_ID, Service
from gateway.lab.stack import Stack, stack
from gateway.ledger import Ledger, Provisioning
from gateway.reconcile import SECOND_LOOK_SECONDS
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.json_lines import whole_lines
from tests.calls.meeting import ORGANIZER, Answer, Meeting, london, nairobi
from tests.calls.test_intercept import originate
from tests.gate.ami_socket import AmiSocket

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

MAIN, EAST = "main", "east"
EAST_CALLER_ID = "+12125550100"
EAST_REGIONS = '["GB", "US"]'
INVITE_SECONDS = 1.5
"""How long a carrier may take to note a call that nobody was to place."""

# The bridge's own dialplan, by which people come in without a telephone call of ours.
_DOORS = """
[doors]
exten => _g.,1,Answer()
 same => n,ConfBridge(${EXTEN:1},dialout-bridge,dialout-user)
exten => waits,1,Wait(600)
"""
_numbers = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One bridge: an Asterisk that lets visitors in, and the carrier of its trunk."""

    name: str
    asterisk: Asterisk
    carrier: Carrier

    def application(self) -> AmiSocket:
        """Return other software on this bridge, which may originate."""
        return AmiSocket(
            self.asterisk.host, self.asterisk.ami_port, APPLICATION, APPLICATION_SECRET
        )

    async def enter(self, room: str) -> None:
        """Let somebody into a conference."""
        async with self.application() as application:
            await application.send(
                ("Action", "Originate"),
                ("Channel", f"Local/g{room}@doors/n"),
                ("Context", "doors"),
                ("Exten", "waits"),
                ("Priority", "1"),
                ("Async", "true"),
            )
            await application.event("ConfbridgeJoin", Conference=room)

    async def empty(self) -> None:
        """Have everybody leave."""
        await self.asterisk.cli("channel request hangup all")

    def invites(self, number: str) -> list[Invite]:
        """Return the calls to a number that this carrier has seen."""
        return [each for each in self.carrier.invites() if each.number == number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Two bridges, one gateway, one meeting. No bridge is the default."""

    main: Side
    east: Side
    parts: Stack
    service: Service
    client: httpx.AsyncClient
    meeting: Meeting
    output: Path

    async def whereabouts(self, room: str, **fields: Any) -> str:
        """Return which bridge a call into a conference would be of, or why of none."""
        body = {
            "tenant_id": str(self.meeting.tenant_id),
            "organizer_id": ORGANIZER,
            "conference_id": room,
            "number": "+442079460000",
            **fields,
        }
        answer = (await self.client.post("/v1/explanations", json=body)).json()
        where: str = answer["request"]["bridge"] if "request" in answer else answer["reason"]
        return where

    async def until_at(self, room: str, where: str) -> None:
        """Return once the gateway knows so of a conference."""
        async with asyncio.timeout(30):
            while await self.whereabouts(room) != where:
                await asyncio.sleep(0.05)

    async def hosts(self, side: Side, room: str) -> None:
        """Have a conference in progress on one bridge alone, and the gateway know of it."""
        await side.enter(room)
        await self.until_at(room, side.name)

    async def states(self) -> dict[str, str]:
        """Return what the gateway says of each bridge."""
        answer = await self.client.get("/readyz")
        bridges: dict[str, str] = answer.json()["bridges"]
        return bridges

    async def until_state(self, side: Side, state: str) -> None:
        """Return once the gateway says so of a bridge."""
        async with asyncio.timeout(20):
            while (await self.states())[side.name] != state:
                await asyncio.sleep(0.05)

    async def call(self, room: str) -> Answer:
        """Bring a telephone into a conference that talks until it is hung up."""
        placed = await self.meeting.place(london("10"), conference_id=room)
        return await self.meeting.answered(placed["dial_out_id"])

    async def said(self, event: str, **fields: str) -> dict[str, Any]:
        """Return the first line of the gateway's log of this name and with these fields."""
        async with asyncio.timeout(30):
            while True:
                for line in whole_lines(self.output):
                    if line["event"] == event and fields.items() <= line.items():
                        return line
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site_of_all(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Two bridges, and a gateway that has both."""
    output = tmp_path_factory.mktemp("bridges") / "gateway.log"
    applications = {APPLICATION: APPLICATION_SECRET}
    async with AsyncExitStack() as open_parts:
        parts = await open_parts.enter_async_context(stack(LAB, applications=applications))
        carrier = await open_parts.enter_async_context(Carrier(find_sipp(LAB)))
        asterisk = await open_parts.enter_async_context(
            Asterisk(find_asterisk(LAB), trunk_port=carrier.port, applications=applications)
        )
        main = Side(name=MAIN, asterisk=parts.asterisk, carrier=parts.carrier)
        east = Side(name=EAST, asterisk=asterisk, carrier=carrier)
        for side in (main, east):
            with (side.asterisk.directory / "etc" / "extensions.conf").open("a") as file:
                file.write(_DOORS)
            await side.asterisk.cli("dialplan reload")
        service = await open_parts.enter_async_context(
            Service(
                parts.asterisk,
                database=parts.gateway,
                output=output,
                options=OPTIONS
                | bridge_options(EAST, asterisk, regions=EAST_REGIONS)
                | {"DIALOUT_LOG__FORMAT": "json"},
            )
        )
        client = await open_parts.enter_async_context(service.client())
        pool = await open_parts.enter_async_context(db.pool(parts.owner))
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        await meeting.buy_credits(50_000_000)
        yield Site(
            main=main,
            east=east,
            parts=parts,
            service=service,
            client=client,
            meeting=meeting,
            output=output,
        )


@pytest_asyncio.fixture(loop_scope="session")
async def site(site_of_all: Site) -> Site:
    """The same with a meeting of this test alone, and both bridges ready."""
    site = replace(site_of_all, meeting=await site_of_all.meeting.another())
    await site.meeting.buy_credits(50_000_000)
    for side in (site.main, site.east):
        await site.until_state(side, "ready")
    return site


@pytest.fixture
def room() -> str:
    """A conference that no other test has."""
    return f"room-{next(_numbers)}"


def bridge_options(name: str, asterisk: Asterisk, **options: str) -> dict[str, str]:
    """Return the settings of one more bridge, by their environment names."""
    settings = {
        "port": str(asterisk.ami_port),
        "username": asterisk.account,
        "secret": asterisk.secret,
        "caller_id": EAST_CALLER_ID,
        **options,
    }
    return {f"DIALOUT_BRIDGES__{name}__{key}".upper(): value for key, value in settings.items()}


async def test_the_bridge_that_hosts_the_conference_calls(site: Site, room: str) -> None:
    """With its own caller id and its own trunk; the other's carrier hears nothing of it.

    Nobody named a bridge, and none is the default: only the conference tells.
    """
    await site.hosts(site.east, room)

    number = london("22")
    placed = await site.meeting.place(number, conference_id=room)
    ended = await site.meeting.ended(placed["dial_out_id"])

    [invite] = site.east.invites(number)
    assert f"+{invite.caller}" == EAST_CALLER_ID
    assert site.main.invites(number) == []
    assert ended["bridge"] == EAST
    assert ended["disposition"] == "answered"
    line = await site.said("dial_out.ended", dial_out_id=placed["dial_out_id"])
    assert line["bridge"] == EAST
    assert (await site.said("call.answered", dial_out_id=placed["dial_out_id"]))["bridge"] == EAST
    await site.meeting.assert_books_are_clean()


async def test_the_other_bridge_calls_as_itself(site: Site, room: str) -> None:
    """So that the first test's caller id is no accident."""
    await site.hosts(site.main, room)

    number = london("22")
    placed = await site.meeting.place(number, conference_id=room)
    await site.meeting.ended(placed["dial_out_id"])

    [invite] = site.main.invites(number)
    assert f"+{invite.caller}" == CALLER_ID
    assert site.east.invites(number) == []


async def test_a_conference_that_is_nowhere_needs_a_bridge_to_be_named(
    site: Site, room: str
) -> None:
    """Of two, neither is a guess away: the callee would sit there alone. Named, it is called."""
    number = london("22")

    unplaced = await site.meeting.post(number, conference_id=room)
    unknown = await site.meeting.post(number, conference_id=room, bridge="west")
    invalid = await site.meeting.post(number, conference_id=room, bridge="East;")
    placed = await site.meeting.place(number, conference_id=room, bridge=EAST)
    await site.meeting.ended(placed["dial_out_id"])

    assert (unplaced.status_code, unplaced.json()["reason"]) == (409, "conference_not_in_progress")
    assert (unknown.status_code, unknown.json()["reason"]) == (422, "bridge_unknown")
    assert invalid.status_code == 422
    assert placed["bridge"] == EAST
    assert (len(site.east.invites(number)), len(site.main.invites(number))) == (1, 0)


async def test_a_conference_that_is_being_called_into_is_on_that_bridge(
    site: Site, room: str
) -> None:
    """Its first telephone still rings: the second one is not called to another place."""
    ringing = await site.meeting.place(london("80"), conference_id=room, bridge=EAST)

    where = await site.whereabouts(room)
    await site.meeting.cancel(ringing["dial_out_id"])
    await site.meeting.ended(ringing["dial_out_id"])

    assert where == EAST
    await site.until_at(room, "conference_not_in_progress")


async def test_a_conference_on_both_bridges_needs_one_to_be_named(site: Site, room: str) -> None:
    """Whoever is called into the wrong one meets strangers. When one of them ends, all is clear."""
    await site.hosts(site.main, room)
    await site.east.enter(room)
    await site.until_at(room, "conference_on_several_bridges")

    number = london("22")
    unplaced = await site.meeting.post(number, conference_id=room)
    placed = await site.meeting.place(number, conference_id=room, bridge=EAST)
    await site.meeting.ended(placed["dial_out_id"])
    await site.main.empty()

    assert unplaced.status_code == 409
    assert (len(site.east.invites(number)), len(site.main.invites(number))) == (1, 0)
    await site.until_at(room, EAST)


async def test_a_repeated_request_is_of_the_bridge_that_it_was_first_of(
    site: Site, room: str
) -> None:
    """Wherever the conference is by now, or nowhere, whatever bridge is named: one id, one call."""
    number = london("22")
    placed = await site.meeting.place(number, conference_id=room, bridge=EAST)
    await site.meeting.ended(placed["dial_out_id"])
    await site.until_at(room, "conference_not_in_progress")
    same = {"conference_id": room, "dial_out_id": placed["dial_out_id"]}

    nowhere = await site.meeting.post(number, **same)
    await site.hosts(site.main, room)
    again = [
        await site.meeting.post(number, **same, **named)
        for named in ({}, {"bridge": MAIN}, {"bridge": EAST}, {"bridge": "west"})
    ]

    for answer in (nowhere, *again):
        assert (answer.status_code, answer.json()["bridge"]) == (200, EAST)
    await asyncio.sleep(INVITE_SECONDS)
    assert (len(site.east.invites(number)), len(site.main.invites(number))) == (1, 0)


async def test_an_intercepted_channel_is_of_the_bridge_that_it_is_on(site: Site) -> None:
    """It waits there, so it is let go on there, by that trunk and with that caller id."""
    number = london("22")
    async with site.east.application() as application:
        await originate(
            application, number, tenant=str(site.meeting.tenant_id), organizer=ORGANIZER
        )

    line = await site.said("dial_out.ended", tenant_id=str(site.meeting.tenant_id))
    [invite] = site.east.invites(number)
    assert f"+{invite.caller}" == EAST_CALLER_ID
    assert (line["bridge"], line["kind"]) == (EAST, "intercept")
    assert site.main.invites(number) == []


async def test_a_country_is_reached_by_one_trunk_alone(site: Site, room: str) -> None:
    """Refused on the bridge that hosts the conference, and not called from another one."""
    number = nairobi("22")

    reason = await site.meeting.refused(number, conference_id=room, bridge=EAST)
    explained = await site.client.post(
        "/v1/explanations",
        json={
            "tenant_id": str(site.meeting.tenant_id),
            "organizer_id": ORGANIZER,
            "number": number,
            "bridge": EAST,
        },
    )
    assert site.east.invites(number) == site.main.invites(number) == []
    placed = await site.meeting.place(number, conference_id=room, bridge=MAIN)
    await site.meeting.ended(placed["dial_out_id"])

    assert reason == explained.json()["reason"] == "destination_not_served"
    assert (len(site.east.invites(number)), len(site.main.invites(number))) == (0, 1)


async def test_a_bridge_that_dies_takes_no_call_of_the_other_along(site: Site) -> None:
    """Nor does the one that lives void the calls of the dead one, which it never lists.

    The gateway is started again meanwhile, so that it looks at all that is open, twice.
    """
    here, there = f"room-{next(_numbers)}", f"room-{next(_numbers)}"
    await site.hosts(site.main, here)
    await site.hosts(site.east, there)
    stays, lost = await site.call(here), await site.call(there)

    await site.east.asterisk.kill()
    await site.until_state(site.east, "away")
    refused = await site.meeting.post(london("22"), conference_id=there)
    in_doubt = await site.meeting.post(london("22"), conference_id="may-have-begun-there")
    metrics = (await site.client.get("/metrics")).text
    ready = await site.client.get("/readyz")
    await site.service.stop()
    await site.service.start()
    with pytest.raises(TimeoutError):
        await site.meeting.ended(lost["dial_out_id"], seconds=SECOND_LOOK_SECONDS + 4)
    goes_on = await site.meeting.read(stays["dial_out_id"])
    open_while_away = await site.meeting.read(lost["dial_out_id"])
    await site.until_at("may-have-begun-there", "conference_not_in_progress")

    await site.east.asterisk.start()
    ended = await site.meeting.ended(lost["dial_out_id"])
    await site.meeting.cancel(stays["dial_out_id"])
    hung_up = await site.meeting.ended(stays["dial_out_id"])

    for answer in (refused, in_doubt):
        assert (answer.status_code, answer.json()["reason"]) == (503, "bridge_unavailable")
    assert ready.json() == {"state": "ready", "bridges": {MAIN: "ready", EAST: "away"}}
    for gauge in ("asterisk_up", "ready"):
        assert re.search(rf'^dialout_{gauge}{{bridge="{EAST}"}} 0\.0$', metrics, re.MULTILINE)
        assert re.search(rf'^dialout_{gauge}{{bridge="{MAIN}"}} 1\.0$', metrics, re.MULTILINE)
    assert (goes_on["state"], open_while_away["state"]) == ("answered", "answered")
    assert (ended["bridge"], ended["evidence"]) == (EAST, "absent_twice")
    assert (hung_up["bridge"], hung_up["disposition"]) == (MAIN, "answered")
    assert hung_up["evidence"] != "absent_twice"
    await site.meeting.assert_books_are_clean()


async def test_a_record_on_another_bridge_ends_no_call(site: Site) -> None:
    """Whoever may write there could end it in the books, for its channel is in no list there."""
    room = f"room-{next(_numbers)}"
    await site.hosts(site.east, room)
    call = await site.call(room)
    key = site.meeting.tenant_id.hex + call["dial_out_id"].replace("-", "")

    await site.main.asterisk.cli(
        f"database put dialout/ended {key} {key}-gate:1763704321000:1000:16:ANSWER"
    )
    await site.service.stop()
    await site.service.start()
    await site.said("record.forged", key=key, bridge=MAIN)
    goes_on = await site.meeting.read(call["dial_out_id"])
    await site.until_state(site.east, "ready")
    await site.meeting.cancel(call["dial_out_id"])
    ended = await site.meeting.ended(call["dial_out_id"])
    await site.main.asterisk.cli(f"database del dialout/ended {key}")

    assert goes_on["state"] == "answered"
    assert datetime.fromisoformat(ended["ended_at"]) > datetime.fromisoformat(ended["answered_at"])
    await site.meeting.assert_books_are_clean()


async def test_calls_of_a_bridge_that_is_not_in_the_settings_are_told_of(site: Site) -> None:
    """Nobody can prove their end, so nothing of them is touched; somebody has to know."""
    key = await site.meeting.set_aside_of_pool(60, BridgeName("sold"))

    await site.service.stop()
    await site.service.start()
    line = await site.said("bridge.forgotten", bridge="sold")
    answer = await site.meeting.cancel(str(key.dial_out_id))
    await site.meeting.ledger.void(
        key,
        at=datetime.now(UTC),
        hangup_cause=None,
        disposition=Disposition.CANCELLED,
        only_if_unclaimed=True,
        evidence="test",
    )

    assert (line["level"], line["calls"]) == ("error", 1)
    assert (answer.status_code, answer.json()["reason"]) == (503, "bridge_unavailable")


async def test_a_bridge_that_refuses_the_login_leaves_the_others_alone(
    site: Site, tmp_path: Path
) -> None:
    """Its secret may have been changed there; the calls of the other bridge go on being served."""
    output = tmp_path / "gateway.log"
    service = Service(
        site.parts.asterisk,
        database=site.parts.gateway,
        output=output,
        options=OPTIONS
        | bridge_options(EAST, site.east.asterisk, secret="another-secret")
        | {"DIALOUT_LOG__FORMAT": "json"},
    )

    async with service, service.client() as client:
        other = replace(site, service=service, client=client, output=output)
        line = await other.said("bridge.login_refused", bridge=EAST)
        states = await other.states()

    assert line["level"] == "error"
    assert states == {MAIN: "ready", EAST: "away"}
