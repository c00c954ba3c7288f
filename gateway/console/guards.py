"""What every answer of the page carries, and which requests get none."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES_MAX = 4096

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_SAFE_METHODS = frozenset({"GET", "HEAD"})


class Guards:
    """Refuses what no page of ours sends, and tells browsers what no page of ours does.

    A change is taken from our own page only: browsers say where a request comes from, and
    ``SameSite`` withholds the cookie from those that do not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = _refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, guarded)


def _refusal(method: str, headers: Headers) -> ASGIApp | None:
    # A body without a length is one that we would have to count.
    if "transfer-encoding" in headers or not _is_short(headers.get("content-length", "0")):
        return _answer(413, "too_large", f"A body has at most {BODY_BYTES_MAX} bytes.")
    if method in _SAFE_METHODS:
        return None
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return _answer(403, "cross_site", "This comes from another site.")
    return None


def _is_short(length: str) -> bool:
    digits = length.isascii() and length.isdecimal() and len(length) <= len(str(BODY_BYTES_MAX))
    return digits and int(length) <= BODY_BYTES_MAX


def _answer(status: int, reason: str, message: str) -> ASGIApp:
    return JSONResponse({"reason": reason, "message": message}, status_code=status)
