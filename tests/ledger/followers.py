"""What follows the calls of one bridge, on a ledger of a test."""

from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.admission import Admission
from gateway.ami import AmiClient
from gateway.bridge import Bridge
from gateway.core.dial_out import MAIN_BRIDGE
from gateway.core.trunk import Trunk
from gateway.dial_in import DialIns
from gateway.dialer import Dialer
from gateway.guard import Guard
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger
from gateway.outages import Outages
from gateway.progress import Progress
from gateway.reaper import Reaper
from gateway.reconcile import Reconciliation
from gateway.settings import GuardSettings
from gateway.settlement import Settlement
from gateway.slices import Slices
from tests.ledger.world import TERMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Followers:
    """The parts that know of each other."""

    settlement: Settlement
    dialer: Dialer
    dial_ins: DialIns
    reconciliation: Reconciliation


def followers(ami: AmiClient, ledger: Ledger) -> Followers:
    """Return the followers of the bridge ``main``, by the clock of this host."""
    settlement = Settlement(ami=ami, ledger=ledger, now=now)
    admission = Admission(
        ledger=ledger,
        inquiry=Inquiry(ledger=ledger, trunks={MAIN_BRIDGE: Trunk()}),
        terms={MAIN_BRIDGE: TERMS},
    )
    slices = Slices(ami=ami, ledger=ledger, now=now, warnings=(), ahead_seconds=30)
    dialer = Dialer(
        bridge=MAIN_BRIDGE,
        ami=ami,
        ledger=ledger,
        admission=admission,
        settlement=settlement,
        slices=slices,
        progress=Progress(ledger=ledger),
        now=now,
    )
    dial_ins = DialIns(
        bridge=MAIN_BRIDGE,
        ami=ami,
        admission=admission,
        settlement=settlement,
        slices=slices,
        in_doubt=dialer.in_doubt,
        now=now,
    )
    return Followers(
        settlement=settlement,
        dialer=dialer,
        dial_ins=dial_ins,
        reconciliation=Reconciliation(
            bridge=MAIN_BRIDGE,
            ami=ami,
            ledger=ledger,
            dialer=dialer,
            dial_ins=dial_ins,
            settlement=settlement,
        ),
    )


def bridge_of(ami: AmiClient, ledger: Ledger) -> Bridge:
    """Return the bridge ``main`` with all that follows its calls, to be run by a test."""
    parts = followers(ami, ledger)
    return Bridge(
        name=MAIN_BRIDGE,
        ami=ami,
        ledger=ledger,
        dialer=parts.dialer,
        dial_ins=parts.dial_ins,
        reconciliation=parts.reconciliation,
        guard=Guard(
            ami=ami,
            ledger=ledger,
            dialer=parts.dialer,
            patience=GuardSettings().patience(),
            now=now,
        ),
        reaper=Reaper(dialer=parts.dialer, dial_ins=parts.dial_ins, settlement=parts.settlement),
        outages=Outages(bridge=MAIN_BRIDGE, ledger=ledger, now=now),
    )


def now() -> datetime:
    """Return what this host's clock says."""
    return datetime.now(UTC)
