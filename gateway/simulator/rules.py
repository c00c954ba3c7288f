"""By which settings the calls of a campaign are made: short ones, or an operator's own."""

from typing import Final, Self

from pydantic import BaseModel, ConfigDict

from gateway.core.rating import Seconds
from gateway.settings import CallSettings, CoolDownSettings, GuardSettings, RulesSettings
from gateway.simulator.scenario import Funds

_SLICE_SECONDS: Final = 5


class Rules(BaseModel):
    """What every gateway of a campaign is told of calls.

    What nobody has set is short enough that slices, warnings and cuts come within seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    call: CallSettings = CallSettings(
        talk_seconds_max=12,
        talk_seconds_min=1,
        slice_seconds=_SLICE_SECONDS,
        extend_ahead_seconds=1,
        warning_seconds=(2,),
        ring_seconds=5,
    )
    cool_down: CoolDownSettings = CoolDownSettings(attempts=0)
    guard: GuardSettings = GuardSettings()

    @property
    def scale(self) -> int:
        """How many times as long as our own the shortest calls, and their slices, are."""
        return max(self.call.talk_seconds_min, self.call.slice_seconds // _SLICE_SECONDS)

    def funds(self, funds: Funds) -> Funds:
        """Return funds for as many of these calls as they would be for ours."""
        return Funds(
            pool_seconds=Seconds(funds.pool_seconds * self.scale),
            addon_seconds=Seconds(funds.addon_seconds * self.scale),
            credit_seconds=Seconds(funds.credit_seconds * self.scale),
        )

    @classmethod
    def of(cls, settings: RulesSettings) -> Self:
        """Return what an operator has set, section by section, and our own for the rest.

        Not which of his bridges is the default one: a campaign has its own.
        """
        set_by_operator = {
            name: section for name in cls.model_fields if (section := getattr(settings, name))
        }
        if settings.call is not None:
            set_by_operator["call"] = settings.call.model_copy(update={"default_bridge": None})
        return cls(**set_by_operator)
