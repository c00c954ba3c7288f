"""What a call would cost, and who would pay for it: the answer before the call."""

from dataclasses import dataclass
from typing import Any

from gateway.core.dial_out import SourceStanding
from gateway.core.e164 import Destination
from gateway.core.facts import Facts, SourceKind
from gateway.core.rating import Rate, Seconds
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.core.wording import clock, money


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """A source that would pay for so many seconds of the call. Credits have no ``benefit_id``."""

    source: SourceKind
    benefit_id: str | None
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a call would be answered now, and what it would cost.

    ``reason`` is None if it would be placed; else nobody would pay and there are no seconds.
    ``payers`` are in the order in which they would pay. ``rate`` is what credits would pay, None
    if they would pay nothing. The call is paid for ``talk_seconds`` and cut at
    ``limit_seconds``. ``destination`` is None for digits that are no number.
    """

    reason: Reason | None
    destination: Destination | None
    payers: tuple[Payer, ...]
    rate: Rate | None
    talk_seconds: Seconds | None
    limit_seconds: Seconds | None

    @property
    def sentence(self) -> str:
        """What to tell people: who pays and when the call is cut, or why it is refused."""
        if self.reason is not None:
            return REASON_TEXTS[self.reason].message
        assert self.talk_seconds is not None, "what is not refused is paid for so long"
        assert self.limit_seconds is not None, "what is not refused has a limit"
        unpaid = self.limit_seconds > self.talk_seconds
        ending = [
            *([f"unpaid from {clock(self.talk_seconds)} on"] if unpaid else []),
            f"cut at {clock(self.limit_seconds)}",
        ]
        return f"{', then '.join(map(self._paid, self.payers))}, {', '.join(ending)}."

    def _paid(self, payer: Payer) -> str:
        if payer.source is not SourceKind.CREDITS or self.rate is None:
            return f"{clock(payer.seconds)} from {_NAMES[payer.source]}"
        price = money(self.rate.price_micros, self.rate.currency)
        text = f"{price} a minute from {_NAMES[payer.source]}"
        if not self.rate.connect_fee_micros:
            return text
        return f"{text} and {money(self.rate.connect_fee_micros, self.rate.currency)} to connect"

    def summary(self) -> dict[str, Any]:
        """Return the quote as plain JSON values; absent ones are left out."""
        number, rate = self.destination, self.rate
        plain = {
            "allowed": self.reason is None,
            "reason": self.reason,
            "sentence": self.sentence,
            "destination": number and number.e164,
            "region": number and number.region,
            "number_kind": number and number.kind,
            "paid_by": [
                {
                    "source": payer.source,
                    "benefit_id": payer.benefit_id,
                    "seconds": payer.seconds,
                }
                for payer in self.payers
            ],
            "price_micros": rate and rate.price_micros,
            "connect_fee_micros": rate and rate.connect_fee_micros,
            "initial_increment_seconds": rate and rate.initial_increment_seconds,
            "increment_seconds": rate and rate.increment_seconds,
            "currency": rate and rate.currency,
            "talk_seconds": self.talk_seconds,
            "limit_seconds": self.limit_seconds,
        }
        return {name: value for name, value in plain.items() if value is not None}


_NAMES = {
    SourceKind.PROMOTION: "the complimentary minutes",
    SourceKind.ADDON: "the add-on",
    SourceKind.POOL: "the pool",
    SourceKind.CREDITS: "credits",
}


def quote(
    facts: Facts,
    *,
    reason: Reason | None,
    sources: tuple[SourceStanding, ...],
    talk_seconds: Seconds | None,
    limit_seconds: Seconds | None,
) -> Quote:
    """Return the quote of a call of these ``facts``, for which the ``sources`` were asked."""
    payers = tuple(
        Payer(source=source.kind, benefit_id=source.benefit_id, seconds=source.seconds)
        for source in sources
        if source.seconds > 0 and reason is None
    )
    credits_pay = any(payer.source is SourceKind.CREDITS for payer in payers)
    return Quote(
        reason=reason,
        destination=facts.number if isinstance(facts.number, Destination) else None,
        payers=payers,
        rate=facts.destination.rate if facts.destination and credits_pay else None,
        talk_seconds=talk_seconds if reason is None else None,
        limit_seconds=limit_seconds if reason is None else None,
    )
