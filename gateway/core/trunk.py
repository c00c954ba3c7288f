"""What a bridge's trunk reaches."""

from dataclasses import dataclass

from gateway.core.canonical import SortedSet
from gateway.core.e164 import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """The countries that a trunk reaches, None for all, and those whose toll-free numbers."""

    regions: SortedSet[Region] | None = None
    toll_free_regions: SortedSet[Region] = frozenset()
