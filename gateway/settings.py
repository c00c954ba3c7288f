"""Settings from the environment, a TOML file and secret files; checked at start, all at once.

The environment wins over the file. Names in the environment are ``DIALOUT_`` and the
path in the file with two underscores between the parts: ``DIALOUT_AMI__PORT=5038`` is
``port`` in ``[ami]``. A secret may come from a file of its own: ``secret_file``,
``password_file``, ``token_file``.
"""

import os
import stat
from base64 import b64decode
from datetime import UTC, tzinfo
from ipaddress import ip_address
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.core.attendance import Patience
from gateway.core.call import Unproved
from gateway.core.dial_out import BridgeName, CoolDown, Terms
from gateway.core.e164 import E164, Region
from gateway.core.facts import SourceKind
from gateway.core.grant import GRANTABLE, GrantBounds
from gateway.core.rating import Seconds
from gateway.core.trunk import Trunk

CONFIG_VARIABLE = "DIALOUT_CONFIG"
TOKEN_CHARS_MIN = 24
GUARD_SECONDS_MIN = 5
GRANTS_CALL_SECONDS_MAX = 3

Port = Annotated[int, Field(ge=1, le=65535)]
RegionCode = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
BridgeKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
TableName = Annotated[
    str, Field(pattern=r"^([a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]*$", max_length=127)
]
WarningSeconds = Annotated[int, Field(ge=1, le=600)]


_LIST_FORM = 'must be a list in brackets, like [60, 10] or ["US", "CA"]'
_FORMS = {"tuple_type": _LIST_FORM, "frozen_set_type": _LIST_FORM}
"""What is said of a value of the wrong form, where pydantic's own words help nobody."""

_GONE: dict[tuple[int | str, ...], str] = {
    ("ami",): "is the bridge main now: [bridges.main], which has caller_id, too",
    ("call", "caller_id"): "is of a bridge now: bridges.main.caller_id",
    ("call", "toll_free_regions"): "is of a bridge now: bridges.main.toll_free_regions",
}
"""Settings of earlier versions, and where to write them now."""

S = TypeVar("S", bound=BaseSettings)


