"""The HTTP API: the only package that knows what a refusal, a fault or a retry is in HTTP."""

from gateway.api.admin import Administration
from gateway.api.service import BODY_BYTES_MAX, create_api

__all__ = ["BODY_BYTES_MAX", "Administration", "create_api"]
