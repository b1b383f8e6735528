"""Builds a four-camera project from the demo inside the PyPI package pose2sim (BSD-3-Clause).

    uv run python examples/human4/make_project.py data/human4

The wheel holds four synchronized videos, pictures of a chessboard, a calibration, and what the detector OpenPose found
in every frame. Its detections become labels; frames become crops around the subject. README.md says more.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from email.parser import HeaderParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from mvaug.warp import warp_image
from mvgeom import CameraGroup, affine, boxes
from mvgeom.tables import write_labeled_boxes, write_video_boxes
from mvtrain.predict.video import open_video, read_frames

VERSION = "0.8.4"
"""The last version of pose2sim whose wheel holds detections; later ones want a detector to be run."""

DEMO = "Pose2Sim/S00_Demo_BatchSession"
TRIAL = f"{DEMO}/S00_P00_SingleParticipant/S00_P00_T01_BalancingTrial"
SESSION = "balancing"
VIEWS = ("cam01", "cam02", "cam03", "cam04")
NUM_BOARDS = 7
CONFIGS = ("config.yaml", "short.yaml")

BODY_25B = (
    *("Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist", "RWrist"),
    *("LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle", "Neck", "Head"),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
"""What OpenPose's network of that name finds, in its order."""

BLURRED = ("LEye", "REye", "LEar", "REar")
"""Left out, since faces are blurred in the videos."""

KEYPOINTS = {name: place for place, name in enumerate(BODY_25B) if name not in BLURRED}
"""The project's keypoints, and their places in `BODY_25B`."""

MIN_CONFIDENCE = 0.4
CROP_SIZE = (320, 320)
MARGIN = 0.15
"""Of the subject's extent, left free around it on every side of a crop."""
BOX_SMOOTHING = 3.0
"""Frames; a crop whose border jumps with every uncertain toe would jump with it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: a mistake is one line on standard error and exit status 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="project folder to write; must not exist")
    parser.add_argument("--wheel", type=Path, help=f"wheel of pose2sim {VERSION}; downloaded with pip if left out")
    options = parser.parse_args(arguments)
    try:
        make_project(options.out, options.wheel)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    print(f"wrote {options.out}: {len(VIEWS)} views; look at it with: mvtrain check {options.out}/config.yaml")


def make_project(out: Path, wheel: Path | None = None) -> None:
    """Write the project; its folder appears when it is complete.

    Args:
        out: folder to write, which must not exist; missing parents are made.
        wheel: of pose2sim; None downloads it.

    Raises:
        ValueError: `out` exists, or the wheel cannot be had, is another one, or lacks something.
    """
    if out.exists():
        raise ValueError(f"{out} already exists; remove it or choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        if wheel is None:
            wheel = download_wheel(Path(scratch))
        project = Path(scratch) / "project"
        with open_wheel(wheel) as archive:
            unpack(archive, project)
            for view in VIEWS:
                write_view(project, view, read_detections(archive, view))
        for config in CONFIGS:
            shutil.copy(Path(__file__).with_name(config), project)
        project.rename(out)


def download_wheel(folder: Path) -> Path:
    """`pip download` from whatever index the user's pip is set up for.

    Raises:
        ValueError: there is no pip, or it failed; the message ends with what pip said.
    """
    elsewhere = f"get it with `pip download --no-deps pose2sim=={VERSION}` elsewhere, and give it with --wheel"
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip")]
    if pip == [None]:
        raise ValueError(f"there is no pip to download pose2sim with; {elsewhere}")
    requirement = ["--no-deps", "--only-binary", ":all:", f"pose2sim=={VERSION}"]
    command = [*pip, "download", "--quiet", "--disable-pip-version-check", *requirement, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ValueError(f"pip cannot download pose2sim {VERSION} (no network?); {elsewhere}. pip says: {said[-1]}")
    return next(folder.glob("*.whl"))


def open_wheel(path: Path) -> zipfile.ZipFile:
    """The wheel as an archive, after a look at what it says it is.

    Raises:
        ValueError: no such file, no wheel, another package, another version.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no wheel, or its download was cut off: {error}") from error
    about = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    if len(about) != 1:
        raise ValueError(f"{path} is no wheel: it has no .dist-info/METADATA")
    fields = HeaderParser().parsestr(archive.read(about[0]).decode())
    if str(fields["Name"]).lower() != "pose2sim" or fields["Version"] != VERSION:
        raise ValueError(
            f"{path} is {fields['Name']} {fields['Version']}, but the detections are only in pose2sim {VERSION}: "
            f"pip download --no-deps pose2sim=={VERSION}"
        )
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """One file of the wheel.

    Raises:
        ValueError: it is not there, or damaged.
    """
    try:
        return archive.read(name)
    except KeyError as error:
        raise ValueError(f"{archive.filename} lacks {name}; download pose2sim {VERSION} anew") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive.filename}: {name} is damaged; download pose2sim {VERSION} anew") from error