class SettingsError(Exception):
    """The settings cannot be used. The text has a line for each fault."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _from_file(secret: SecretStr | None, file: Path | None, name: str) -> SecretStr | None:
    """Return the secret itself, or what its file holds less the line end."""
    if file is None:
        return secret
    if secret is not None:
        raise ValueError(f"{name} and {name}_file are both set; keep one")
    try:
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    if not text:
        raise ValueError(f"{file} is empty")
    return SecretStr(text)


def _readable(file: Path | None) -> Path | None:
    """Return the file, if it is one that holds text; checked apart from all other fields."""
    if file is not None:
        _from_file(None, file, "the file")
    return file


def _private(directory: Path | None) -> Path | None:
    """Return the directory, if it is one that this user can write to and no other can read."""
    if directory is None:
        return None
    try:
        mode = directory.stat().st_mode
    except OSError as error:
        raise ValueError(f"{directory}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise ValueError(f"{directory} is not a directory")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"{directory} is open to other users: chmod 700 {directory}")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise ValueError(f"{directory} cannot be written to by this user")
    return directory


def _dsn(dsn: SecretStr) -> SecretStr:
    if not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    return dsn


def _long_enough(token: SecretStr) -> None:
    if len(token.get_secret_value()) < TOKEN_CHARS_MIN:
        raise ValueError(f"token is shorter than {TOKEN_CHARS_MIN} characters")


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _zone_name(name: str) -> str:
    try:
        _zone(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError("is no time zone; it must be UTC or a name like Europe/London") from error
    return name


TextFile = Annotated[Path | None, AfterValidator(_readable)]


class CallDetailSettings(_Section):
    """The tables in a PostgreSQL in which one Asterisk writes its own call detail.

    They are read, as evidence of calls that left no other; the login needs no more than that.
    """

    dsn: SecretStr
    password_file: TextFile = None
    cel_table: TableName | None = None
    cdr_table: TableName | None = None
    time_zone: Annotated[str, AfterValidator(_zone_name)] = "UTC"
    call_seconds_max: float = Field(default=2.0, gt=0, le=10)

    @field_validator("dsn")
    @classmethod
    def _is_dsn(cls, dsn: SecretStr) -> SecretStr:
        return _dsn(dsn)

    @model_validator(mode="after")
    def _one_table(self) -> Self:
        if self.cel_table is None and self.cdr_table is None:
            raise ValueError("cel_table or cdr_table must be set, or nothing is read")
        return self

    def zone(self) -> tzinfo:
        """Return the zone of times that carry none."""
        return _zone(self.time_zone)

    def database(self) -> "DatabaseSettings":
        """Return the way into the database of the tables."""
        return DatabaseSettings(
            dsn=self.dsn,
            password_file=self.password_file,
            connections_max=2,
            call_seconds_max=self.call_seconds_max,
        )


class BridgeSettings(_Section):
    """One conference bridge: its Asterisk Manager Interface, and what its trunk can do."""

    host: str = "127.0.0.1"
    port: Port = 5038
    username: str = "gateway"
    secret: SecretStr | None = None
    secret_file: TextFile = None
    tls: bool = False
    tls_ca_file: TextFile = None
    caller_id: str = Field(
        pattern=r"^\+[1-9][0-9]{6,14}$", description="The bridge's default toll number, E.164."
    )
    regions: frozenset[RegionCode] | None = Field(
        default=None, min_length=1, description="Countries that the trunk reaches; absent: all."
    )
    toll_free_regions: frozenset[RegionCode] = Field(
        default=frozenset(), description="Countries whose toll-free numbers it reaches."
    )
    call_detail: CallDetailSettings | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        self.has_secret()
        return self

    def has_secret(self) -> bool:
        """Return whether the gateway can log in. Commands that place no call need not."""
        return _from_file(self.secret, self.secret_file, "secret") is not None

    def secret_text(self) -> str:
        """Return the secret in clear, for the login alone."""
        secret = _from_file(self.secret, self.secret_file, "secret")
        assert secret is not None, "checked when the settings were read"
        return secret.get_secret_value()

    def trunk(self) -> Trunk:
        """Return what the trunk reaches, in the words of the core."""
        return Trunk(
            regions=None if self.regions is None else frozenset(map(Region, self.regions)),
            toll_free_regions=frozenset(map(Region, self.toll_free_regions)),
        )


class DatabaseSettings(_Section):
    """PostgreSQL. The password may stand in the DSN or in a file of its own."""

    dsn: SecretStr
    password_file: TextFile = None
    connections_max: int = Field(default=10, ge=2, le=200)
    call_seconds_max: float = Field(default=2.0, gt=0, le=30)

    @field_validator("dsn")
    @classmethod
    def _is_dsn(cls, dsn: SecretStr) -> SecretStr:
        return _dsn(dsn)

    def password_text(self) -> str | None:
        """Return the password of the file; None leaves it to the DSN."""
        password = _from_file(None, self.password_file, "password")
        return None if password is None else password.get_secret_value()

    def apart(self, connections_max: int) -> Self:
        """Return a way into the same database that waits for nobody's connections but its own."""
        return self.model_copy(update={"connections_max": connections_max})


class ApiSettings(_Section):
    """The HTTP API. Every request but the health checks carries the token."""

    host: str = "127.0.0.1"
    port: Port = 8080
    token: SecretStr | None = None
    token_file: TextFile = None

    @model_validator(mode="after")
    def _token(self) -> Self:
        token = _from_file(self.token, self.token_file, "token")
        if token is None:
            raise ValueError("token or token_file must be set")
        _long_enough(token)
        return self

    def token_text(self) -> str:
        """Return the token in clear, to compare a request's with."""
        token = _from_file(self.token, self.token_file, "token")
        assert token is not None, "checked when the settings were read"
        return token.get_secret_value()


class AdminSettings(_Section):
    """Provisioning: a login of its own, which may do that and nothing of the calls' path.

    Nothing is set where nobody provisions over HTTP or by command. The token opens the HTTP
    routes; without one there are none.
    """

    dsn: SecretStr | None = None
    password_file: TextFile = None
    connections_max: int = Field(default=2, ge=2, le=20)
    call_seconds_max: float = Field(default=10.0, gt=0, le=30)
    token: SecretStr | None = None
    token_file: TextFile = None

    @field_validator("dsn")
    @classmethod
    def _is_dsn(cls, dsn: SecretStr | None) -> SecretStr | None:
        return None if dsn is None else _dsn(dsn)

    @model_validator(mode="after")
    def _token(self) -> Self:
        token = _from_file(self.token, self.token_file, "token")
        if token is not None:
            _long_enough(token)
            if self.dsn is None:
                raise ValueError("token is set and dsn is not: the routes have no database")
        return self

    def token_text(self) -> str | None:
        """Return the token in clear, to compare a request's with; None: nothing is served."""
        token = _from_file(self.token, self.token_file, "token")
        return None if token is None else token.get_secret_value()

    def database(self) -> DatabaseSettings:
        """Return the way into the database. Only for settings that name one."""
        assert self.dsn is not None, "checked when the settings were read"
        return DatabaseSettings(
            dsn=self.dsn,
            password_file=self.password_file,
            connections_max=self.connections_max,
            call_seconds_max=self.call_seconds_max,
        )


