"""Build a four-camera project from the demo inside the PyPI package pose2sim (BSD-3-Clause).

    uv run python examples/human4/make_project.py data/human4

The wheel has four synchronized videos, images of a chessboard, a calibration, and the detections of OpenPose in every
frame. Detections become labels; images become crops around the subject. See README.md.
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
import zlib
from collections.abc import Sequence
from email.parser import HeaderParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from mvaug.warp import warp_image
from mvgeom import CameraGroup, affine, boxes
from mvgeom.errors import InputError
from mvgeom.tables import write_labeled_boxes, write_video_boxes
from mvgeom.videos import open_video, read_frames

VERSION = "0.8.4"
"""Last version of pose2sim whose wheel has detections; with later ones a detector has to be run."""

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
"""Keypoints of OpenPose's network of that name, in its order."""

BLURRED = ("LEye", "REye", "LEar", "REar")
"""Keypoints that are left out, because faces are blurred in the videos."""

KEYPOINTS = {name: place for place, name in enumerate(BODY_25B) if name not in BLURRED}
"""The project's keypoints, and their places in `BODY_25B`."""

MIN_CONFIDENCE = 0.4
CROP_SIZE = (320, 320)
MARGIN = 0.15
"""Margin on every side of a crop, as a fraction of the subject's extent."""
BOX_SMOOTHING = 3.0
"""Standard deviation in frames: crops do not follow every uncertain keypoint."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a user's error is one line on standard error and exit status 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="project folder to write; must not exist")
    parser.add_argument("--wheel", type=Path, help=f"wheel of pose2sim {VERSION}; downloaded with pip if left out")
    options = parser.parse_args(arguments)
    try:
        make_project(options.out, options.wheel)
    except (InputError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    print(f"wrote {options.out}: {len(VIEWS)} views. Check it with: mvtrain check {options.out}/config.yaml")


def make_project(out: Path, wheel: Path | None = None) -> None:
    """Write the project; its folder appears when it is complete.

    Args:
        out: Folder to write, which must not exist; missing parents are made.
        wheel: Path of the wheel of pose2sim; None downloads it.

    Raises:
        InputError: `out` exists, or the wheel cannot be downloaded, is another one, or is incomplete.
    """
    if out.exists():
        raise InputError(f"{out} already exists. Remove it, or choose another folder", code="occupied-folder", path=out)
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
    """Download the wheel with pip, from the index that the user's pip is configured for.

    Raises:
        InputError: There is no pip (`missing-library`), or it failed (`failed-download`); the message ends with pip's.
    """
    elsewhere = f"Get it with `pip download --no-deps pose2sim=={VERSION}` elsewhere, and give it with --wheel"
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip")]
    if pip == [None]:
        raise InputError(
            f"there is no pip to download pose2sim with. {elsewhere}", code="missing-library", library="pip"
        )
    requirement = ["--no-deps", "--only-binary", ":all:", f"pose2sim=={VERSION}"]
    command = [*pip, "download", "--quiet", "--disable-pip-version-check", *requirement, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise InputError(
            f"pip cannot download pose2sim {VERSION} (no network?). {elsewhere}. pip says: {said[-1]}",
            code="failed-download",
            version=VERSION,
        )
    return next(folder.glob("*.whl"))


def open_wheel(path: Path) -> zipfile.ZipFile:
    """Open the wheel as an archive, and check its name and version.

    Raises:
        InputError: The file is missing (`missing-file`), not a wheel (`damaged-file`), or of another package or version
            (`unknown-version`).
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", code="missing-file", path=path) from error
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{path} is not a wheel, or its download was cut off: {error}", code="damaged-file", path=path
        ) from error
    about = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    if len(about) != 1:
        raise InputError(f"{path} is not a wheel: it has no .dist-info/METADATA", code="damaged-file", path=path)
    fields = HeaderParser().parsestr(archive.read(about[0]).decode())
    if str(fields["Name"]).lower() != "pose2sim" or fields["Version"] != VERSION:
        raise InputError(
            f"{path} is {fields['Name']} {fields['Version']}, but the detections are only in pose2sim {VERSION}: "
            f"pip download --no-deps pose2sim=={VERSION}",
            code="unknown-version",
            path=path,
            found=(fields["Name"], fields["Version"]),
            expected=("pose2sim", VERSION),
        )
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read one file of the wheel.

    Raises:
        InputError: The file is missing (`missing-file`) or damaged (`damaged-file`); its name is the fact `member`.
    """
    try:
        return archive.read(name)
    except KeyError as error:
        raise InputError(
            f"{archive.filename} has no {name}. Download pose2sim {VERSION} again",
            code="missing-file",
            path=archive.filename,
            member=name,
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(
            f"{archive.filename}: {name} is damaged. Download pose2sim {VERSION} again",
            code="damaged-file",
            path=archive.filename,
            member=name,
        ) from error


def unpack(archive: zipfile.ZipFile, project: Path) -> None:
    """Write the files that need no change, videos, images of board and scene, license, and the calibration."""
    copies = {f"pose2sim-{VERSION}.dist-info/LICENSE": "LICENSE"}
    for view in VIEWS:
        copies[f"{TRIAL}/videos/{view}.mp4"] = f"videos/{SESSION}_{view}.mp4"
        copies[f"{DEMO}/S00_Calibration/extrinsics/ext_{view}_img/{view}_ext.png"] = f"scene/{view}.png"
        for number in range(1, NUM_BOARDS + 1):
            image = f"{view}_{number:02d}_int.jpg"
            copies[f"{DEMO}/S00_Calibration/intrinsics/int_{view}_img/{image}"] = f"boards/{image}"
    for source, target in copies.items():
        (project / target).parent.mkdir(parents=True, exist_ok=True)
        (project / target).write_bytes(read_member(archive, source))
    qualisys = project / "qualisys.qca.txt"
    qualisys.write_bytes(read_member(archive, f"{DEMO}/S00_Calibration/Calib.qca.txt"))
    cameras = CameraGroup.load(qualisys)
    # Pose2Sim writes cam_01 and millimeters; the project has cam01, as in the videos' names, and meters.
    names = tuple(name.replace("_", "") for name in cameras.names)
    cameras.replace(names=names, translation=cameras.translation * 0.001).select(VIEWS).save(
        project / "calibration.toml"
    )


def read_detections(archive: zipfile.ZipFile, view: str) -> np.ndarray:
    """Read the subject's keypoints in every frame, from OpenPose's files, one per frame in the order of their names.

    Returns:
        (T, K, 2) full-image px; NaN below `MIN_CONFIDENCE`.

    Raises:
        InputError: There are no files (`missing-file`), or one is not an output of OpenPose (`unsupported-file`).
    """
    folder = f"{TRIAL}/pose/{view}_json/"
    files = sorted(name for name in archive.namelist() if name.startswith(folder) and name.endswith(".json"))
    if not files:
        raise InputError(
            f"{archive.filename} has no detections {folder}*.json. Download pose2sim {VERSION} again",
            code="missing-file",
            path=archive.filename,
            member=folder,
        )
    return np.stack([_subject(read_member(archive, name), f"{archive.filename}: {name}") for name in files])


def _subject(text: bytes, place: str) -> np.ndarray:
    """Return the keypoints (K, 2) of the largest person: bystanders are farther away."""
    try:
        people = json.loads(text)["people"]
        found = np.array([person["pose_keypoints_2d"] for person in people], dtype=np.float64).reshape(-1, 25, 3)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{place} is not an output of OpenPose with 25 keypoints per person: {error!r}",
            code="unsupported-file",
            member=place.rpartition(": ")[2],
        ) from error
    found = found[:, list(KEYPOINTS.values())]
    points = np.where(found[..., 2:] >= MIN_CONFIDENCE, found[..., :2], np.nan)
    if np.isnan(points).all():
        return np.full((len(KEYPOINTS), 2), np.nan)
    area = np.prod(np.asarray(boxes.from_keypoints(points, margin=0.0))[:, 2:], axis=1)
    return np.asarray(points[np.nanargmax(area)])


def write_view(project: Path, view: str, points: np.ndarray) -> None:
    """Write crops, boxes and labels of one view.

    Raises:
        InputError: The video has another number of frames than there are detections (`wrong-count`), or a damaged frame
            (`damaged-file`).
    """
    video = open_video(project / "videos" / f"{SESSION}_{view}.mp4")
    frames = list(read_frames(video))
    if len(frames) != len(points):
        raise InputError(
            f"the video of {view} has {len(frames)} frames, but there are detections of {len(points)}",
            code="wrong-count",
            view=view,
            found=len(frames),
            expected=len(points),
        )
    around = np.asarray(boxes.from_keypoints(points, margin=MARGIN, aspect=1.0))
    around = np.round(boxes.smooth(around, sigma=BOX_SMOOTHING))
    to_crop = np.asarray(affine.from_box(around, CROP_SIZE))
    images = [f"labeled-data/{SESSION}_{view}/img{number:08d}.jpg" for number in range(len(frames))]
    (project / images[0]).parent.mkdir(parents=True)
    for name, frame, matrix in zip(images, frames, to_crop, strict=True):
        if frame is None:
            raise InputError(
                f"the video of {view} cannot be decoded at {name}. Download pose2sim {VERSION} again",
                code="damaged-file",
                view=view,
            )
        cv2.imwrite(str(project / name), warp_image(frame, matrix, CROP_SIZE), [cv2.IMWRITE_JPEG_QUALITY, 95])
    write_labeled_boxes(project / f"bboxes_{view}.csv", images, around)
    write_video_boxes(project / "videos" / f"{SESSION}_{view}_bbox.csv", around)
    write_labels(project / f"CollectedData_{view}.csv", images, np.asarray(affine.apply(to_crop, points)))


def write_labels(path: Path, images: Sequence[str], points: np.ndarray) -> None:
    """Write a label table (three header rows; x, y per keypoint) of points (T, K, 2) in crop px; NaN leaves empty."""
    columns = pd.MultiIndex.from_product([["openpose"], KEYPOINTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    table = pd.DataFrame(points.reshape(len(points), -1), index=list(images), columns=columns)
    table.to_csv(path, float_format="%.3f", lineterminator="\n")


if __name__ == "__main__":
    main()
