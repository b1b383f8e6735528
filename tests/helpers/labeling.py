"""A tiny project to label, its server in a thread, and a client that can also send what a browser never would."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from helpers.rigs import ring
from mvgeom import project as project_points
from mvtrain.label.run_label import create_server, project_config
from mvtrain.label.service import LabelOptions, LabelService
from mvtrain.label.store import LabelStore, open_store

SIZE = 100
SECRET = "a-secret"
KEYPOINTS = ("nose", "tail", "paw")


def world_points(num_frames: int, num_keypoints: int = len(KEYPOINTS), seed: int = 0) -> np.ndarray:
    """(N, K, 3) points that all cameras of `ring` see."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (num_frames, num_keypoints, 3))


def true_points(num_frames: int, num_views: int, size: int = SIZE) -> np.ndarray:
    """(N, V, K, 2) projections of `world_points`."""
    return np.asarray(project_points(world_points(num_frames), ring(num_views, size=size)))


def write_table(path: Path, images: Sequence[str], *, visible: bool = True, rows: Sequence[str] | None = None) -> None:
    """A label table; `rows` are its cells after the name of the image, empty ones without."""
    coords = ["x", "y", "visible"][: 3 if visible else 2]
    header = [
        ["scorer", *["me"] * len(KEYPOINTS) * len(coords)],
        ["bodyparts", *(name for name in KEYPOINTS for _ in coords)],
        ["coords", *coords * len(KEYPOINTS)],
    ]
    empty = "," * (len(KEYPOINTS) * len(coords) - 1)
    lines = [",".join(row) for row in header]
    lines += [f"{image},{empty if rows is None else rows[number]}" for number, image in enumerate(images)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_project(
    folder: Path,
    *,
    num_views: int = 3,
    num_frames: int = 3,
    visible: bool = True,
    calibrated: bool = True,
    size: int = SIZE,
    session: str = "s",
) -> Path:
    """A project without labels: small gray images with a dot at every keypoint's place."""
    folder.mkdir(parents=True)
    cameras = ring(num_views, size=size)
    points = true_points(num_frames, num_views, size)
    for view, name in enumerate(cameras.names):
        images = [f"labeled-data/{session}_{name}/img{frame:08d}.png" for frame in range(num_frames)]
        (folder / images[0]).parent.mkdir(parents=True)
        for frame, image in enumerate(images):
            pixels = np.full((size, size, 3), 70 + 10 * view, dtype=np.uint8)
            for x, y in points[frame, view]:
                cv2.circle(pixels, (round(x), round(y)), 2, (230, 230, 230), -1)
            cv2.imwrite(str(folder / image), pixels)
        write_table(folder / f"CollectedData_{name}.csv", images, visible=visible)
    if calibrated:
        (folder / "calibrations").mkdir()
        cameras.save(folder / "calibrations" / f"{session}.toml")
    return folder


def tables(root: Path) -> dict[str, bytes]:
    """Content of the label tables by name."""
    return {path.name: path.read_bytes() for path in sorted(root.glob("CollectedData_*.csv"))}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["code"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """A running server: its address, its labels, and requests to it."""

    address: str
    port: int
    store: LabelStore
    stop: Callable[[], None]

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request as the page does; `headers` replace or, if empty, remove its headers."""
        sent = {"host": f"127.0.0.1:{self.port}", "x-mvtrain-secret": SECRET, **(headers or {})}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-length", str(len(content)))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value)]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            # In one piece: a server that refuses a head at once closes the connection, and a body that comes later
            # would reset it before its answer is read.
            connection.sendall(head + (content or b""))
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(status=response.status, headers=found, body=response.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.request("POST", path, {} if body is None else body, headers=headers)

    def edit(
        self, frame: int, labels: list[Any], *, client: str = "test", first: int = 0, generation: int = 1
    ) -> Answer:
        """Send one edit: [view, keypoint, [x, y, visible, origin]] of each label."""
        body = {"client": client, "first": first, "generation": generation, "edits": [[frame, labels]]}
        return self.post("/api/edits", body)


@contextmanager
def serve(root: Path, options: LabelOptions | None = None) -> Iterator[Served]:
    """Serve a project in a thread of this process."""
    config = project_config(root)
    with open_store(config) as store, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        service = LabelService(config, store, options or LabelOptions())
        server, address = create_server(service, sock, SECRET)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(10)
            sock.close()

        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield Served(address=address, port=sock.getsockname()[1], store=store, stop=stop)
        finally:
            stop()