class CallSettings(_Section):
    """The bounds of every call, whoever pays and wherever it is placed."""

    talk_seconds_max: int = Field(default=3600, ge=1, le=14_400)
    talk_seconds_min: int = Field(default=60, ge=1, le=14_400)
    slice_seconds: int = Field(default=300, ge=5, le=14_400)
    extend_ahead_seconds: int = Field(
        default=30, ge=1, le=600, description="How long before the first warning."
    )
    warning_seconds: tuple[WarningSeconds, ...] = Field(
        default=(60, 10), max_length=8, description="Before the end; none: []."
    )
    ring_seconds: int = Field(default=45, ge=5, le=90)
    unproved: Unproved = Field(
        default=Unproved.LEAST, description="What is billed where nothing proves the end."
    )
    default_bridge: BridgeKey | None = Field(
        default=None, description="Where conferences are that are in progress nowhere."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.talk_seconds_min > self.talk_seconds_max:
            raise ValueError("talk_seconds_min is larger than talk_seconds_max")
        return self

    @field_validator("warning_seconds")
    @classmethod
    def _in_turn(cls, seconds: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(seconds), reverse=True))


class CapacitySettings(_Section):
    """How much is taken in hand at once; beyond it requests are refused, and lose nothing."""

    calls_max: int = Field(
        default=1000, ge=1, le=100_000, description="Of one bridge that a gateway follows."
    )
    waiting_max: int = Field(
        default=100, ge=0, le=10_000, description="Requests that wait to be decided."
    )


class GrantSettings(_Section):
    """What goes on while the ledger is away, and how far; without ``sources`` nothing does.

    With a ``directory`` what was granted before is booked, and what others grant is respected.
    """

    sources: frozenset[SourceKind] = Field(
        default=frozenset(), description="What may pay for it: addon, promotion."
    )
    directory: Annotated[Path | None, AfterValidator(_private)] = Field(
        default=None, description="Where it is written until the ledger has booked it."
    )
    call_seconds_max: int = Field(default=600, ge=60, le=3600)
    calls_max: int = Field(default=3, ge=1, le=1000, description="Of one organizer.")
    seconds_max: int = Field(default=1800, ge=60, le=86_400, description="Of one organizer.")
    calls_in_all_max: int = Field(default=50, ge=1, le=10_000)
    seconds_in_all_max: int = Field(default=30_000, ge=60, le=10_000_000)
    facts_seconds_max: int = Field(
        default=900, ge=60, le=86_400, description="How old what is known of who asks may be."
    )
    outage_seconds_max: int = Field(default=900, ge=10, le=86_400)

    @field_validator("sources")
    @classmethod
    def _without_money(cls, sources: frozenset[SourceKind]) -> frozenset[SourceKind]:
        refused = ", ".join(sorted(sources - GRANTABLE))
        if refused:
            raise ValueError(
                f"{refused} cannot pay while the ledger is away: minutes of a pool and credits"
                " run out, and only the ledger knows what is left of them"
            )
        return sources

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.sources and self.directory is None:
            raise ValueError("sources is set and directory is not: nothing could be written down")
        if self.call_seconds_max > min(self.seconds_max, self.seconds_in_all_max):
            raise ValueError("call_seconds_max is larger than seconds_max or seconds_in_all_max")
        return self

    def bounds(self) -> GrantBounds | None:
        """Return the same in the words of the core; None if grants are unknown here."""
        if self.directory is None:
            return None
        return GrantBounds(
            sources=self.sources,
            call_seconds_max=Seconds(self.call_seconds_max),
            calls_max=self.calls_max,
            seconds_max=Seconds(self.seconds_max),
            calls_in_all_max=self.calls_in_all_max,
            seconds_in_all_max=Seconds(self.seconds_in_all_max),
            facts_seconds_max=Seconds(self.facts_seconds_max),
            outage_seconds_max=Seconds(self.outage_seconds_max),
        )


