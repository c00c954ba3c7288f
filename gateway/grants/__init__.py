"""Calls that go on while the ledger is away: small grants, written to disk and booked later.

``Grants`` gives and books them, ``Journal`` keeps them on disk, ``Memory`` has what the ledger
said lately, and ``GrantingLedger`` is the ledger as everybody sees it who need not know.
"""

from gateway.grants.grants import Grants
from gateway.grants.journal import Journal, JournalUnusable
from gateway.grants.ledger import GrantingLedger
from gateway.grants.memory import Memory

__all__ = [
    "GrantingLedger",
    "Grants",
    "Journal",
    "JournalUnusable",
    "Memory",
]
