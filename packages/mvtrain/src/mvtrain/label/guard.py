"""Guard of the page's server: only this machine, only this address, only with the secret.

A page of another origin cannot read answers, but it can send requests to 127.0.0.1, and with a name of its own that
points there (DNS rebinding) it could read them. So the host must be the server's, an origin that is named must be the
server's, and everything but the page's own files needs the secret in a header, which no other origin can send. There is
no cookie: cookies do not keep ports apart, so another server of this machine would get it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECRET_HEADER = "x-mvtrain-secret"

MAX_BODY = 4_000_000
"""Largest body of a request in bytes; a frame with 6 views and 100 keypoints has 60,000."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI application that refuses requests before another one sees them.

    Args:
        app: Application to guard.
        port: Port of the server.
        secret: Text that requests must have in the header `x-mvtrain-secret`.
        needs_secret: Function of the path; False for files of the page, which tell nothing.
    """

    def __init__(self, app: ASGIApp, *, port: int, secret: str, needs_secret: Callable[[str], bool]) -> None:
        self._app, self._secret, self._needs_secret = app, secret, needs_secret
        self._hosts = tuple(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, by a refusal or by the guarded application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        answer: ASGIApp = self._app if refusal is None else refusal
        await answer(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if headers.get("host") not in self._hosts:
            return _refused(403, "wrong-host", "this host is not served. Open the address that mvtrain label printed")
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            return _refused(403, "wrong-origin", "requests from other pages are refused")
        given = headers.get(SECRET_HEADER, "")
        # As bytes, because compare_digest takes only ASCII texts.
        if self._needs_secret(scope["path"]) and not secrets.compare_digest(given.encode(), self._secret.encode()):
            return _refused(
                403, "wrong-secret", "the address has no valid secret. Open the one that mvtrain label printed"
            )
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY or "transfer-encoding" in headers:
            return _refused(413, "too-large", f"the request has more than {MAX_BODY} bytes, or does not say how many")
        return None


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _refused(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": message}, status_code=status)
