"""The meeting that the page is for, and who may be in front of it."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody whom a visitor of the page can be.

    ``initiator_id`` is what the gateway knows this person by; None for somebody anonymous.
    """

    participant_id: str
    name: str
    initiator_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleNumber:
    """A number worth trying, and what will happen."""

    number: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """One meeting. The first of its participants is who a visitor is at first."""

    tenant_id: UUID
    organizer_id: str
    conference_id: str
    name: str
    participants: tuple[Participant, ...]
    samples: tuple[SampleNumber, ...] = ()

    def participant(self, participant_id: str) -> Participant | None:
        """Return the participant with this id, if there is one."""
        for participant in self.participants:
            if participant.participant_id == participant_id:
                return participant
        return None