class CoolDownSettings(_Section):
    """When a number is left alone, whoever asks; ``attempts = 0``: never."""

    attempts: int = Field(default=5, ge=0, le=1000)
    window_seconds: int = Field(default=600, ge=1, le=86_400)
    quiet_seconds: int = Field(default=600, ge=1, le=86_400)

    def cool_down(self) -> CoolDown | None:
        """Return the same in the words of the core."""
        if not self.attempts:
            return None
        return CoolDown(
            attempts=self.attempts,
            window_seconds=Seconds(self.window_seconds),
            quiet_seconds=Seconds(self.quiet_seconds),
        )


class ProofSettings(_Section):
    """The check of the whole ledger that the gateways make by themselves, one at a time."""

    every_hours: int = Field(default=24, ge=0, le=744, description="0: only by command.")
    call_seconds_max: float = Field(default=600.0, gt=0, le=3600)

    def database(self, database: DatabaseSettings) -> DatabaseSettings:
        """Return a way into the same database that is patient, and apart from the calls' own."""
        return database.model_copy(
            update={"connections_max": 2, "call_seconds_max": self.call_seconds_max}
        )

    def lease_seconds(self) -> int:
        """Return how long a gateway that checks may be silent: two of its statements, and more."""
        return 60 + 2 * ceil(self.call_seconds_max)


class GuardSettings(_Section):
    """How long a telephone may stay in a conference that has left it behind; 0 is for ever."""

    alone_seconds: int = Field(default=300, ge=0, le=14_400)
    organizer_gone_seconds: int = Field(default=900, ge=0, le=14_400)
    warning_seconds: int = Field(default=60, ge=0, le=600)

    @model_validator(mode="after")
    def _warned_in_time(self) -> Self:
        for name in ("alone_seconds", "organizer_gone_seconds"):
            seconds = getattr(self, name)
            if 0 < seconds < GUARD_SECONDS_MIN:
                raise ValueError(f"{name} is less than {GUARD_SECONDS_MIN}; 0 is for ever")
            if 0 < seconds < self.warning_seconds:
                raise ValueError(f"warning_seconds is larger than {name}")
        return self

    def patience(self) -> Patience:
        """Return the times in the words of the core."""
        return Patience(
            alone_seconds=Seconds(self.alone_seconds) if self.alone_seconds else None,
            organizer_gone_seconds=(
                Seconds(self.organizer_gone_seconds) if self.organizer_gone_seconds else None
            ),
            warning_seconds=Seconds(self.warning_seconds),
        )


