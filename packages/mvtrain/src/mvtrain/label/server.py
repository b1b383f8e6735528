"""The page's server, an ASGI application for this machine, this address and this secret alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvgeom.errors import InputError
from mvtrain.label.page_json import parse_label
from mvtrain.label.service import LabelService

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

_IDLE_SECONDS = 3.0
"""Time after an edit at which the server saves by itself, if the page has not."""

_STATUS = {
    "missing-frame": 404,
    "missing-file": 404,
    "changed-file": 409,
    "stale-page": 409,
    "missing-column": 409,
    "unwritable-file": 500,
    "unreadable-file": 500,
    "damaged-file": 500,
}
"""Status of errors by their code; 422 for the others."""

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


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


def create_app(service: LabelService, *, port: int, secret: str) -> ASGIApp:
    """Create the application.

    Args:
        service: Answers to the page.
        port: Port of the server, which the host of requests must name.
        secret: Secret of the page's address.
    """
    files = page_files()

    async def page(request: Request) -> Response:
        content, media_type = files[request.url.path]
        return Response(content, media_type=media_type)

    async def project(request: Request) -> Response:
        return await _json(service.project)

    async def frame(request: Request) -> Response:
        return await _json(service.frame, request.path_params["frame"])

    async def image(request: Request) -> Response:
        content, media_type = await run_in_threadpool(service.image, **_place(request))
        return Response(content, media_type=media_type)

    async def neighbor(request: Request) -> Response:
        # Starlette's integers have no sign.
        try:
            offset = int(request.path_params["offset"])
        except ValueError as error:
            raise InputError("offset: not a number", code="missing-frame") from error
        content, media_type = await run_in_threadpool(service.neighbor, **_place(request), offset=offset)
        return Response(content, media_type=media_type)

    async def geometry(request: Request) -> Response:
        body = await _body(request)
        keypoints, rows = _field(body, "keypoints", list), _field(body, "labels", list)
        if not all(type(number) is int for number in keypoints) or not all(isinstance(row, list) for row in rows):
            raise InputError("request: keypoints are numbers, labels are lists", code="bad-field", field="labels")
        labels = [[parse_label(label) for label in row] for row in rows]
        return await _json(service.geometry, request.path_params["frame"], keypoints, labels)

    async def edit(request: Request) -> Response:
        body = await _body(request)
        edits = [_parse_edit(edit) for edit in _field(body, "edits", list)]
        client, first = _field(body, "client", str), _field(body, "first", int)
        return await _json(service.edit, client, first, _field(body, "generation", int), edits)

    async def save(request: Request) -> Response:
        return await _json(service.save)

    async def reload(request: Request) -> Response:
        return await _json(service.reload)

    async def add_visible(request: Request) -> Response:
        return await _json(service.add_visible)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        saving = asyncio.create_task(_save_when_idle(service))
        yield
        saving.cancel()

    app = Starlette(
        routes=[
            *(Route(path, page) for path in files),
            Route("/api/project", project),
            Route("/api/frames/{frame:int}", frame),
            Route("/api/frames/{frame:int}/views/{view:int}/image", image),
            Route("/api/frames/{frame:int}/views/{view:int}/video/{offset}", neighbor),
            Route("/api/frames/{frame:int}/geometry", geometry, methods=["POST"]),
            Route("/api/edits", edit, methods=["POST"]),
            Route("/api/save", save, methods=["POST"]),
            Route("/api/reload", reload, methods=["POST"]),
            Route("/api/visible", add_visible, methods=["POST"]),
        ],
        lifespan=lifespan,
        exception_handlers={InputError: _error},
    )
    return Guard(app, port=port, secret=secret, needs_secret=lambda path: path not in files)


def page_files() -> dict[str, tuple[bytes, str]]:
    """Return content and media type of the page's files by their path on the server."""
    files = {}
    for file in (resources.files("mvtrain.label") / "page").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            files[f"/{file.name}"] = (file.read_bytes(), _TYPES[suffix])
    files["/"] = files.pop("/label.html")
    return files


async def _save_when_idle(service: LabelService) -> None:
    while True:
        await asyncio.sleep(_IDLE_SECONDS / 3)
        with contextlib.suppress(InputError):  # the page tells it, and the journal has the edits
            await run_in_threadpool(service.save_if_idle, _IDLE_SECONDS)


async def _json(function: Callable[..., Any], *arguments: Any) -> Response:
    return JSONResponse(await run_in_threadpool(function, *arguments))


def _place(request: Request) -> dict[str, int]:
    return {"number": request.path_params["frame"], "view": request.path_params["view"]}


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:  # lists in lists, thousands deep, are beyond Python's stack
        raise InputError(f"request: not JSON: {error}", code="invalid-syntax") from error
    if not isinstance(body, dict):
        raise InputError("request: not a JSON object", code="bad-field", field="")
    return body


def _field(body: dict[str, Any], name: str, kind: type) -> Any:
    value = body.get(name)
    if type(value) is not kind:
        raise InputError(
            f"request: found {name} {value!r}, expected a value of type {kind.__name__}", code="bad-field", field=name
        )
    return value


def _parse_edit(edit: Any) -> tuple[int, list[Any]]:
    try:
        frame, labels = edit
        parsed = [(view, keypoint, parse_label(label)) for view, keypoint, label in labels]
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "request: an edit is not [frame, [[view, keypoint, label], ...]]", code="bad-field", field="edits"
        ) from error
    if not all(type(number) is int for number in (frame, *(n for label in parsed for n in label[:2]))):
        raise InputError("request: frames, views and keypoints are numbers", code="bad-field", field="edits")
    return frame, parsed


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, InputError)
    body = {"code": error.code, "message": str(error)}
    if "done" in error.facts:
        body["done"] = error.facts["done"]  # number of the first edit that the page should send again
    return JSONResponse(body, status_code=_STATUS.get(error.code, 422))
