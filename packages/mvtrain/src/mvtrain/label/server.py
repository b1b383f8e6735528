"""The page's server, an ASGI application.

| request | answer |
|---|---|
| GET /, /label.css, /*.js | the page; the secret after the `#` of its address is only sent in a header |
| GET /api/project | names, options, and every frame with the work that is left |
| GET /api/frames/F | labels, predictions and geometry of a frame |
| GET /api/frames/F/views/V/image | the image |
| GET /api/frames/F/views/V/video/OFFSET | a frame of its video, OFFSET frames later |
| POST /api/frames/F/geometry | `{keypoints, labels}`: geometry of keypoints, while one is dragged |
| POST /api/edits | `{client, first, generation, edits: [[F, [[view, keypoint, label], ...]], ...]}` |
| POST /api/save, /api/reload, /api/visible | write the tables; read them again; give them a column `visible` |

A label is `[x, y, visible, origin]`. Frames, views and keypoints are numbers; no text of a request becomes a path. An
error is `{code, message}` with status 404 (no such frame or image), 409 (a table was changed, the page is stale), 422
(not valid), 500 (cannot be written or read); 403 and 413 are the guard's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mvgeom.errors import InputError
from mvtrain.label.guard import Guard
from mvtrain.label.page_json import parse_label
from mvtrain.label.service import LabelService

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
