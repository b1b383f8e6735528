"""Projects of other programs, made from a generated one with the libraries that read these programs' files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
import yaml

from mvgeom import CameraGroup
from mvgeom.tables import write_points_3d
from mvtrain.config import load_config
from mvtrain.model.reconstruction import Observations, estimate_noise, to_3d
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.project.project import Project, read_project

SCORER = "someone"


def read(folder: Path) -> Project:
    """Read the project in a folder by its own config."""
    return read_project(load_config(folder / "config.yaml"))


def frame_number(image: str | None) -> int:
    """Return the frame number of an image of a project."""
    assert image is not None
    return int(Path(image).stem.removeprefix("img"))


def visible_points(project: Project) -> np.ndarray:
    """Return (N, V, K, 2) labels without occluded ones, which some programs do not have."""
    return np.where((project.visibility == 2)[..., None], project.points, np.nan)


def video_of(project: Project, session: str, view: str) -> Path:
    """Return the path of a video of the project."""
    return project.root / "videos" / f"{session}_{view}.mp4"


def deeplabcut_table(project: Project, rows: Iterable[int], view: int, *, folder: str, index: str) -> pd.DataFrame:
    """Make a table of DeepLabCut, with image paths in one cell (`index` "path") or in three ("levels")."""
    rows = list(rows)
    names = [f"img{frame_number(project.image_names[row][view]):04d}.png" for row in rows]
    columns = pd.MultiIndex.from_product(
        [[SCORER], project.keypoint_names, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    paths: Any = [f"labeled-data/{folder}/{name}" for name in names]
    if index == "levels":
        paths = pd.MultiIndex.from_tuples([("labeled-data", folder, name) for name in names])
    values = visible_points(project)[rows, view].reshape(len(rows), len(columns))
    return pd.DataFrame(values, index=paths, columns=columns)


def write_deeplabcut(
    folder: Path,
    project: Project,
    *,
    views: Sequence[int] | None = None,
    rows: dict[int, Sequence[int]] | None = None,
    name: str = "{session}_{view}",
    index: str = "levels",
    formats: Sequence[str] = ("csv", "h5"),
    with_videos: bool = True,
) -> Path:
    """Write a DeepLabCut project of some views with labels and images of some rows."""
    views = list(range(len(project.view_names))) if views is None else list(views)
    videos = {}
    for view in views:
        for session in dict.fromkeys(project.sessions):
            video = name.format(session=session, view=project.view_names[view])
            labeled = folder / "labeled-data" / video
            labeled.mkdir(parents=True)
            chosen = range(len(project)) if rows is None else rows[view]
            chosen = [row for row in chosen if project.sessions[row] == session]
            table = deeplabcut_table(project, chosen, view, folder=video, index=index)
            for row in chosen:
                image = project.image_names[row][view]
                shutil.copyfile(project.root / str(image), labeled / f"img{frame_number(image):04d}.png")
            if "csv" in formats:
                table.to_csv(labeled / f"CollectedData_{SCORER}.csv")
            if "h5" in formats:
                table.to_hdf(labeled / f"CollectedData_{SCORER}.h5", key="df_with_missing", mode="w")
            if with_videos:
                (folder / "videos").mkdir(exist_ok=True)
                source = video_of(project, session, project.view_names[view])
                shutil.copyfile(source, folder / "videos" / f"{video}{source.suffix}")
                videos[f"C:\\elsewhere\\{video}{source.suffix}"] = {"crop": "0, 64, 0, 64"}
    config = {
        "Task": "tiny",
        "scorer": SCORER,
        "bodyparts": list(project.keypoint_names),
        "skeleton": [list(project.keypoint_names[:2]), ["dropped", project.keypoint_names[0]]],
        "video_sets": videos,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def write_anipose(folder: Path, project: Project) -> Path:
    """Write an anipose project with a folder for each session, labeled in a DeepLabCut project beside it."""
    labels = write_deeplabcut(
        folder / "labels", project, name="{session}-cam{view}", with_videos=False, formats=("h5",)
    )
    for session in dict.fromkeys(project.sessions):
        raw, calibration = folder / session / "videos-raw", folder / session / "calibration"
        raw.mkdir(parents=True)
        calibration.mkdir()
        shutil.copyfile(project.root / "calibrations" / f"{session}.toml", calibration / "calibration.toml")
        for view in project.view_names:
            source = video_of(project, session, view)
            shutil.copyfile(source, raw / f"{session}-cam{view}{source.suffix}")
    config = {"project": "tiny", "model_folder": str(labels), "triangulation": {"cam_regex": "-cam([a-z0-9_]+)$"}}
    (folder / "config.toml").write_text(tomli_w.dumps(config))
    return folder


def sleap_labels(project: Project, *, views: Sequence[int] | None = None, rows: dict[int, Sequence[int]] | None = None):
    """Make labels of sleap-io on the project's videos; occluded points have coordinates but are not visible."""
    import sleap_io

    skeleton = sleap_io.Skeleton(
        list(project.keypoint_names), edges=[(project.keypoint_names[0], project.keypoint_names[1])]
    )
    videos: dict[Path, Any] = {}
    frames = []
    for view in range(len(project.view_names)) if views is None else views:
        for row in range(len(project)) if rows is None else rows[view]:
            path = video_of(project, project.sessions[row], project.view_names[view])
            video = videos.setdefault(path, sleap_io.Video.from_filename(str(path), grayscale=False))
            instance = sleap_io.Instance.from_numpy(project.points[row, view], skeleton=skeleton)
            instance.points["visible"] = project.visibility[row, view] == 2
            number = frame_number(project.image_names[row][view])
            frames.append(sleap_io.LabeledFrame(video=video, frame_idx=number, instances=[instance]))
    return sleap_io.Labels(frames, videos=list(videos.values()), skeletons=[skeleton])


