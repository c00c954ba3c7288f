"""Reports on a real ledger, as their users have them: the commands and the HTTP API."""

from tests.admin.conftest import admin, admin_pool, api, commands, gateway_pool, logins, ways
from tests.ledger.conftest import (
    dsn,
    ledger,
    owner,
    pool,
    provisioning,
    server,
    server_directory,
    world,
)

__all__ = [
    "admin",
    "admin_pool",
    "api",
    "commands",
    "dsn",
    "gateway_pool",
    "ledger",
    "logins",
    "owner",
    "pool",
    "provisioning",
    "server",
    "server_directory",
    "ways",
    "world",
]
