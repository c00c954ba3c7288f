"""What the database knows and does about money, time and dial-outs, in the words of the core."""

from gateway.ledger.answers import (
    AnsweredOutcome,
    Balance,
    Claim,
    ClaimOutcome,
    CreditsOutcome,
    DeckRow,
    Finding,
    LicenceOutcome,
    OrganizerAnswer,
    OrganizerOutcome,
    RateDeckOutcome,
    RequestOutcome,
    SettleOutcome,
    TenantOutcome,
    TenantUpdateOutcome,
    Unit,
    VoidOutcome,
)
from gateway.ledger.ledger import Ledger, LedgerUnavailable

__all__ = [
    "AnsweredOutcome",
    "Balance",
    "Claim",
    "ClaimOutcome",
    "CreditsOutcome",
    "DeckRow",
    "Finding",
    "Ledger",
    "LedgerUnavailable",
    "LicenceOutcome",
    "OrganizerAnswer",
    "OrganizerOutcome",
    "RateDeckOutcome",
    "RequestOutcome",
    "SettleOutcome",
    "TenantOutcome",
    "TenantUpdateOutcome",
    "Unit",
    "VoidOutcome",
]
