"""The metrics over HTTP: for whoever has the API's token, and for nobody else."""

import asyncio
import gc

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from tests.admin.conftest import ADMIN_TOKEN, CALLS_TOKEN, client


async def test_prometheus_reads_them_with_the_apis_token(api: FastAPI) -> None:
    """They say what is going on here, and neither Asterisk nor the ledger has to answer."""
    async with client(api, CALLS_TOKEN) as prometheus:
        answer = await prometheus.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "dialout_ready" in answer.text


async def test_they_say_what_the_process_has_in_hand(api: FastAPI) -> None:
    """A task or an object that outlives its call is seen to pile up, long before the memory is."""
    gc.collect()
    gc.disable()  # what earlier tests left behind must not go between the two
    try:
        async with client(api, CALLS_TOKEN) as prometheus:
            before = _values((await prometheus.get("/metrics")).text)
            waiting = asyncio.create_task(asyncio.Event().wait())
            kept = [object() for _ in range(100_000)]
            after = _values((await prometheus.get("/metrics")).text)
            waiting.cancel()
    finally:
        gc.enable()

    assert after["dialout_tasks"] == before["dialout_tasks"] + 1
    assert after["dialout_memory_blocks"] - before["dialout_memory_blocks"] >= len(kept)


def _values(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {each.name: each.value for family in families for each in family.samples}


@pytest.mark.parametrize("token", [None, ADMIN_TOKEN, "a-token-that-nobody-ever-gave"])
async def test_nobody_else_does(api: FastAPI, token: str | None) -> None:
    """How many calls there are is nobody's business, not even the provisioner's."""
    async with client(api, token) as stranger:
        answer: httpx.Response = await stranger.get("/metrics")

    assert answer.status_code == 401
    assert "dialout" not in answer.text
