"""What the gateway can ask of Asterisk, and the only bytes that ask it.

AMI has no quoting. A line break in a value starts another header, or another action; a comma in a
channel variable sets another variable; an empty channel makes a variable global; a channel that
starts with a slash is a pattern. Each is refused here, before anything is written.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.ami.errors import AmiEncodingError

_LINE_BYTES_MAX = 1000
"""Asterisk reads 1024 and ends the message at a longer line."""

_HEADERS_MAX = 100
"""Asterisk reads 128 and answers an action of more without its ActionID."""

_KEY = re.compile(r"[A-Za-z]+")
_UNSAFE = re.compile(r"[\r\n\0]")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE_VALUE = re.compile(r"[A-Za-z0-9:+._@-]*")
_UNIQUEID = re.compile(r"[A-Za-z0-9._-]+")
_DATABASE_NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One AMI action, safe to write: an unsafe one raises AmiEncodingError when it is made.

    `listed` says that the answer is a list, which ends at its Complete event and not at its
    Response. The headers stay out of the repr, because those of the login hold the secret.
    """

    name: str
    action_id: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    listed: bool = False

    def __post_init__(self) -> None:
        if not self.action_id:
            raise AmiEncodingError("ActionID is empty")
        if len(self.headers) + 2 > _HEADERS_MAX:
            raise AmiEncodingError(f"{self.name} has more than {_HEADERS_MAX} headers")
        for key, value in self._lines():
            _check_line(key, value)

    def encode(self) -> bytes:
        """Return the bytes of the action. The ActionID is second, so that an error names it."""
        lines = (f"{key}: {value}\r\n" for key, value in self._lines())
        return "".join((*lines, "\r\n")).encode()

    def _lines(self) -> tuple[tuple[str, str], ...]:
        return (("Action", self.name), ("ActionID", self.action_id), *self.headers)


def login(action_id: str, *, username: str, secret: str) -> Action:
    """Ask to be let in, and for the events that the account may read."""
    headers = (("Username", username), ("Secret", secret), ("Events", "on"))
    return Action(name="Login", action_id=action_id, headers=headers)


def ping(action_id: str) -> Action:
    """Ask for the Asterisk host's clock."""
    return Action(name="Ping", action_id=action_id)


def originate(
    action_id: str,
    *,
    channel: str,
    context: str,
    extension: str,
    variables: Mapping[str, str],
    timeout_ms: int,
    channel_id: str,
    other_channel_id: str,
    caller_id: str | None,
) -> Action:
    """Ask for a call. Asynchronous, because the other kind blocks the session until the answer."""
    headers = (
        ("Channel", _present("Channel", channel)),
        ("Context", _present("Context", context)),
        ("Exten", _present("Exten", extension)),
        ("Priority", "1"),
        *_asynchronous(timeout_ms, channel_id, other_channel_id),
        *((("CallerID", caller_id),) if caller_id is not None else ()),
        *_variables(variables),
    )
    return Action(name="Originate", action_id=action_id, headers=headers)


def whisper(
    action_id: str,
    *,
    leg: str,
    channel: str,
    variables: Mapping[str, str],
    timeout_ms: int,
    channel_id: str,
    other_channel_id: str,
) -> Action:
    """Ask that one channel hears what another says once it answers; nobody else hears it.

    `leg` is the uniqueid of the one that hears. Options of ChanSpy(): uniqueid, quietly, end
    with the leg, no other leg after it, whisper and hear nothing.
    """
    headers = (
        ("Channel", _present("Channel", channel)),
        ("Application", "ChanSpy"),
        ("Data", f"{_uniqueid(leg)},uqESW"),
        *_asynchronous(timeout_ms, channel_id, other_channel_id),
        *_variables(variables),
    )
    return Action(name="Originate", action_id=action_id, headers=headers)


def set_variable(action_id: str, name: str, value: str, *, channel: str | None) -> Action:
    """Ask to set a variable of a channel, or the global one if `channel` is None."""
    name, value = _variable(name, value)
    scope = () if channel is None else (("Channel", _channel(channel)),)
    headers = (*scope, ("Variable", name), ("Value", value))
    return Action(name="Setvar", action_id=action_id, headers=headers)


def redirect(action_id: str, *, channel: str, context: str, extension: str) -> Action:
    """Ask that a channel goes on somewhere else in the dialplan."""
    headers = (
        ("Channel", _channel(channel)),
        ("Context", _present("Context", context)),
        ("Exten", _present("Exten", extension)),
        ("Priority", "1"),
    )
    return Action(name="Redirect", action_id=action_id, headers=headers)


def limit(action_id: str, *, channel: str, milliseconds: int) -> Action:
    """Ask that a channel ends so long from now, whatever was asked before."""
    if milliseconds <= 0:
        raise AmiEncodingError("Timeout is not positive, which would be no limit at all")
    headers = (("Channel", _channel(channel)), ("Timeout", f"{milliseconds / 1000:.3f}"))
    return Action(name="AbsoluteTimeout", action_id=action_id, headers=headers)


