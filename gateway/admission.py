"""One request, from what was asked to what the ledger set aside: facts, decision, reservation."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from gateway import metrics
from gateway.core import dial_in
from gateway.core.dial_in import Free, Metered
from gateway.core.dial_out import BridgeName, DialOut, DialOutRequest, Terms
from gateway.core.e164 import E164, METADATA_VERSION, Destination, Region, read_number
from gateway.core.explanation import explain
from gateway.core.facts import Facts, known
from gateway.core.limits import Limit
from gateway.core.policy import Allow, Deny, blocking
from gateway.grants import Grants
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, LedgerUnavailable, RequestOutcome
from gateway.waiting_room import PATIENCE_SECONDS

log = structlog.get_logger()

UNCLAIMED_SECONDS_MAX = 8
"""How long a reservation waits for its gate. The gate is reached in milliseconds, and another
gateway has begun the call by then if the first one has died."""

CALLS_MAX = 1000
"""How many calls of a bridge are in hand at most where nobody has said otherwise."""

CALLS_RETRY_SECONDS = 5
"""When whoever was refused because of the calls in hand may ask again: some will have ended."""

_COUNTED_BEFORE = frozenset({RequestOutcome.EXISTS, RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS})


class Admission:
    """Decides a request and has the ledger set aside what the call may cost.

    ``terms`` are those of each bridge, ``calls_max`` how many calls one may have in hand.
    Without ``grants`` nothing is decided while the ledger is away.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        inquiry: Inquiry,
        terms: Mapping[BridgeName, Terms],
        calls_max: int = CALLS_MAX,
        grants: Grants | None = None,
    ) -> None:
        self._ledger = ledger
        self._inquiry = inquiry
        self._terms = terms
        self._calls_max = calls_max
        self._grants = grants

    def check_room(self, calls: int) -> None:
        """Raise ``Overloaded`` if a bridge with so many calls in hand may take on no other."""
        if calls >= self._calls_max:
            raise self._inquiry.turn_away(retry_seconds=CALLS_RETRY_SECONDS)

    async def admit(
        self,
        request: DialOutRequest,
        *,
        at: datetime,
        gate_uniqueid: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Return what the ledger did with the request, and its row.

        The row is None only for a tenant that does not exist: there is nobody to record
        it under. ``gate_uniqueid`` names a channel that waits in the gate already; the
        reservation is then claimed for it in the same transaction. ``patience_seconds`` is how
        long whoever asks would wait for the decision to begin.

        Raises ``LedgerUnavailable``; whether anything was written is then unknown, and
        asking again with the same key finds out. Raises ``Overloaded``: nothing was.
        """
        place = self._inquiry.place(request.key.tenant_id, patience_seconds=patience_seconds)
        async with place:
            outcome, dial_out = await self._decided(request, at, gate_uniqueid)
        if outcome not in _COUNTED_BEFORE:
            metrics.admitted(request.bridge, outcome, dial_out)
        return outcome, dial_out

    async def admit_dial_in(
        self, request: DialOutRequest, *, caller: str, at: datetime, uniqueid: str
    ) -> Free | tuple[RequestOutcome, DialOut | None]:
        """Return that a telephone may come in free, or what the ledger did with its request.

        ``caller`` is its number as the carrier has it, or empty; ``uniqueid`` its channel,
        which waits. What the ledger reserved is claimed for it already.

        Raises ``LedgerUnavailable`` and ``Overloaded``, as ``admit`` does.
        """
        async with self._inquiry.place(request.key.tenant_id):
            admitted = await self._admit_dial_in(request, caller, at, uniqueid)
        if not isinstance(admitted, Free) and admitted[0] not in _COUNTED_BEFORE:
            metrics.admitted(request.bridge, *admitted)
        return admitted

    async def _admit_dial_in(
        self, request: DialOutRequest, caller: str, at: datetime, uniqueid: str
    ) -> Free | tuple[RequestOutcome, DialOut | None]:
        facts = await self._inquiry.dial_in_facts(request, at)
        because = dial_in.explain(facts, at=at, metadata_version=METADATA_VERSION)
        match because.decision:
            case Free() as free:
                return free
            case Deny(reason=reason):
                number = facts.number if isinstance(facts.number, Destination) else None
                return await self._ledger.refuse(request, number, reason, because.text, at)
            case Metered(sources=sources, needs_funds=needs_funds):
                return await self._ledger.reserve_dial_in(
                    request,
                    facts.dialled,
                    sources,
                    known(facts.destination).rate,
                    self._terms[request.bridge],
                    because.text,
                    at,
                    caller=_shown(caller, known(facts.organizer).region),
                    uniqueid=uniqueid,
                    needs_funds=needs_funds,
                )

    async def _decided(
        self, request: DialOutRequest, at: datetime, gate_uniqueid: str | None
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Decide by what the ledger knows; or grant the call, if that cannot be had.

        A channel that waits already is granted nothing: its id is its own, and nobody could say
        whether the call was dialled before.
        """
        grants = None if gate_uniqueid is not None else self._grants
        repeated = None if grants is None else grants.repeated(request)
        if repeated is not None:
            return repeated
        try:
            facts = await self._inquiry.facts(request, at)
        except LedgerUnavailable:
            if grants is None:
                raise
            terms = self._terms[request.bridge]
            return await grants.give(request, terms, at=at, expires_at=_expires_at(at))
        return await self._admit(request, facts, at, gate_uniqueid)

    async def _admit(
        self, request: DialOutRequest, facts: Facts, at: datetime, gate_uniqueid: str | None
    ) -> tuple[RequestOutcome, DialOut | None]:
        because = explain(facts, at=at, metadata_version=METADATA_VERSION)
        match because.decision:
            case Deny(reason=reason):
                number = facts.number if isinstance(facts.number, Destination) else None
                return await self._ledger.refuse(
                    request,
                    number,
                    reason,
                    because.text,
                    at,
                    blocks_organizer=blocking(facts, reason),
                )
            case Allow(sources=sources):
                outcome, dial_out = await self._ledger.reserve(
                    request,
                    facts.dialled,
                    sources,
                    known(facts.destination).rate,
                    self._terms[request.bridge],
                    because.text,
                    at,
                    _expires_at(at),
                    gate_uniqueid=gate_uniqueid,
                )
                if outcome is RequestOutcome.RESERVED:
                    _tell(because.observed, request)
                return outcome, dial_out


def _expires_at(at: datetime) -> datetime:
    return at + timedelta(seconds=UNCLAIMED_SECONDS_MAX)


def _shown(caller: str, region: Region) -> E164 | None:
    """Return who calls; None for a number that is withheld, or that nobody can have."""
    number = read_number(caller, region)
    return number.e164 if isinstance(number, Destination) else None


def _tell(observed: tuple[Limit, ...], request: DialOutRequest) -> None:
    """Say which limits a call is beyond that let it pass."""
    for limit in observed:
        log.info(
            "limit.observed",
            tenant_id=str(request.key.tenant_id),
            dial_out_id=str(request.key.dial_out_id),
            organizer_id=request.organizer_id,
            kind=limit.kind,
            scope=limit.scope,
            most=limit.most,
            used=limit.used,
        )
