"""The actions of the manager interface that the gateway knows, answered as Asterisk words it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from gateway.ami.translate import milliseconds
from gateway.simulator.channel import CAUSE_NORMAL_CLEARING, Channel
from gateway.simulator.dialplan import Dialplan, Errand
from gateway.simulator.life import Life
from gateway.simulator.records import Records

_LOCAL = re.compile(r"Local/([^@/]+)@([^@/]+)/n")
_DELETE = re.compile(r"DB_DELETE\((.+)\)")
_DIGITS = re.compile(r"[0-9]{1,9}")
_RING_MS = 30_000
_NO_CHANNEL = "No such channel"
_NO_CONFERENCES = "No active conferences."

_FORBIDDEN = frozenset(
    {"Command", "DBDel", "DBPut", "GetConfig", "QueueAdd", "Reload", "UserEvent"}
)
"""Actions that Asterisk has, and that the gateway's account may not use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One action as it arrived. Of a header that is repeated, ``headers`` has the last."""

    name: str
    action_id: str
    headers: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        """Read an action; whatever is no header in it is passed over."""
        headers: dict[str, str] = {}
        variables: dict[str, str] = {}
        for line in frame.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if not colon:
                continue
            headers[name] = value = value.removeprefix(" ")
            if name == "Variable":
                variable, _, text = value.partition("=")
                variables[variable] = text
        return cls(
            name=headers.get("Action", ""),
            action_id=headers.get("ActionID", ""),
            headers=headers,
            variables=variables,
        )

    @property
    def point(self) -> str:
        """The name that faults know it by; what Setvar sets makes a difference."""
        if self.name != "Setvar":
            return f"action {self.name}"
        variable = self.headers.get("Variable", "").partition("(")[0]
        return f"action Setvar {variable}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer.

    A list has ``items``, events by name and lines, and ends with the event ``complete``, which says
    ``ending`` and how many were ``listed``: all of them unless something went wrong.
    """

    lines: tuple[tuple[str, str], ...] = ()
    refusal: str | None = None
    items: tuple[tuple[str, str], ...] = ()
    complete: str | None = None
    ending: str | None = "Complete"
    listed: int | None = None


def refused(message: str) -> Reply:
    """Return the answer to an action that is not carried out."""
    return Reply(refusal=message)


class Manager:
    """Carries actions out in one life of Asterisk."""

    def __init__(self, *, life: Life, dialplan: Dialplan, records: Records) -> None:
        self._life = life
        self._dialplan = dialplan
        self._records = records
        self._actions: Mapping[str, Callable[[Asked], Reply]] = {
            "Ping": self._ping,
            "Originate": self._originate,
            "Setvar": self._set_variable,
            "Getvar": self._get_variable,
            "Redirect": self._redirect,
            "Hangup": self._hang_up,
            "AbsoluteTimeout": self._limit,
            "CoreShowChannels": self._list_channels,
            "DBGet": self._get_record,
            "DBGetTree": self._list_records,
            "ConfbridgeListRooms": self._list_conferences,
            "ConfbridgeList": self._list_members,
        }

    def carry_out(self, asked: Asked) -> Reply:
        """Do what is asked, and return what is to be answered."""
        do = self._actions.get(asked.name)
        if do is not None:
            return do(asked)
        if asked.name in _FORBIDDEN:
            return refused("Permission denied")
        return refused(
            f"Invalid/unknown command: {asked.name}. "
            "Use Action: ListCommands to show available commands."
        )

    def _ping(self, _asked: Asked) -> Reply:
        now_ms = self._life.clock.now_ms()
        return Reply(
            lines=(("Ping", "Pong"), ("Timestamp", f"{now_ms // 1000}.{now_ms % 1000:03}000"))
        )

    def _originate(self, asked: Asked) -> Reply:
        headers = asked.headers
        local = _LOCAL.fullmatch(headers.get("Channel", ""))
        if local is None or not self._dialplan.has(local[2]):
            return refused("Originate failed")
        dialled = f"{local[1]}@{local[2]}/n"
        self._dialplan.originate(
            _errand(asked, dialled),
            context=local[2],
            extension=local[1],
            uniqueid=headers.get("ChannelId"),
            other_uniqueid=headers.get("OtherChannelId"),
            variables=asked.variables,
        )
        return _done("Originate successfully queued")

    def _set_variable(self, asked: Asked) -> Reply:
        name, value = asked.headers.get("Variable", ""), asked.headers.get("Value", "")
        if not name:
            return refused("No variable specified")
        if "Channel" in asked.headers:
            channel = self._channel(asked)
            if channel is None:
                return refused(_NO_CHANNEL)
            channel.variables[name] = value
        elif deleted := _DELETE.fullmatch(name):
            self._records.delete(deleted[1])
        else:
            self._life.variables[name] = value
        return _done("Variable Set")

    def _get_variable(self, asked: Asked) -> Reply:
        channel = self._channel(asked)
        if channel is None:
            return refused(_NO_CHANNEL)
        name = asked.headers.get("Variable", "")
        match name:
            case "TIMEOUT(absolute)":
                value = f"{channel.limit_left_ms / 1000:.3f}"
            case "LOCAL(DIALOUT_VISIT)":
                value = channel.visit
            case _:
                value = channel.variables.get(name, "")
        return Reply(lines=(("Variable", name), ("Value", value)))

    def _redirect(self, asked: Asked) -> Reply:
        channel = self._channel(asked)
        if channel is None:
            return refused(f"Channel does not exist: {asked.headers.get('Channel', '')}")
        channel.redirect(asked.headers.get("Context", ""), asked.headers.get("Exten", ""))
        return _done("Redirect successful")

    def _hang_up(self, asked: Asked) -> Reply:
        channel = self._channel(asked)
        if channel is None:
            return refused(_NO_CHANNEL)
        channel.hang_up(_number(asked, "Cause", CAUSE_NORMAL_CLEARING))
        return _done("Channel Hungup")

    def _limit(self, asked: Asked) -> Reply:
        channel = self._channel(asked)
        if channel is None:
            return refused(_NO_CHANNEL)
        channel.limit(milliseconds(asked.headers.get("Timeout", "")) or 0)
        return _done("Timeout Set")

    def _list_channels(self, _asked: Asked) -> Reply:
        return Reply(
            lines=(("EventList", "start"), ("Message", "Channels will follow")),
            items=tuple(("CoreShowChannel", _channel_item(channel)) for channel in self._life),
            complete="CoreShowChannelsComplete",
        )

    def _get_record(self, asked: Asked) -> Reply:
        family, key = asked.headers.get("Family", ""), asked.headers.get("Key", "")
        value = self._records.get(f"{family}/{key}")
        if value is None:
            return refused("Database entry not found")
        return Reply(
            lines=(("EventList", "start"), ("Message", "Result will follow")),
            items=(("DBGetResponse", f"Family: {family}\r\nKey: {key}\r\nVal: {value}\r\n"),),
            complete="DBGetComplete",
        )

    def _list_records(self, asked: Asked) -> Reply:
        return Reply(
            lines=(("EventList", "start"), ("Message", "Result will follow")),
            items=tuple(
                ("DBGetTreeResponse", f"Key: /{path}\r\nVal: {value}\r\n")
                for path, value in self._records.tree(asked.headers.get("Family", ""))
            ),
            complete="DBGetTreeComplete",
        )

    def _list_conferences(self, _asked: Asked) -> Reply:
        rooms = self._life.conferences()
        if not rooms:
            return refused(_NO_CONFERENCES)
        return Reply(
            lines=(("EventList", "start"), ("Message", "Confbridge conferences will follow")),
            items=tuple(
                (
                    "ConfbridgeListRooms",
                    f"Conference: {name}\r\nParties: {members}\r\nMarked: 0\r\n"
                    "Locked: No\r\nMuted: No\r\n",
                )
                for name, members in rooms
            ),
            complete="ConfbridgeListRoomsComplete",
        )

    def _list_members(self, asked: Asked) -> Reply:
        conference = asked.headers.get("Conference", "")
        members = self._life.members(conference)
        if members is None:
            some = bool(self._life.conferences())
            return refused("No Conference by that name found." if some else _NO_CONFERENCES)
        return Reply(
            lines=(("EventList", "start"), ("Message", "Confbridge user list will follow")),
            items=tuple(("ConfbridgeList", _member_item(conference, each)) for each in members),
            complete="ConfbridgeListComplete",
        )

    def _channel(self, asked: Asked) -> Channel | None:
        return self._life.channel(asked.headers.get("Channel", ""))


def _done(message: str) -> Reply:
    return Reply(lines=(("Message", message),))


def _number(asked: Asked, header: str, otherwise: int) -> int:
    text = asked.headers.get(header, "")
    return int(text) if _DIGITS.fullmatch(text) else otherwise


def _errand(asked: Asked, dialled: str) -> Errand:
    headers = asked.headers
    application, context = headers.get("Application"), headers.get("Context", "")
    data, extension = headers.get("Data", ""), headers.get("Exten", "")
    return Errand(
        action_id=asked.action_id,
        dialled=dialled,
        lines=(
            f"Context: {context}\r\nExten: {extension}\r\n"
            if application is None
            else f"Application: {application}\r\nData: {data}\r\n"
        ),
        timeout_ms=_number(asked, "Timeout", _RING_MS),
        context=context,
        extension=extension,
        application=application,
        data=data,
    )


def _channel_item(channel: Channel) -> str:
    age = channel.age_seconds
    return (
        f"{channel.headers()}Application: {channel.application}\r\n"
        f"ApplicationData: {channel.data}\r\n"
        f"Duration: {age // 3600:02}:{age // 60 % 60:02}:{age % 60:02}\r\nBridgeId: \r\n"
    )


def _member_item(conference: str, channel: Channel) -> str:
    admin = "Yes" if channel.is_admin else "No"
    return (
        f"Conference: {conference}\r\nAdmin: {admin}\r\nMarkedUser: No\r\nWaitMarked: No\r\n"
        "EndMarked: No\r\nEndMarkedAny: No\r\nWaiting: No\r\nMuted: No\r\nTalking: No\r\n"
        f"AnsweredTime: {channel.age_seconds}\r\n{channel.headers()}"
    )