def get_limit(action_id: str, *, channel: str) -> Action:
    """Ask how long a channel may go on."""
    headers = (("Channel", _channel(channel)), ("Variable", "TIMEOUT(absolute)"))
    return Action(name="Getvar", action_id=action_id, headers=headers)


def get_visit(action_id: str, *, channel: str) -> Action:
    """Ask for the visit of the gate on which a channel waits."""
    headers = (("Channel", _channel(channel)), ("Variable", "LOCAL(DIALOUT_VISIT)"))
    return Action(name="Getvar", action_id=action_id, headers=headers)


def hangup(action_id: str, *, channel: str, cause: int) -> Action:
    """Ask to hang a channel up with a Q.850 cause."""
    headers = (("Channel", _channel(channel)), ("Cause", str(cause)))
    return Action(name="Hangup", action_id=action_id, headers=headers)


def list_channels(action_id: str) -> Action:
    """Ask for every channel."""
    return Action(name="CoreShowChannels", action_id=action_id, listed=True)


def list_conferences(action_id: str) -> Action:
    """Ask for every conference that has members."""
    return Action(name="ConfbridgeListRooms", action_id=action_id, listed=True)


def list_participants(action_id: str, conference: str) -> Action:
    """Ask for the members of one conference."""
    headers = (("Conference", _present("Conference", conference)),)
    return Action(name="ConfbridgeList", action_id=action_id, headers=headers, listed=True)


def get_variable(action_id: str, name: str, *, channel: str) -> Action:
    """Ask for a variable of a channel."""
    if not _VARIABLE_NAME.fullmatch(name):
        raise AmiEncodingError("a variable's name has other characters than letters, digits, _")
    headers = (("Channel", _channel(channel)), ("Variable", name))
    return Action(name="Getvar", action_id=action_id, headers=headers)


def list_records(action_id: str, family: str) -> Action:
    """Ask for every record of a family of the database on the Asterisk host."""
    headers = (("Family", _database_name("Family", family)),)
    return Action(name="DBGetTree", action_id=action_id, headers=headers, listed=True)


def get_record(action_id: str, family: str, key: str) -> Action:
    """Ask for one record."""
    headers = (("Family", _database_name("Family", family)), ("Key", _database_name("Key", key)))
    return Action(name="DBGet", action_id=action_id, headers=headers, listed=True)


def delete_record(action_id: str, family: str, key: str) -> Action:
    """Ask to delete one record, if it is there.

    By a function that is set like a global variable, because the action that deletes (DBDel)
    needs the class `system`, and an account of that class may do far more than delete.
    """
    path = f"{_database_name('Family', family)}/{_database_name('Key', key)}"
    headers = (("Variable", f"DB_DELETE({path})"), ("Value", ""))
    return Action(name="Setvar", action_id=action_id, headers=headers)


def _check_line(key: str, value: str) -> None:
    if not _KEY.fullmatch(key):
        raise AmiEncodingError("a header's name has other characters than letters")
    if _UNSAFE.search(value):
        raise AmiEncodingError(f"{key} contains a line break or a NUL")
    if _line_bytes(key, value) > _LINE_BYTES_MAX:
        raise AmiEncodingError(f"{key} is longer than {_LINE_BYTES_MAX} bytes")


def _line_bytes(key: str, value: str) -> int:
    try:
        return len(f"{key}: {value}".encode())
    except UnicodeEncodeError:
        raise AmiEncodingError(f"{key} is not text") from None


def _present(key: str, value: str) -> str:
    if not value.strip():
        raise AmiEncodingError(f"{key} is empty")
    return value


def _asynchronous(
    timeout_ms: int, channel_id: str, other_channel_id: str
) -> tuple[tuple[str, str], ...]:
    return (
        ("Async", "true"),
        ("Timeout", str(timeout_ms)),
        ("ChannelId", _present("ChannelId", channel_id)),
        ("OtherChannelId", _present("OtherChannelId", other_channel_id)),
    )


def _variables(variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(("Variable", "=".join(_variable(*item))) for item in variables.items())


def _channel(name: str) -> str:
    if name.lstrip().startswith("/"):
        raise AmiEncodingError("Channel is a pattern, which may match more than one channel")
    return _present("Channel", name)


def _variable(name: str, value: str) -> tuple[str, str]:
    if not _VARIABLE_NAME.fullmatch(name):
        raise AmiEncodingError("a variable's name has other characters than letters, digits, _")
    if not _VARIABLE_VALUE.fullmatch(value):
        raise AmiEncodingError(f"the value of {name} has other characters than A-Za-z0-9:+._@-")
    return name, value


def _uniqueid(text: str) -> str:
    if not _UNIQUEID.fullmatch(text):
        raise AmiEncodingError("a uniqueid has other characters than A-Za-z0-9._-")
    return text


def _database_name(key: str, name: str) -> str:
    if not _DATABASE_NAME.fullmatch(name):
        raise AmiEncodingError(f"{key} is not a path of A-Za-z0-9._-")
    return name
