"""Answers to the page, as JSON: the project, frames with their geometry, edits, saving. It knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.config import Config
from mvtrain.label.frame_list import read_frame_list, summarize_frames
from mvtrain.label.geometry import DISAGREEMENT, ClickNoise
from mvtrain.label.journal import Label
from mvtrain.label.page_images import REACH, NeighborFrames, page_image
from mvtrain.label.page_json import Json, describe_conflict, geometry_json, label_json, numbers_json, place_of
from mvtrain.label.prelabels import read_prelabels
from mvtrain.label.store import ORIGINS, LabelStore

_MAX_CLIENTS = 100


class EditOrder:
    """Numbers of the edits that were handled, by page. A page counts its edits from 0."""

    def __init__(self) -> None:
        self._handled: dict[str, int] = {}

    def handled(self, client: str) -> int:
        """Return the number of the first edit of a page that was not handled yet."""
        return self._handled.get(client, 0)

    def set_handled(self, client: str, number: int) -> None:
        """Note that all edits of a page before a number were handled; pages that are long gone are forgotten."""
        self._handled.pop(client, None)
        self._handled[client] = number  # the last one in the order of the dict
        while len(self._handled) > _MAX_CLIENTS:
            self._handled.pop(next(iter(self._handled)))


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Options of `mvtrain label`.

    Attributes:
        predictions: Run folder, or folder of tables, whose predictions are proposed as labels; None for none.
        frames: CSV file that names the frames to label and their order; None takes all.
        threshold: Reprojection error in px of the stored image beyond which a label is marked.
    """

    predictions: Path | None = None
    frames: Path | None = None
    threshold: float = DISAGREEMENT


