"""How long ``explain`` takes of its own: facts, rules and the rehearsal, against PostgreSQL."""

import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from bench.figures import Figures
from gateway import db
from gateway.core.dial_out import MAIN_BRIDGE, DialOutKind, Terms
from gateway.core.e164 import E164
from gateway.core.facts import OrganizerId
from gateway.core.rating import Seconds
from gateway.core.trunk import Trunk
from gateway.explainer import Explainer, question
from gateway.inquiry import Inquiry
from gateway.lab.postgres import Postgres
from gateway.lab.sample import create_sample_tenant
from gateway.ledger import Ledger, Provisioning
from gateway.settings import DatabaseSettings

NUMBERS = ("020 7946 0000", "+254 20 2000000", "+1 876 555 0123", "+1 900 555 0123", "112")
TERMS = Terms(
    talk_seconds_max=Seconds(3600),
    talk_seconds_min=Seconds(60),
    slice_seconds=Seconds(14_400),
    ring_seconds=Seconds(30),
    caller_id=E164("+442079460999"),
)


async def measure(count: int) -> list[Figures]:
    """Explain ``count`` numbers: allowed and refused ones in turn."""
    with TemporaryDirectory(prefix="dialout-bench-") as directory:
        async with Postgres(Path(directory)) as postgres:
            settings = DatabaseSettings(dsn=SecretStr(await postgres.create_database("bench")))
            await db.migrate(settings)
            async with db.pool(settings) as pool:
                tenant = await create_sample_tenant(Provisioning(pool))
                ledger = Ledger(pool)
                explainer = Explainer(
                    ledger=ledger,
                    inquiry=Inquiry(ledger=ledger, trunks={MAIN_BRIDGE: Trunk()}),
                    terms={MAIN_BRIDGE: TERMS},
                )
                durations = []
                for n in range(count):
                    request = question(
                        tenant.tenant_id,
                        organizer_id=OrganizerId("alice"),
                        initiator_id="alice",
                        kind=DialOutKind.CALL_ME,
                        conference_id="bench",
                        number=NUMBERS[n % len(NUMBERS)],
                        bridge=MAIN_BRIDGE,
                    )
                    begun = time.perf_counter()
                    answer = await explainer.rehearsed(request, datetime.now(UTC))
                    answer.summary()
                    durations.append(time.perf_counter() - begun)
                return [Figures.of("explain a number", durations)]