def unpack(archive: zipfile.ZipFile, project: Path) -> None:
    """What is taken as it is: videos, pictures of the board and of the scene, the licence; and the calibration."""
    copies = {f"pose2sim-{VERSION}.dist-info/LICENSE": "LICENSE"}
    for view in VIEWS:
        copies[f"{TRIAL}/videos/{view}.mp4"] = f"videos/{SESSION}_{view}.mp4"
        copies[f"{DEMO}/S00_Calibration/extrinsics/ext_{view}_img/{view}_ext.png"] = f"scene/{view}.png"
        for number in range(1, NUM_BOARDS + 1):
            picture = f"{view}_{number:02d}_int.jpg"
            copies[f"{DEMO}/S00_Calibration/intrinsics/int_{view}_img/{picture}"] = f"boards/{picture}"
    for source, target in copies.items():
        (project / target).parent.mkdir(parents=True, exist_ok=True)
        (project / target).write_bytes(read_member(archive, source))
    qualisys = project / "qualisys.qca.txt"
    qualisys.write_bytes(read_member(archive, f"{DEMO}/S00_Calibration/Calib.qca.txt"))
    cameras = CameraGroup.load(qualisys)
    # Pose2Sim writes cam_01 and millimetres; from here on it is cam01, as in the videos' names, and metres.
    names = tuple(name.replace("_", "") for name in cameras.names)
    cameras.replace(names=names, translation=cameras.translation * 0.001).select(VIEWS).save(
        project / "calibration.toml"
    )


def read_detections(archive: zipfile.ZipFile, view: str) -> np.ndarray:
    """The subject's keypoints in every frame, from OpenPose's files, one per frame in the order of their names.

    Returns:
        (T, K, 2) frame px; NaN below `MIN_CONFIDENCE`.

    Raises:
        ValueError: no files, or one that is no output of OpenPose.
    """
    folder = f"{TRIAL}/pose/{view}_json/"
    files = sorted(name for name in archive.namelist() if name.startswith(folder) and name.endswith(".json"))
    if not files:
        raise ValueError(f"{archive.filename} lacks the detections {folder}*.json; download pose2sim {VERSION} anew")
    return np.stack([_subject(read_member(archive, name), f"{archive.filename}: {name}") for name in files])


def _subject(text: bytes, place: str) -> np.ndarray:
    """(K, 2) of the largest person: a bystander stands farther off."""
    try:
        people = json.loads(text)["people"]
        found = np.array([person["pose_keypoints_2d"] for person in people], dtype=np.float64).reshape(-1, 25, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{place} is no output of OpenPose with 25 keypoints a person: {error!r}") from error
    found = found[:, list(KEYPOINTS.values())]
    points = np.where(found[..., 2:] >= MIN_CONFIDENCE, found[..., :2], np.nan)
    if np.isnan(points).all():
        return np.full((len(KEYPOINTS), 2), np.nan)
    area = np.prod(np.asarray(boxes.from_keypoints(points, margin=0.0))[:, 2:], axis=1)
    return np.asarray(points[np.nanargmax(area)])


def write_view(project: Path, view: str, points: np.ndarray) -> None:
    """Crops, boxes and labels of one view.

    Raises:
        ValueError: the video has another number of frames than there are detections, or a frame that is damaged.
    """
    video = open_video(project / "videos" / f"{SESSION}_{view}.mp4")
    frames = list(read_frames(video))
    if len(frames) != len(points):
        raise ValueError(f"the video of {view} has {len(frames)} frames, but there are detections of {len(points)}")
    around = np.asarray(boxes.from_keypoints(points, margin=MARGIN, aspect=1.0))
    around = np.round(boxes.smooth(around, sigma=BOX_SMOOTHING))
    to_crop = np.asarray(affine.from_box(around, CROP_SIZE))
    images = [f"labeled-data/{SESSION}_{view}/img{number:08d}.jpg" for number in range(len(frames))]
    (project / images[0]).parent.mkdir(parents=True)
    for name, frame, matrix in zip(images, frames, to_crop, strict=True):
        if frame is None:
            raise ValueError(f"the video of {view} cannot be decoded at {name}; download pose2sim {VERSION} anew")
        cv2.imwrite(str(project / name), warp_image(frame, matrix, CROP_SIZE), [cv2.IMWRITE_JPEG_QUALITY, 95])
    write_labeled_boxes(project / f"bboxes_{view}.csv", images, around)
    write_video_boxes(project / "videos" / f"{SESSION}_{view}_bbox.csv", around)
    write_labels(project / f"CollectedData_{view}.csv", images, np.asarray(affine.apply(to_crop, points)))


def write_labels(path: Path, images: Sequence[str], points: np.ndarray) -> None:
    """A label table (three header rows; x, y per keypoint) of points (T, K, 2) in px of the crops; NaN leaves empty."""
    columns = pd.MultiIndex.from_product([["openpose"], KEYPOINTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    table = pd.DataFrame(points.reshape(len(points), -1), index=list(images), columns=columns)
    table.to_csv(path, float_format="%.3f", lineterminator="\n")


if __name__ == "__main__":
    main()
