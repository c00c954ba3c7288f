"""How long the pure part of a request takes: reading the digits, deciding, and explaining."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle

from bench.figures import Figures
from gateway.core.choices import Choices, MeetingPermission
from gateway.core.e164 import METADATA_VERSION, Destination, Region, prefix_reach, read_number
from gateway.core.explanation import explain
from gateway.core.facts import (
    ZONE_A,
    AskerRole,
    Benefit,
    Blocks,
    Callee,
    DestinationFacts,
    DialOutPermission,
    Facts,
    MeetingFacts,
    OrganizerFacts,
    Sku,
    SourceKind,
    TenantFacts,
)
from gateway.core.policy import decide
from gateway.core.rating import Micros, Rate, Seconds

WARM_UP = 200
AT = datetime(2020, 8, 15, 12, 0, tzinfo=UTC)
HOME = Region("GB")
AT_HOME = ("020 7946 0000", "0161 496 0000", "07400 123456", "00 1 416 555 0123")
WITH_PLUS = ("+44 20 7946 0000", "+14165550123", "+49 30 901820", "+254 20 2012345")


def measure(count: int) -> list[Figures]:
    """Take each step ``count`` times: read a number, decide a yes and a no, explain both."""
    at_home, with_plus = cycle(AT_HOME), cycle(WITH_PLUS)
    accepted = _facts(AskerRole.AUTHENTICATED)
    refused = _facts(AskerRole.ANONYMOUS)
    steps: dict[str, Callable[[], object]] = {
        "read digits, at home": lambda: read_number(next(at_home), HOME, HOME),
        "read digits, with +": lambda: read_number(next(with_plus), HOME, HOME),
        "decide, a yes": lambda: decide(accepted),
        "decide, a no by the last rule": lambda: decide(refused),
        "explain a yes, as text": lambda: _explained(accepted),
        "explain a no, as text": lambda: _explained(refused),
    }
    return [Figures.of(name, _time(count, step)) for name, step in steps.items()]


def _time(count: int, step: Callable[[], object]) -> list[float]:
    for _ in range(WARM_UP):
        step()
    durations = []
    for _ in range(count):
        begun = time.perf_counter()
        step()
        durations.append(time.perf_counter() - begun)
    return durations


def _explained(facts: Facts) -> str:
    return explain(facts, at=AT, metadata_version=METADATA_VERSION).text


def _facts(asker: AskerRole) -> Facts:
    """Return the facts of a call to Canada that everything may pay for, if ``asker`` may ask."""
    number = read_number("+14165550123", HOME)
    assert isinstance(number, Destination)
    reach = prefix_reach("1416")
    return Facts(
        tenant=TenantFacts(
            suspended=False, credits_set_up=True, choices=Choices(), benefits=_BENEFITS
        ),
        organizer=OrganizerFacts(
            region=HOME,
            permission=DialOutPermission.ANY,
            licences=frozenset(
                {Sku.AUDIO_CONFERENCING, Sku.EXTENDED_DIALOUT_US_CA, Sku.COMMUNICATIONS_CREDITS}
            ),
            dial_out_disabled=False,
        ),
        meeting=MeetingFacts(
            asker=asker,
            callee=Callee.THIRD_PARTY,
            permission=MeetingPermission.AUTHENTICATED,
            reading_region=HOME,
        ),
        number=number,
        destination=DestinationFacts(
            zones=frozenset({ZONE_A}),
            blocks=Blocks(),
            rate=_RATE,
            rate_regions=reach.regions,
            rate_is_exact=reach.is_exact,
            trunk_serves=True,
        ),
    )


_BENEFITS = (
    Benefit(
        benefit_id="extended_dialout_us_ca",
        kind=SourceKind.ADDON,
        sku=Sku.EXTENDED_DIALOUT_US_CA,
        zone=None,
    ),
    Benefit(
        benefit_id="standard_pool",
        kind=SourceKind.POOL,
        sku=Sku.AUDIO_CONFERENCING,
        zone=ZONE_A,
    ),
)

_RATE = Rate(
    deck_id=1,
    deck="sample",
    prefix="1416",
    regions=None,
    currency="USD",
    price_micros=Micros(13_000),
    connect_fee_micros=Micros(0),
    initial_increment_seconds=Seconds(60),
    increment_seconds=Seconds(60),
)
