"""Every region that phonenumbers knows: its example numbers of every kind, and its short codes.

The answers are compared with those of an oracle that shares no code with the gateway.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberType, shortnumberinfo

from gateway.core.choices import Choices, Opening, Stance
from gateway.core.e164 import Destination, NumberRefusal, Region, read_number
from gateway.core.facts import Facts, Sku
from gateway.core.policy import Decision, Deny, decide
from gateway.core.reasons import Reason
from tests.core import oracle
from tests.core.cases import Case, DeckRow, Licence, facts
from tests.core.oracle import ADDON, CONFERENCING, CREDITS, PER_MINUTE, Class, Customer

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
NETWORKS = sorted(phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS)
KINDS = sorted(PhoneNumberType.values())
INSTANTS = [
    datetime.fromisoformat(day).replace(tzinfo=UTC)
    for day in ("2018-05-15", "2018-08-15", "2019-06-15", "2020-08-15")
]

OPENED = Choices(
    premium=Opening.CREDITS,
    toll_free=Stance.ALLOW,
    unallocated=Opening.CREDITS,
    high_risk_prefixes=Stance.ALLOW,
)
CUSTOMERS = [
    Customer(licences=frozenset(licences), has_credits=has_credits, is_open=is_open)
    for is_open in (False, True)
    for licences, has_credits in (
        ({CONFERENCING}, False),
        ({CONFERENCING, CREDITS}, True),
        ({CONFERENCING, ADDON}, False),
        ({CONFERENCING, ADDON, CREDITS}, True),
        ({PER_MINUTE, CREDITS}, True),
        ({PER_MINUTE, ADDON}, True),
        ({PER_MINUTE, CREDITS}, False),
        ({CREDITS}, True),
    )
]


def e164(number: PhoneNumber) -> str:
    """Write a number as it is dialled from anywhere."""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def examples(region: str) -> list[PhoneNumber]:
    """Return a region's example numbers of every kind, and one that nobody was given."""
    found = [phonenumbers.example_number_for_type(region, kind) for kind in KINDS]
    return [number for number in (*found, phonenumbers.invalid_example_number(region)) if number]


def network_example(calling_code: int) -> PhoneNumber:
    """Return a number of a network that has no country."""
    number = phonenumbers.example_number_for_non_geo_entity(calling_code)
    assert number is not None
    return number


def abroad(region: str) -> Region:
    """Return a country that is not the region, and has another calling code."""
    return Region("KE" if region == "GB" else "GB")


def dialled(number: PhoneNumber, organizer: Region, at: datetime) -> Facts:
    """Return the facts of a number in full, with a rate of its own; nobody holds anything yet."""
    return facts(
        Case(
            at=at,
            typed=e164(number),
            organizer=organizer,
            licences=(),
            deck=(
                DeckRow(
                    prefix=e164(number).removeprefix("+"),
                    regions=frozenset({Region(oracle.region_of(number))}),
                ),
            ),
        )
    )


def asked_by(customer: Customer, known: Facts) -> Decision:
    """Decide with the licences, credits and choices of a customer."""
    assert known.tenant is not None
    assert known.organizer is not None
    return decide(
        replace(
            known,
            tenant=replace(
                known.tenant,
                credits_set_up=customer.has_credits,
                choices=OPENED if customer.is_open else Choices(),
            ),
            organizer=replace(
                known.organizer, licences=frozenset(Sku(sku) for sku in customer.licences)
            ),
        )
    )


def in_words(decision: Decision) -> str:
    """Write a decision as the oracle does."""
    if isinstance(decision, Deny):
        return f"no {decision.reason}"
    return " > ".join(source.benefit_id or source.kind for source in decision.sources)


def check(number: PhoneNumber, organizer: Region) -> None:
    """Compare every customer's answer, at every instant, with the oracle's."""
    for at in INSTANTS:
        known = dialled(number, organizer, at)
        for customer in CUSTOMERS:
            answer = in_words(asked_by(customer, known))
            assert answer == oracle.answer(number, customer, at), (e164(number), customer, at)


@pytest.mark.parametrize("region", REGIONS)
def test_every_kind_of_number_has_its_payer_or_its_reason(region: str) -> None:
    """Whoever asks: what a number is and who pays for it is what the rules say, everywhere."""
    for number in examples(region):
        check(number, abroad(region))


@pytest.mark.parametrize("calling_code", NETWORKS)
def test_a_network_without_a_country_is_priced_like_premium(calling_code: int) -> None:
    """Satellites, international freephone and the like: by credits alone, if at all."""
    number = network_example(calling_code)

    assert oracle.class_of(number) is Class.PREMIUM
    check(number, Region("GB"))