class LabelService:
    """Answers to the page. Frames are numbered as in the page's list, views and keypoints as in the project.

    Args:
        config: Config of the project.
        store: Labels of the project.
        options: Options of the command.

    Raises:
        InputError: The predictions or the list of frames cannot be read or do not fit the project.
    """

    def __init__(self, config: Config, store: LabelStore, options: LabelOptions) -> None:
        self._config, self._store, self._options = config, store, options
        self._lock = RLock()
        self._order = EditOrder()
        self._revision = 0
        self._generation = 0
        self._open()

    def _open(self) -> None:
        project = self._store.project
        _check_paths(self._store)
        self._prelabels = None
        if self._options.predictions is not None:
            self._prelabels = read_prelabels(self._options.predictions, project)
        self._frames = list(range(len(self._store)))
        if self._options.frames is not None:
            self._frames = read_frame_list(self._options.frames, project)
        self._neighbors = NeighborFrames(self._config, project)
        self._noise = ClickNoise(self._store)
        self._generation += 1

    def project(self) -> Json:
        """Return names, sizes and the work that is left in every frame."""
        with self._lock:
            project = self._store.project
            names = {name: number for number, name in enumerate(project.keypoint_names)}
            skeleton = self._config.data.skeleton or ()
            return {
                "name": project.root.name,
                "generation": self._generation,
                "revision": self._revision,
                "views": project.view_names,
                "keypoints": project.keypoint_names,
                "skeleton": [[names[a], names[b]] for a, b in skeleton if a in names and b in names],
                "hasVisible": self._store.has_visible,
                "hasPredictions": self._prelabels is not None,
                "isList": self._options.frames is not None,
                "noise": round(self._noise.value, 2),
                "threshold": self._options.threshold,
                "reach": REACH,
                "warnings": project.warnings,
                "recovered": self._store.num_recovered,
                "conflicts": [describe_conflict(conflict) for conflict in self._store.conflicts],
                "frames": self._summaries(self._frames),
            }

    def frame(self, number: int) -> Json:
        """Return the labels, predictions and geometry of a frame.

        Raises:
            InputError: There is no such frame (`missing-frame`).
        """
        with self._lock:
            frame, store = self._row(number), self._store
            project = store.project
            views, keypoints = range(len(project.view_names)), range(len(project.keypoint_names))
            return {
                "frame": number,
                "revision": self._revision,
                "name": store.frame_names[frame],
                "session": project.sessions[frame],
                "views": [
                    {
                        "image": project.image_names[frame][view],
                        "size": project.file_sizes[frame, view].tolist(),
                        "video": self._video(frame, view),
                    }
                    for view in views
                ],
                "labels": [[label_json(store.label(frame, view, k)) for k in keypoints] for view in views],
                "predictions": self._predictions(frame),
                "geometry": self._geometry(frame, store.points[frame], store.visible[frame], store.origins[frame]),
            }

    def geometry(self, number: int, keypoints: Sequence[int], labels: Sequence[Sequence[Label]]) -> Json | None:
        """Return the geometry of some keypoints for labels that the server may not have yet, as of one that is dragged.

        Args:
            number: Number of the frame.
            keypoints: Numbers of n keypoints.
            labels: Lists of V labels, one per keypoint.

        Raises:
            InputError: There is no such frame or keypoint, or not one label per view (`wrong-count`).
        """
        with self._lock:
            frame = self._row(number)
            num_views, num_keypoints = self._store.visible.shape[1:]
            lengths = {len(row) for row in labels}
            fitting = len(labels) == len(keypoints) and lengths == {num_views}
            if not fitting or not all(0 <= keypoint < num_keypoints for keypoint in keypoints):
                raise InputError(
                    f"geometry: found keypoints {list(keypoints)} with {sorted(lengths)} labels, expected "
                    f"{counted(num_views, 'label')} of keypoints below {num_keypoints}",
                    code="wrong-count",
                    found=tuple(lengths),
                    expected=num_views,
                )
            by_view = list(zip(*labels, strict=True))
            points = np.array([[place_of(label) for label in row] for row in by_view], dtype=np.float64)
            visible = np.array([[label.visible for label in row] for row in by_view])
            origins = np.array([[ORIGINS.index(label.origin) for label in row] for row in by_view])
            return self._geometry(frame, points, visible, origins)

    def edit(self, client: str, first: int, generation: int, edits: Sequence[tuple[int, Sequence[Any]]]) -> Json:
        """Make edits in their order; those that arrived before, when a page was closed, are skipped.

        Args:
            client: Name of the page that sends them.
            first: Number of the first edit, counted by the page from 0.
            generation: Number of the project's state that the page shows.
            edits: Frames with (view, keypoint, label) of each label.

        Returns:
            The revision, and the work that is left in the frames.

        Raises:
            InputError: The page shows another state (`stale-page`), or an edit is not valid, as in `LabelStore.edit`.
        """
        with self._lock:
            if generation != self._generation:
                raise InputError(
                    "the page shows the project before it was reloaded. Reload the page", code="stale-page"
                )
            done = self._order.handled(client)
            changed: dict[int, None] = {}
            for sequence, (number, labels) in enumerate(edits, start=first):
                if sequence < done:
                    continue
                try:
                    frame = self._row(number)
                    self._store.edit(frame, {(view, keypoint): label for view, keypoint, label in labels})
                except InputError as error:
                    # What is not valid is not sent again; what could not be written is.
                    handled = sequence if error.code == "unwritable-file" else sequence + 1
                    self._order.set_handled(client, handled)
                    raise error.prefixed("", done=handled) from error
                self._order.set_handled(client, sequence + 1)
                self._noise.update([frame])
                self._revision += 1
                changed[number] = None
            rows = [self._frames[number] for number in changed]
            summaries = dict(zip(map(str, changed), self._summaries(rows), strict=True))
            return {"revision": self._revision, "frames": summaries}

    def save(self) -> Json:
        """Write all edits to the tables; return the names of the written frames.

        Raises:
            InputError: As in `LabelStore.save`.
        """
        with self._lock:
            return {"saved": self._store.save(), "revision": self._revision}

    def save_if_idle(self, seconds: float) -> None:
        """Save if the last edit is some time ago, for a page that was closed."""
        if self._store.idle_seconds >= seconds and self._store.unsaved_frames():
            self.save()

    def reload(self) -> Json:
        """Read the tables, the predictions and the list of frames again, and return the project.

        Raises:
            InputError: One of them cannot be read; the labels stay as they were.
        """
        with self._lock:
            self._store.reload()
            self._open()
            return self.project()

    def add_visible(self) -> Json:
        """Give the tables a column `visible`, and return the project.

        Raises:
            InputError: As in `LabelStore.add_visible`.
        """
        with self._lock:
            self._store.add_visible()
            return self.project()

    def image(self, number: int, view: int) -> tuple[bytes, str]:
        """Return a frame's image of a view, and its media type.

        Raises:
            InputError: There is no such image (`missing-frame`), or it cannot be read.
        """
        with self._lock:
            frame = self._row(number)
            paths = self._store.project.image_paths[frame]
        path = paths[view] if 0 <= view < len(paths) else None
        if path is None:
            raise InputError(f"frame {number} has no image of view {view}", code="missing-frame", view=view)
        return page_image(path)

    def neighbor(self, number: int, view: int, offset: int) -> tuple[bytes, str]:
        """Return a frame of the video near a labeled one, and its media type.

        Raises:
            InputError: As in `NeighborFrames.read`.
        """
        with self._lock:
            frame, neighbors = self._row(number), self._neighbors
        if not 0 <= view < len(self._store.project.view_names):
            raise InputError(f"frame {number} has no view {view}", code="missing-frame", view=view)
        return neighbors.read(frame, view, offset), "image/jpeg"

    def _row(self, number: int) -> int:
        if not 0 <= number < len(self._frames):
            raise InputError(
                f"no frame {number}, expected 0 to {len(self._frames) - 1}", code="missing-frame", frame=number
            )
        return self._frames[number]

    def _summaries(self, rows: Sequence[int]) -> list[Json]:
        return summarize_frames(self._store, self._prelabels, rows, threshold=self._options.threshold)

    def _video(self, frame: int, view: int) -> int | None:
        """Return the frame of the video that an image is; None without a video."""
        place = self._neighbors.place(frame, view)
        return None if place is None else place[1]

    def _predictions(self, frame: int) -> list[list[list[float] | None]] | None:
        if self._prelabels is None:
            return None
        points, likelihood = self._prelabels.points[frame], self._prelabels.likelihood[frame]
        values = np.concatenate([points, likelihood[..., None]], axis=-1)
        return [[numbers_json(value, 3) for value in row] for row in values]

    def _geometry(self, frame: int, points: np.ndarray, visible: np.ndarray, origins: np.ndarray) -> Json | None:
        return geometry_json(
            self._store.project,
            frame,
            points,
            visible,
            origins,
            threshold=self._options.threshold,
            noise=self._noise.value,
        )


def _check_paths(store: LabelStore) -> None:
    """Check that no image lies outside of the project, because the page shows them.

    Raises:
        InputError: `bad-name`.
    """
    for names in store.project.image_names:
        for name in names:
            parts = Path((name or "").replace("\\", "/"))
            root = store.project.root
            is_below = not parts.is_absolute() or any(map(parts.is_relative_to, (root, root.resolve())))
            if not is_below or ".." in parts.parts:
                raise InputError(
                    f"{store.project.root}: image {name} lies outside of the project, expected a path below it",
                    code="bad-name",
                    name=name,
                )
