"""What every gateway reads when it is first needed, read once by the server that forks them.

Importing this does it: that is all that such a server can be told.
"""

from importlib import import_module

from gateway.core import e164

for each in (
    "gateway.simulator.gateway_process",
    # What the gateway's own parts import only when they are first used.
    "anyio._backends._asyncio",
    "certifi",
    "httpcore",
    "pydantic.v1",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
):
    import_module(each)

# What calls to the two countries of every scenario read first.
e164.read_long_plans()
e164.read_number("+12025550123", e164.Region("US"))
e164.read_number("+442079460123", e164.Region("GB"))