def test_the_examples_are_of_every_class() -> None:
    """What the world has no example of would not be checked."""
    classes = {oracle.class_of(number) for region in REGIONS for number in examples(region)}

    assert classes == set(Class)


# Their own short codes begin with 01, 02 and 03, and a telephone connects at the second digit.
# The gateway cannot tell Kaunas from an ambulance there; with +370 it can.
NOT_AT_HOME = {"LT": {"031234567"}}


@pytest.mark.parametrize("region", REGIONS)
def test_a_number_is_the_same_at_home_and_abroad(region: str) -> None:
    """What people dial in their own country is the number that others dial with a plus sign."""
    for number in examples(region):
        at_home = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        digits = "".join(filter(str.isdigit, at_home))
        if oracle.class_of(number) in {Class.SHORT, Class.IMPOSSIBLE, Class.UNALLOCATED}:
            continue
        if digits not in NOT_AT_HOME.get(region, set()):
            assert read_number(digits, Region(region)) == read_number(e164(number), Region("GB"))


def test_the_oracle_and_the_gateway_agree_on_every_country() -> None:
    """The country that a price and a zone hang on is that of the number."""
    for region in REGIONS:
        for number in examples(region):
            read = read_number(e164(number), abroad(region))
            if isinstance(read, Destination):
                assert read.region == oracle.region_of(number), e164(number)


@pytest.mark.parametrize("region", REGIONS)
def test_a_calling_code_in_a_deck_is_meant_for_one_country(region: str) -> None:
    """Of those that share a code the first alone; of +1 the US and Canada. Never the cheaper."""
    for number in examples(region):
        if oracle.class_of(number) is not Class.ORDINARY:
            continue
        code = number.country_code
        assert code is not None
        meant = {phonenumbers.region_code_for_country_code(code)} | ({"CA"} if code == 1 else set())
        decision = decide(
            facts(
                Case(
                    at=INSTANTS[-1],
                    typed=e164(number),
                    credits_set_up=True,
                    choices=OPENED,
                    organizer=abroad(region),
                    licences=(
                        Licence(sku=Sku.AUDIO_CONFERENCING_PPM),
                        Licence(sku=Sku.COMMUNICATIONS_CREDITS),
                    ),
                    deck=(DeckRow(prefix=str(code), regions=None),),
                )
            )
        )
        ambiguous = decision == Deny(reason=Reason.DESTINATION_AMBIGUOUS)
        assert ambiguous is (oracle.region_of(number) not in meant), e164(number)


# Emergency numbers and short codes.

SHORT = [f"{code:0{width}}" for width in (2, 3) for code in range(10**width)]
PURPOSES = (
    "emergency",
    "short_code",
    "toll_free",
    "standard_rate",
    "premium_rate",
    "carrier_specific",
    "sms_services",
)


def short_codes(region: str) -> Iterator[str]:
    """Yield the region's example short codes, whatever they are for."""
    plan = PhoneMetadata.short_metadata_for_region(region)
    for purpose in PURPOSES if plan else ():
        code = getattr(getattr(plan, purpose), "example_number", None)
        if code:
            yield code


def is_short_code(code: str, region: str) -> bool:
    """Return whether the region's plan has the code."""
    number = phonenumbers.parse(code, region)
    return shortnumberinfo.is_emergency_number(
        code, region
    ) or shortnumberinfo.is_valid_short_number_for_region(number, region)


@pytest.mark.parametrize("region", REGIONS)
def test_no_short_code_of_any_country_is_ever_called(region: str) -> None:
    """Whatever the tenant has opened, if the country's plan has the code.

    Some of the examples are none by their own plan: nothing but the default keeps them from
    being read as numbers that nobody was given.
    """
    rich = Customer(licences=frozenset(Sku), has_credits=True)
    for code in short_codes(region):
        case = Case(at=INSTANTS[-1], typed=code, organizer=Region(region), licences=())
        decision = asked_by(rich, facts(case))
        assert isinstance(decision, Deny), code
        if is_short_code(code, region):
            assert asked_by(replace(rich, is_open=True), facts(case)) == Deny(
                reason=Reason.EMERGENCY_OR_SHORT_CODE
            ), code


@pytest.mark.parametrize("region", REGIONS)
def test_an_emergency_number_is_refused_for_asker_and_organizer(region: str) -> None:
    """Dialled in its country, or by anybody in a meeting whose organizer is of that country."""
    refusal = NumberRefusal(reason=Reason.EMERGENCY_OR_SHORT_CODE)
    emergency = [code for code in SHORT if shortnumberinfo.is_emergency_number(code, region)]

    for code in emergency:
        assert read_number(code, Region(region)) == refusal
        assert read_number(code, abroad(region), Region(region)) == refusal
