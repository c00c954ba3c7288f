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
from gateway.core.facts import known
from gateway.core.limits import Limit
from gateway.core.policy import Allow, Deny, blocking
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, RequestOutcome

log = structlog.get_logger()

UNCLAIMED_SECONDS_MAX = 30
"""How long a reservation waits for its gate. The gate is reached in milliseconds."""

_COUNTED_BEFORE = frozenset({RequestOutcome.EXISTS, RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS})


class Admission:
    """Decides a request and has the ledger set aside what the call may cost.

    ``terms`` are those of each bridge.
    """

    def __init__(
        self, *, ledger: Ledger, inquiry: Inquiry, terms: Mapping[BridgeName, Terms]
    ) -> None:
        self._ledger = ledger
        self._inquiry = inquiry
        self._terms = terms

    async def admit(
        self, request: DialOutRequest, *, at: datetime, gate_uniqueid: str | None = None
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Return what the ledger did with the request, and its row.

        The row is None only for a tenant that does not exist: there is nobody to record
        it under. ``gate_uniqueid`` names a channel that waits in the gate already; the
        reservation is then claimed for it in the same transaction.

        Raises ``LedgerUnavailable``; whether anything was written is then unknown, and
        asking again with the same key finds out.
        """
        async with self._inquiry.place(request.key.tenant_id):
            outcome, dial_out = await self._admit(request, at, gate_uniqueid)
        if outcome not in _COUNTED_BEFORE:
            metrics.admitted(request.bridge, outcome, dial_out)
        return outcome, dial_out

    async def admit_dial_in(
        self, request: DialOutRequest, *, caller: str, at: datetime, uniqueid: str
    ) -> Free | tuple[RequestOutcome, DialOut | None]:
        """Return that a telephone may come in free, or what the ledger did with its request.

        ``caller`` is its number as the carrier has it, or empty; ``uniqueid`` its channel,
        which waits. What the ledger reserved is claimed for it already.

        Raises ``LedgerUnavailable``, as ``admit`` does.
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

    async def _admit(
        self, request: DialOutRequest, at: datetime, gate_uniqueid: str | None
    ) -> tuple[RequestOutcome, DialOut | None]:
        facts = await self._inquiry.facts(request, at)
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
                    at + timedelta(seconds=UNCLAIMED_SECONDS_MAX),
                    gate_uniqueid=gate_uniqueid,
                )
                if outcome is RequestOutcome.RESERVED:
                    _tell(because.observed, request)
                return outcome, dial_out


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