def write_coco(path: Path, project: Project) -> Path:
    """Write an annotation file of all views with sleap-io, beside links to the project's images.

    sleap-io writes only visible keypoints, so the occluded ones are added afterwards.
    """
    import sleap_io

    names = [[project.image_names[row][view] for view in range(len(project.view_names))] for row in range(len(project))]
    skeleton = sleap_io.Skeleton(list(project.keypoint_names), edges=[tuple(project.keypoint_names[:2])])
    frames, files = [], []
    for row, view in np.ndindex(len(project), len(project.view_names)):
        instance = sleap_io.Instance.from_numpy(project.points[row, view], skeleton=skeleton)
        video = sleap_io.Video.from_filename([str(project.root / str(names[row][view]))])
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=0, instances=[instance]))
        files.append(str(names[row][view]).removeprefix("labeled-data/"))
    labels = sleap_io.Labels(frames, skeletons=[skeleton])
    path.parent.mkdir(parents=True, exist_ok=True)
    sleap_io.save_coco(labels, str(path), image_filenames=files)
    document = json.loads(path.read_text())
    located = np.isfinite(project.points).all(axis=-1)
    flags = np.where(located, project.visibility, 0).reshape(len(files), -1)
    for annotation in document["annotations"]:
        row = flags[annotation["image_id"] - 1]
        annotation["keypoints"][2::3] = [int(flag) for flag in row]
    path.write_text(json.dumps(document))
    (path.parent / "images").symlink_to(project.root / "labeled-data")
    return path


def write_prediction(
    folder: Path,
    points: np.ndarray,
    likelihood: np.ndarray,
    *,
    session: str,
    view_names: Sequence[str],
    keypoint_names: Sequence[str],
    cameras: CameraGroup | None = None,
    calibration: Path | None = None,
    videos: Path = Path("gone"),
) -> Path:
    """Write the files of `mvtrain predict` for a recording, with the functions of the command.

    Args:
        folder: Folder to write into.
        points: (T, V, K, 2) predictions in full-image px.
        likelihood: (T, V, K) likelihoods.
        session: Name of the recording.
        view_names: V names of the views.
        keypoint_names: K names of the keypoints.
        cameras: Cameras of the recording; None: no 3D.
        calibration: File of the cameras.
        videos: Folder of the videos; it need not exist.
    """
    views = []
    for view, name in enumerate(view_names):
        rows = PredictionRows(index=range(len(points)), points=points[:, view], likelihood=likelihood[:, view])
        write_predictions(folder / f"{session}_{name}.csv", keypoint_names, [rows])
        views.append({"name": name, "video": str(videos / f"{session}_{name}.mp4"), "frames": len(points)})
    document: dict[str, Any] = {"session": session, "frames": len(points), "views": views}
    if cameras is not None:
        observed = Observations(points=points, weights=likelihood)
        found = to_3d(observed, cameras, estimate_noise(observed, cameras))
        write_points_3d(folder / f"{session}_3d.csv", keypoint_names, [(list(map(str, range(len(points)))), found)])
        document["calibration"] = {"file": str(calibration)}
    (folder / f"{session}_prediction.json").write_text(json.dumps(document))
    return folder