class WebhookSettings(_Section):
    """Who is told of events, by signed webhooks. Without ``url`` nobody is; they are kept.

    While a secret is replaced, the old one signs too, until the receiver knows the new one.
    """

    url: AnyHttpUrl | None = Field(default=None, repr=False)
    secret: SecretStr | None = None
    secret_file: TextFile = None
    old_secret: SecretStr | None = None
    old_secret_file: TextFile = None
    timeout_seconds: float = Field(default=10.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _is_safe(cls, url: AnyHttpUrl | None) -> AnyHttpUrl | None:
        if url is not None:
            if url.scheme != "https" and not _is_loopback(url.host or ""):
                raise ValueError("must begin with https://, unless the host is this one")
            if url.username or url.password:
                raise ValueError("must hold no name and no password")
            _check_request_url(str(url))
        return url

    @field_serializer("url", when_used="json")
    def _shown_url(self, url: AnyHttpUrl | None) -> str | None:
        """Show where events go, and nothing that may be a secret: path and query may hold one."""
        return None if url is None else f"{url.scheme}://{url.host}"

    @model_validator(mode="after")
    def _signed(self) -> Self:
        secrets = self.secret_texts()
        if self.url is not None and _from_file(self.secret, self.secret_file, "secret") is None:
            raise ValueError("secret or secret_file must be set where url is")
        for secret in secrets:
            _check_webhook_secret(secret)
        return self

    def secret_texts(self) -> tuple[str, ...]:
        """Return the secrets in clear, for signing alone: the new one, then the old one."""
        secrets = (
            _from_file(self.secret, self.secret_file, "secret"),
            _from_file(self.old_secret, self.old_secret_file, "old_secret"),
        )
        return tuple(secret.get_secret_value() for secret in secrets if secret is not None)


def _is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by what it is called alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _check_request_url(text: str) -> None:
    """Insist that the HTTP client can go there: it is stricter than what reads the settings."""
    try:
        _ = httpx.URL(text).host
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError("is no address that a request can go to") from error


def _check_webhook_secret(secret: str) -> None:
    """Insist on the form of Standard Webhooks: 24 to 64 random bytes."""
    prefix, _, key = secret.partition("_")
    try:
        length = len(b64decode(key, validate=True))
    except ValueError:
        length = 0
    if prefix != "whsec" or not 24 <= length <= 64:
        raise ValueError("a secret must be whsec_ and 24 to 64 bytes in base64")


class LogSettings(_Section):
    """``auto`` is colours on a terminal and JSON anywhere else."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _absent() -> Any:
    return {}


class _Environment(EnvSettingsSource):
    """Leaves a list that is not JSON as it is, so that it is a fault among the others."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return what JSON text means; what is no JSON unchanged."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class _Sources(BaseSettings):
    """Where settings come from."""

    model_config = SettingsConfigDict(
        env_prefix="DIALOUT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values given by the program, then what is read."""
        return (init_settings, *cls._read_from())

    @classmethod
    def _read_from(cls) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the environment, then the TOML file."""
        file = os.environ.get(CONFIG_VARIABLE)
        toml = (TomlConfigSettingsSource(cls, Path(file)),) if file else ()
        return (_Environment(cls), *toml)


class PlacingSettings(_Sources):
    """What decides where a call is placed, and how."""

    model_config = SettingsConfigDict(extra="ignore")

    database: DatabaseSettings = Field(default_factory=_absent, validate_default=True)
    bridges: dict[BridgeKey, BridgeSettings] = Field(default_factory=_absent, validate_default=True)
    call: CallSettings = CallSettings()
    cool_down: CoolDownSettings = CoolDownSettings()

    @field_validator("bridges")
    @classmethod
    def _one_at_least(cls, bridges: dict[str, BridgeSettings]) -> dict[str, BridgeSettings]:
        if not bridges:
            raise ValueError("there must be one at least: [bridges.main] with secret and caller_id")
        return bridges

    @model_validator(mode="after")
    def _default_bridge_exists(self) -> Self:
        if self.call.default_bridge is not None and self.call.default_bridge not in self.bridges:
            raise ValueError("call.default_bridge names none of the bridges")
        return self

    @property
    def default_bridge(self) -> BridgeName | None:
        """Where conferences are that are in progress nowhere; None if nothing says so."""
        if self.call.default_bridge is not None:
            return BridgeName(self.call.default_bridge)
        return BridgeName(*self.bridges) if len(self.bridges) == 1 else None

    def trunks(self) -> dict[BridgeName, Trunk]:
        """Return what the trunk of each bridge reaches."""
        return {BridgeName(name): bridge.trunk() for name, bridge in self.bridges.items()}

    def terms(self) -> dict[BridgeName, Terms]:
        """Return the bounds of the calls of each bridge, in the words of the core."""
        return {
            BridgeName(name): Terms(
                talk_seconds_max=Seconds(self.call.talk_seconds_max),
                talk_seconds_min=Seconds(self.call.talk_seconds_min),
                slice_seconds=Seconds(self.call.slice_seconds),
                ring_seconds=Seconds(self.call.ring_seconds),
                caller_id=E164(bridge.caller_id),
                cool_down=self.cool_down.cool_down(),
            )
            for name, bridge in self.bridges.items()
        }


class Settings(PlacingSettings):
    """Everything that an operator sets."""

    model_config = SettingsConfigDict(extra="forbid")

    # A section that is absent is read as an empty one, so that what it lacks is named.
    api: ApiSettings = Field(default_factory=_absent, validate_default=True)
    admin: AdminSettings = AdminSettings()
    capacity: CapacitySettings = CapacitySettings()
    grants: GrantSettings = GrantSettings()
    guard: GuardSettings = GuardSettings()
    proof: ProofSettings = ProofSettings()
    webhooks: WebhookSettings = WebhookSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        for name, bridge in self.bridges.items():
            if not bridge.has_secret():
                raise ValueError(f"bridges.{name}: secret or secret_file must be set")
        return self

    @model_validator(mode="after")
    def _each_its_own(self) -> Self:
        """Insist that no two are one Asterisk: each would hang up what the other one dials."""
        names: dict[tuple[str, int], str] = {}
        for name, bridge in self.bridges.items():
            other = names.setdefault((bridge.host.lower(), bridge.port), name)
            if other != name:
                raise ValueError(
                    f"bridges.{other} and bridges.{name} are the same Asterisk, {bridge.host} "
                    f"port {bridge.port}; give each its own host or port, or keep one of them"
                )
        return self

    @model_validator(mode="after")
    def _grants_in_time(self) -> Self:
        """Insist that the ledger's absence is noticed while a heartbeat is still fresh."""
        if self.grants.sources and self.database.call_seconds_max > GRANTS_CALL_SECONDS_MAX:
            raise ValueError(
                "grants.sources is set, and database.call_seconds_max is larger than"
                f" {GRANTS_CALL_SECONDS_MAX}: who asks would not wait for a grant that long"
            )
        return self

    @model_validator(mode="after")
    def _tokens_differ(self) -> Self:
        if self.admin.token_text() == self.api.token_text():
            raise ValueError("admin.token is api.token: whoever may call could provision")
        return self


class GivenSettings(Settings):
    """Everything that an operator sets, given by a program that brings bridges of its own.

    Nothing is read from the environment or a file: its gateways would serve the operator's
    bridges, too, hang up what their own ledger does not know, and take in his grants.
    """

    @classmethod
    def _read_from(cls) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return nothing."""
        return ()


class _DatabaseAlone(_Sources):
    model_config = SettingsConfigDict(extra="ignore")

    database: DatabaseSettings = Field(default_factory=_absent, validate_default=True)


def read_settings() -> Settings:
    """Return the settings, or raise ``SettingsError`` that lists every fault."""
    return _read(Settings, _unknown_variables())


def read_placing_settings() -> PlacingSettings:
    """Return the settings that a decision needs, for commands that place no call."""
    return _read(PlacingSettings, [])


def read_database_settings() -> DatabaseSettings:
    """Return the database's settings alone, for commands that need neither Asterisk nor API."""
    return _read(_DatabaseAlone, []).database


class RulesSettings(_Sources):
    """What holds for every call, wherever it is placed; None is a section that is not set."""

    model_config = SettingsConfigDict(extra="ignore")

    call: CallSettings | None = None
    cool_down: CoolDownSettings | None = None
    guard: GuardSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _sections_are_known(cls, sections: dict[str, Any]) -> dict[str, Any]:
        """Insist on names of sections: one that is misspelt would be left out unseen."""
        if unknown := sorted(sections.keys() - Settings.model_fields.keys()):
            raise ValueError(f"{', '.join(unknown)}: no such section")
        return sections


def read_rules_settings() -> RulesSettings:
    """Return what holds for every call, for commands that bring a bridge of their own."""
    return _read(RulesSettings, _unknown_variables())


class _AdminAlone(_Sources):
    model_config = SettingsConfigDict(extra="ignore")

    admin: AdminSettings = AdminSettings()


def read_admin_settings() -> AdminSettings:
    """Return the provisioner's settings alone, for commands that only provision."""
    settings = _read(_AdminAlone, []).admin
    if settings.dsn is None:
        raise SettingsError("admin.dsn (DIALOUT_ADMIN__DSN): must be set to provision")
    return settings


def _read(kind: type[S], faults: list[str]) -> S:
    file = os.environ.get(CONFIG_VARIABLE)
    if file and not Path(file).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} names {file}, which is not a file")
    try:
        settings = kind()
    except ValidationError as error:
        faults += [
            _fault(fault["loc"], _GONE.get(fault["loc"], _FORMS.get(fault["type"], fault["msg"])))
            for fault in error.errors(include_url=False)
        ]
        raise SettingsError("\n".join(faults)) from error
    except ValueError as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def _unknown_variables() -> list[str]:
    """Return a fault for each variable that looks like ours and belongs to no section.

    pydantic checks what is in a section; a misspelt section would pass it unseen.
    """
    sections = {f"DIALOUT_{section.upper()}" for section in Settings.model_fields}
    return [
        _unknown_variable(name)
        for name in sorted(os.environ)
        if name.startswith("DIALOUT_")
        and name != CONFIG_VARIABLE
        and name.split("__")[0] not in sections
    ]


def _unknown_variable(name: str) -> str:
    section, _, rest = name.partition("__")
    if section == "DIALOUT_AMI":
        return f"{name}: is DIALOUT_BRIDGES__MAIN__{rest} now"
    return f"{name}: no such setting (two underscores stand between section and name)"


def _fault(path: tuple[int | str, ...], message: str) -> str:
    if not path:
        return message.removeprefix("Value error, ")
    parts = [str(part) for part in path if part != "[key]"]
    variable = "DIALOUT_" + "__".join(parts).upper()
    return f"{'.'.join(parts)} ({variable}): {message.removeprefix('Value error, ')}"
