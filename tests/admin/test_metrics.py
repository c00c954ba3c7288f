"""The metrics over HTTP: for whoever has the API's token, and for nobody else."""

import httpx
import pytest
from fastapi import FastAPI

from tests.admin.conftest import ADMIN_TOKEN, CALLS_TOKEN, client


async def test_prometheus_reads_them_with_the_apis_token(api: FastAPI) -> None:
    """They say what is going on here, and neither Asterisk nor the ledger has to answer."""
    async with client(api, CALLS_TOKEN) as prometheus:
        answer = await prometheus.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "dialout_ready" in answer.text


@pytest.mark.parametrize("token", [None, ADMIN_TOKEN, "a-token-that-nobody-ever-gave"])
async def test_nobody_else_does(api: FastAPI, token: str | None) -> None:
    """How many calls there are is nobody's business, not even the provisioner's."""
    async with client(api, token) as stranger:
        answer: httpx.Response = await stranger.get("/metrics")

    assert answer.status_code == 401
    assert "dialout" not in answer.text
