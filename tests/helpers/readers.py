"""Every reader of files from elsewhere with an example file, for tests that damage the file.

A reader that is missing here fails `tests/test_damaged_files.py`, which walks the registries of readers and the modules
that parse files.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import yaml
from lightning_fabric import Fabric

from helpers.foreign import write_prediction
from helpers.foreign_cameras import FOREIGN, foreign_rig
from helpers.foreign_rows import KEYPOINTS, MAKERS, row, write_image
from helpers.keypoint_files import WRITERS
from helpers.rigs import ring
from helpers.runs import make_run
from helpers.tiny import write_tiny_config
from helpers.videos import encode, moving_dot, write_video
from helpers.weights import read_backbone, read_state_file, set_checksum, write_backbone, write_state
from mvgeom import CameraGroup, Noise, compute_kinematics, formats
from mvgeom.calibration import read_board
from mvgeom.calibration.sources import open_source
from mvgeom.calibration.sources import read_frames as read_boards
from mvgeom.clock_files import load_clocks, save_clocks
from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.path_kinds import kind_of_path
from mvgeom.tables import (
    COORDS_3D,
    read_keypoints,
    read_kinematics,
    read_labeled_boxes,
    read_positions,
    read_video_boxes,
    write_kinematics,
)
from mvgeom.videos import match_videos, open_video, read_frames, read_times
from mvtrain.config import load_config
from mvtrain.exchange.deeplabcut_tables import read_animals
from mvtrain.exchange.foreign_labels import ReadOptions, Source, merge
from mvtrain.exchange.from_deeplabcut import compare_with_h5
from mvtrain.exchange.run_import import READERS as IMPORTS
from mvtrain.label.frame_list import read_frame_list
from mvtrain.label.journal import JOURNAL_FOLDER, Journal
from mvtrain.label.open_tables import TableText
from mvtrain.label.page_images import page_image
from mvtrain.model.error_bars import ErrorBars, load_error_bars, save_error_bars
from mvtrain.model.run_folder import load_run
from mvtrain.predict.outputs import is_done
from mvtrain.predict.recording_tables import RecordingTables
from mvtrain.predict.recordings import EVIDENCE, Session
from mvtrain.predict.saved_predictions import find_predictions, load_prediction_cameras, load_predictions
from mvtrain.predict.smooth_predictions import _made_with
from mvtrain.predict.smoothed_tables import SmoothedBlocks
from mvtrain.project.calibrations import find_calibrations
from mvtrain.project.frame_rows import JOURNAL, read_frame_rows, recover_project
from mvtrain.project.images import read_header, read_image
from mvtrain.project.label_tables import read_labels
from mvtrain.project.labels_3d import TRUTH_FILE, read_truth
from mvtrain.project.listed_frames import read_listed_frames
from mvtrain.project.names import DEFAULT_PATTERN, pattern_rule
from mvtrain.project.splits import find_kept_split
from mvtrain.report.learning_curves import learning_curves_section, read_metrics, read_run_info
from mvtrain.runtime.folders import ENSEMBLE_INFO, RUN_INFO, SPLIT_FILE, EnsembleMember, find_runs, write_ensemble
from mvtrain.start.keypoint_list import read_skeleton
from mvtrain.start.session_choice import ChosenFrame, add_to_table
from mvtrain.training.metrics_log import MetricsLog, draw_learning_curves
from mvtrain.training.run_info import add_run_info


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader with an example.

    Attributes:
        make: Function of an empty folder that writes the example and returns the file or folder to damage.
        read: Function of the path that `make` returned.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


RIG = ring(3).replace(names=("top", "left", "right"))
PLAIN_RIG = RIG.replace(distortion=np.zeros((3, 0)))

SAVED = {
    "anipose": "rig.toml",
    "pose2sim": "rig.toml",
    "json": "rig.json",
    "qualisys": "rig.qca.txt",
    "opencv": "rig.yml",
    "easymocap": "rig",
    "colmap": "rig",
    "jarvis": "rig",
    "dannce": "rig.mat",
    "dlt": "rig.csv",
}
"""Names of files in the formats that are written."""


def _save(name: str, file: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rig = PLAIN_RIG if name == "dlt" else RIG
        rig = rig.replace(distortion=rig.distortion[:, :4]) if name == "pose2sim" else rig
        formats.save(rig, folder / file, file_format=name)
        return folder / file

    return make


def _write_foreign(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        foreign = FOREIGN[name]
        cameras = foreign_rig(foreign.names, foreign.num_coefficients, fisheye=foreign.fisheye)
        foreign.write(folder / foreign.file, cameras)
        return folder / foreign.file

    return make


def _clocks(folder: Path) -> Path:
    nothing = np.zeros(2)
    clocks = Clocks(
        names=("top", "left"),
        reference="top",
        frame_rate=25.0,
        offset=np.array([0.0, 0.25]),
        drift=nothing,
        offset_std=nothing,
        drift_std=nothing,
    )
    path = folder / "rig.sync.json"
    save_clocks(clocks, path)
    return path


def _load(name: str) -> Callable[[Path], Any]:
    sizes = {"dannce", "dlt", "openpose"}

    def read(path: Path) -> Any:
        kind_of_path(path)
        return formats.load(path, file_format=name, **({"sizes": (200, 200)} if name in sizes else {}))

    return read


def _write_opencv(suffix: str, **entries: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        storage = cv2.FileStorage(str(folder / f"rig{suffix}"), cv2.FILE_STORAGE_WRITE)
        for key, value in entries.items():
            storage.write(key, value)
        storage.release()
        return folder / f"rig{suffix}"

    return make


_ONE_CAMERA: dict[str, Any] = {
    "calibration_time": "Sat 01 Jan",
    "image_width": 200,
    "image_height": 200,
    "camera_matrix": np.array(RIG.matrix[0]),
    "distortion_coefficients": np.array(RIG.distortion[0]),
}


def _keypoints(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rng = np.random.default_rng(0)
        points, likelihood = rng.uniform(0, 100, (6, 4, 2)), rng.uniform(0, 1, (6, 4))
        return WRITERS[name][1](folder / "mouse_top", points, likelihood)

    return make


IMAGES = ("png", "jpg", "tiff", "bmp", "webp", "pgm")
RARE_IMAGES = ("jp2", "gif", "avif", "ras")
"""Formats that OpenCV decodes although the file is called `.png`."""

ENCODED = {
    "H.264": ("s_top.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
    "HEVC": ("s_top.mkv", "-c:v", "libx265", "-x265-params", "log-level=error:pools=1"),
    "VP9": ("s_top.webm", "-c:v", "libvpx-vp9"),
    "MPEG-2": ("s_top.ts", "-c:v", "mpeg2video"),
}
"""Videos that OpenCV does not write: name of the file, and ffmpeg's arguments."""

LABELS = "scorer,me,me,me,me\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"
ROWS = "labeled-data/s_top/img1.png,1.5,2.25,,\nlabeled-data/s_top/img2.png,3.5,4,5,6.125\n"


def _text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    return make


def _read_calibrations(path: Path) -> Any:
    (path.parent / "a.toml").touch()
    return find_calibrations(path.parent, [("s", "img1.png")], path.name)[0]


def _found(path: Path) -> Any:
    names = (("labeled-data/s_top/img1.png",), ("labeled-data/s_top/img2.png",))
    return SimpleNamespace(
        root=path.parent, keypoint_names=("nose",), image_names=names, view_names=("top",), sessions=("s", "s")
    )


def _import(name: str) -> Reader:
    def make(folder: Path) -> Path:
        names = [f"mouse_{view}/img{frame}.png" for frame in (1, 2) for view in ("top", "side")]
        for number, each in enumerate(names):
            write_image(folder / "media" / each, 50 + number)
        path = MAKERS[name](folder / "source", [row(each, number) for number, each in enumerate(names)])
        return folder / "source" if name == "anipose" else path

    def read(path: Path) -> Any:
        rule = pattern_rule(DEFAULT_PATTERN)
        root = path if path.parent.name != "source" else path.parent
        options = ReadOptions(rule=rule, media=root.parent / "media", min_likelihood=0.5)
        source = path / "anipose" if name == "anipose" else path
        return merge(IMPORTS[name]([Source(path=source)], options))

    return Reader(make=make, read=read)


def _slp_in_video(folder: Path) -> Path:
    import sleap_io

    video = write_video(folder / "mouse_top.avi", [moving_dot(number) for number in range(4)])
    skeleton = sleap_io.Skeleton(list(KEYPOINTS), edges=[KEYPOINTS])
    opened = sleap_io.Video.from_filename(str(video), grayscale=False)
    instances = [sleap_io.Instance.from_numpy(np.full((2, 2), 3.0 + n), skeleton=skeleton) for n in range(2)]
    frames = [sleap_io.LabeledFrame(video=opened, frame_idx=n, instances=[each]) for n, each in enumerate(instances)]
    labels = sleap_io.Labels(frames, skeletons=[skeleton], videos=[opened])
    sleap_io.save_slp(labels, str(folder / "labels.pkg.slp"), embed=True, verbose=False)
    return folder / "labels.pkg.slp"


def _read_slp(path: Path) -> Any:
    labels = merge(IMPORTS["sleap"]([Source(path=path)], ReadOptions(rule=pattern_rule(DEFAULT_PATTERN))))
    for image in labels.images:
        if hasattr(image.image, "read"):
            image.image.read()
    return labels


def _deeplabcut_h5(folder: Path) -> Path:
    import pandas as pd

    columns = pd.MultiIndex.from_product([["me"], KEYPOINTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    rows = ["labeled-data/mouse_top/img1.png", "labeled-data/mouse_top/img2.png"]
    table = pd.DataFrame(np.arange(8.0).reshape(2, 4), index=rows, columns=columns)
    table.to_hdf(folder / "CollectedData_me.h5", key="df_with_missing", mode="w")
    return folder / "CollectedData_me.h5"


def _deeplabcut_twins(folder: Path) -> Path:
    path = _deeplabcut_h5(folder)
    path.with_suffix(".csv").write_text(LABELS + ROWS)
    return path


def _deeplabcut_project(folder: Path) -> Path:
    tables = folder / "dlc" / "labeled-data" / "mouse_top"
    MAKERS["deeplabcut"](tables, [row("labeled-data/mouse_top/img1.png")])
    document = {
        "Task": "tiny",
        "scorer": "me",
        "bodyparts": list(KEYPOINTS),
        "skeleton": [list(KEYPOINTS)],
        "video_sets": {"C:\\elsewhere\\mouse_top.avi": {"crop": "0, 64, 0, 64"}},
    }
    (folder / "dlc" / "config.yaml").write_text(yaml.safe_dump(document))
    return folder / "dlc"


def _config(folder: Path) -> Path:
    path = write_tiny_config(folder / "config.yaml", folder / "project")
    path.write_text(path.read_text() + "litpose: {a: '${data.data_dir}'}\n")
    return path


METRICS = "epoch,step,loss,val_loss,learning_rate_head,mask_ratio"


@functools.cache
def _whole_run() -> tempfile.TemporaryDirectory[str]:
    """A run that is made once and copied; removed with the process."""
    folder = tempfile.TemporaryDirectory()
    make_run(Path(folder.name) / "run")
    return folder


def _run(part: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run = Path(shutil.copytree(Path(_whole_run().name) / "run", folder / "run"))
        checkpoint = run / "checkpoints" / "best"
        checksum = yaml.safe_load((checkpoint / "model.yaml").read_text())["sha256"]
        fitted = {"share": 0.1, "low_power": 1.0, "high_power": 1.0, "offset": 0.0, "lowest": 0.1, "highest": 0.9}
        confidence = checkpoint / f"confidence-{checksum[:12]}.yaml"
        confidence.write_text(yaml.safe_dump({**fitted, "num_points": 100}))
        line = "0,1,0.5,,1e-3,0.1"
        (run / "metrics.csv").write_text("\n".join([METRICS, line, line.replace(",,", ",0.7,"), ""]))
        entry = {
            "started": "2026-01-01",
            "packages": {"mvtrain": "0.1.0"},
            "hardware": {"cores": 2},
            "seeds": {"data": 0},
        }
        (run / "run.yaml").write_text(yaml.safe_dump([entry]))
        shutil.rmtree(run / "checkpoints" / "last")
        if part == "weights":
            return next(checkpoint.glob("*.safetensors"))
        return confidence if part == "confidence" else run / part

    return make


def _load_weights(path: Path) -> Any:
    set_checksum(path)
    return load_run(_run_of(path))


def _run_of(path: Path) -> Path:
    return next(each for each in path.parents if each.name == "run")


def _add_run_info(path: Path) -> Any:
    fabric = Fabric(accelerator="cpu", devices=1)
    return add_run_info(path.parent, load_config(path.parent / "config.yaml"), fabric, resume=True)


def _read_metrics(path: Path) -> Any:
    return learning_curves_section(read_metrics(path.parent))


def _go_on_with_log(path: Path) -> Any:
    columns = tuple(METRICS.split(","))
    MetricsLog(path.parent, columns, resume_at=len(METRICS) + 1).close()
    draw_learning_curves(path.parent)


def _prediction(folder: Path) -> Path:
    points = np.random.default_rng(0).uniform(20, 180, (5, 3, 2, 2))
    RIG.save(folder / "calibration.toml")
    return write_prediction(
        folder / "predicted",
        points,
        np.full(points.shape[:-1], 0.9),
        session="mouse",
        view_names=RIG.names,
        keypoint_names=KEYPOINTS,
        cameras=RIG,
        calibration=folder / "calibration.toml",
    )


def _read_prediction(path: Path) -> Any:
    (files,) = find_predictions(path)[:1]
    return load_predictions(files), load_prediction_cameras(files, None), files.frame_rate()


def _ensemble_prediction(folder: Path) -> Path:
    """An ensemble's predictions with a network's own, what every view shows by itself, and kinematics."""
    predicted = _prediction(folder)
    shutil.copytree(predicted, predicted / "networks" / "seed0")
    (predicted / EVIDENCE).mkdir()
    for view in RIG.names:
        shutil.copy(predicted / f"mouse_{view}.csv", predicted / EVIDENCE)
    summary = predicted / "mouse_prediction.json"
    facts: dict[str, Any] = {"networks": [{"run": "seed0", "folder": "networks/seed0"}], "smoothed": {}}
    summary.write_text(json.dumps(json.loads(summary.read_text()) | facts | {"skeleton": [list(KEYPOINTS)]}))
    _kinematics(predicted / "mouse_kinematics.csv")
    return predicted


def _kinematics(path: Path) -> Path:
    moving = np.random.default_rng(0).normal(size=(2, 5, 2, 3))
    spread = np.full((5, 2, 3, 3), 1e-3)
    found = compute_kinematics(moving[0], spread, moving[1], spread, bones=[(0, 1)])
    rows = [str(row) for row in range(5)]
    write_kinematics(path, KEYPOINTS, [":".join(KEYPOINTS)], [], [(rows, found)])
    return path


def _read_blocks(path: Path) -> Any:
    (files,) = find_predictions(path)[:1]
    (path.parent / "copies").mkdir()
    tables = RecordingTables([files, *files.networks], path.parent / "copies", 0.05)
    return load_predictions(files), tables.read(0, len(tables))


def _summary(folder: Path) -> Path:
    path = _prediction(folder) / "mouse_prediction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"made_with": {"calibration": None}}))
    return path


def _read_summary(path: Path) -> Any:
    session = Session(name="mouse", videos=tuple(Path(f"mouse_{view}.mp4") for view in RIG.names))
    return is_done(session, path.parent, {"calibration": None}), _made_with(path)


def _blocks(folder: Path) -> Path:
    noise = Noise(
        scale=np.ones(3), floor=np.ones(3), keypoint=np.ones(2), share=0.5, decay=0.5, motion=np.ones(2), outliers=0.01
    )
    SmoothedBlocks(folder, {}).save_noise(noise)
    return folder / "noise.npz"


def _ensemble(folder: Path) -> Path:
    write_ensemble(folder, {f"seed{seed}": EnsembleMember(seed=seed, done=True) for seed in range(2)})
    for seed in range(2):
        (folder / f"seed{seed}").mkdir()
        (folder / f"seed{seed}" / RUN_INFO).touch()
        (folder / f"seed{seed}" / "config.yaml").touch()
    return folder / ENSEMBLE_INFO


def _kept_split(part: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / RUN_INFO).touch()
        (folder / "config.yaml").write_text("data:\n  data_dir: /gone\n")
        (folder / SPLIT_FILE).write_text("image,set\nlabeled-data/s/img1.png,train\nlabeled-data/s/img2.png,test\n")
        return folder / part

    return make


def _read_kept_split(path: Path) -> Any:
    checkpoint = path.parent / "checkpoints" / "best"
    config = SimpleNamespace(data=SimpleNamespace(split_from=None), model=SimpleNamespace(checkpoint=checkpoint))
    return find_kept_split(_found(path), config)


def _video(name: str, codec: str) -> Callable[[Path], Path]:
    return lambda folder: write_video(folder / name, [moving_dot(number) for number in range(8)], codec=codec)


def _encoded(name: str, *codec: str) -> Callable[[Path], Path]:
    return lambda folder: encode([folder / name], ["null"], *codec, count=8)[0]


def _read_video(path: Path) -> Any:
    video = open_video(path)
    times = read_times(video)
    match_videos([video, video])
    return len(times), sum(1 for _ in read_frames(video))


def _image(suffix: str) -> Callable[[Path], Path]:
    """Writer of an image; decoders go by the content, so that a rare format can have any name."""

    def make(folder: Path) -> Path:
        path = folder / f"img1.{suffix if suffix in IMAGES else 'png'}"
        image = moving_dot(1)[..., 0] if suffix == "pgm" else moving_dot(1)
        success, content = cv2.imencode(f".{suffix}", image)
        assert success
        path.write_bytes(content.tobytes())
        return path

    return make


def _read_image(path: Path) -> Any:
    """Read an image by each of the readers, also where one has refused it."""
    refused: list[Exception] = []
    for read in (lambda path: list(read_boards(open_source("cam", path.parent))), read_header, read_image, page_image):
        try:
            read(path)
        except (InputError, OSError) as error:
            refused.append(error)
    if refused:
        raise refused[0]


def _label_journal(folder: Path) -> Path:
    edit = {"edit": "f", "labels": [["top", "nose", [1.0, 2.0, 2, "click"], [None, None, 0, None]]]}
    lines = [{"visible": 0}, edit, {"saved": "g"}]
    return _text(f"{JOURNAL_FOLDER}/journal.jsonl", "".join(json.dumps(line) + "\n" for line in lines))(folder)


def _frames_journal(folder: Path) -> Path:
    (folder / "CollectedData_top.csv").write_text(LABELS)
    (folder / ".new").mkdir()
    (folder / ".new" / "img1.png").write_bytes(b"image")
    entries = [
        {"file": "labeled-data/s_top/img1.png", "move": ".new/img1.png"},
        {"file": "CollectedData_top.csv", "bytes": len(LABELS), "rows": ROWS},
    ]
    return _text(JOURNAL, json.dumps(entries))(folder)


def _error_bars(folder: Path) -> Path:
    error_bars = ErrorBars(scale=1.25, std=(0.5, 0.0), factor=1.5, size=40.0, num_frames=20, num_points=60)
    path = save_error_bars(folder, CHECKSUM, error_bars)
    assert path is not None
    return path


def _predicted_3d() -> str:
    cells = [("scorer", "mvtrain"), ("bodyparts", "nose")]
    lines = [",".join([first, *[each] * len(COORDS_3D)]) for first, each in cells]
    return "\n".join([*lines, ",".join(["coords", *COORDS_3D]), "0,1.5,2,3,.5,.25,.125,0.75,2", ""])


CHECKSUM = "0123456789ab"
BOARDS = """
[[face]]
kind = "charuco"
columns = 7
rows = 5
square = 0.04
marker = 0.03
dictionary = "DICT_4X4_100"

[[face]]
kind = "marker"
marker = 0.05
dictionary = "DICT_4X4_100"
first_id = 17
position = [0.2, 0, 0.01]
rotation = [0, 180.0, 0]
"""

READERS: dict[str, Reader] = {
    **{f"calibration: {name}": Reader(make=_save(name, file), read=_load(name)) for name, file in SAVED.items()},
    **{f"calibration: {name}": Reader(make=_write_foreign(name), read=_load(name)) for name in FOREIGN},
    "calibration: opencv XML": Reader(make=_write_opencv(".xml", **_ONE_CAMERA), read=_load("opencv")),
    "calibration: opencv JSON": Reader(make=_write_opencv(".json", **_ONE_CAMERA), read=_load("opencv")),
    "calibration: any": Reader(make=_save("opencv", "rig.yml"), read=CameraGroup.load),
    **{f"keypoints: {name}": Reader(make=_keypoints(name), read=read_keypoints) for name in WRITERS},
    "board": Reader(make=_text("board.toml", BOARDS), read=read_board),
    "clocks": Reader(make=_clocks, read=load_clocks),
    "run: error bars": Reader(make=_error_bars, read=lambda path: load_error_bars(path.parent, CHECKSUM, 2)),
    "known positions": Reader(make=_text("p.csv", "name,x,y,z\na,1.5,2,3\nb,1,2.5,0\n"), read=read_positions),
    "boxes of a video": Reader(make=_text("b.csv", ",x,y,h,w\n0,1.5,2,3.5,4\n1,,,,\n"), read=read_video_boxes),
    "boxes of images": Reader(
        make=_text("b.csv", ",x,y,h,w\nlabeled-data/s_top/img1.png,1.5,2,3.5,4\n"), read=read_labeled_boxes
    ),
    "labels": Reader(make=_text("CollectedData_top.csv", LABELS + ROWS), read=read_labels),
    "labels, as text": Reader(make=_text("CollectedData_top.csv", LABELS + ROWS), read=TableText.read),
    "labels of a project": Reader(
        make=lambda folder: _text("CollectedData_top.csv", LABELS + ROWS)(folder),
        read=lambda path: read_frame_rows(
            load_config(_text("config.yaml", "data: {data_dir: ., view_names: [top]}\n")(path.parent))
        ).frames(),
    ),
    "calibrations by image": Reader(
        make=_text("camera_params.csv", ",note,file\nlabeled-data/s/img1.png,x,a.toml\n"), read=_read_calibrations
    ),
    "true points": Reader(
        make=_text(TRUTH_FILE, "scorer,a,a,a\nbodyparts,nose,nose,nose\ncoords,x,y,z\nlabeled-data/s/img1.png,1,2,3\n"),
        read=lambda path: read_truth(_found(path)),
    ),
    "listed frames": Reader(make=_text("l.csv", "session,frame,work\ns,2,1.5\ns,10,1.25\n"), read=read_listed_frames),
    "listed images": Reader(
        make=_text("l.csv", "score,image\n1.5,labeled-data/s_top/img2.png\n2,labeled-data/s_top/img1.png\n"),
        read=lambda path: read_frame_list(path, _found(path)),
    ),
    "animals of DeepLabCut": Reader(make=_text("CollectedData_me.csv", LABELS + ROWS), read=read_animals),
    **{f"import: {name}": _import(name) for name in IMPORTS},
    "import: package of SLEAP": Reader(make=_slp_in_video, read=_read_slp),
    "import: h5 of DeepLabCut": Reader(make=_deeplabcut_h5, read=_import("deeplabcut").read),
    "import: twins of DeepLabCut": Reader(
        make=_deeplabcut_twins, read=lambda path: compare_with_h5(read_animals(path.with_suffix(".csv")))
    ),
    "import: project of DeepLabCut": Reader(make=_deeplabcut_project, read=_import("deeplabcut").read),
    "config": Reader(make=_config, read=load_config),
    "chosen frames": Reader(
        make=_text("frames.csv", "image,session,frame,time_s,order,novelty,features\nlabeled-data/a/b.png,a,3,,1,,x\n"),
        read=lambda path: add_to_table(
            path.parent, [ChosenFrame(session="a", frame=4, time=0.1, order=1, novelty=1.0)], "x"
        ),
    ),
    "skeleton": Reader(
        make=_text("skeleton.yaml", "keypoints: [nose, tail]\nskeleton: [[nose, tail]]\n"), read=read_skeleton
    ),
    "run: model.yaml": Reader(make=_run("checkpoints/best/model.yaml"), read=lambda path: load_run(_run_of(path))),
    "run: weights": Reader(make=_run("weights"), read=_load_weights),
    "run: training state": Reader(make=write_state, read=read_state_file),
    **{
        f"backbone: {suffix}": Reader(make=write_backbone(suffix), read=read_backbone)
        for suffix in (".safetensors", ".pth")
    },
    "run: config.yaml": Reader(make=_run("config.yaml"), read=lambda path: load_run(path.parent)),
    "run: confidence": Reader(make=_run("confidence"), read=lambda path: load_run(_run_of(path))),
    "run: metrics.csv": Reader(make=_run("metrics.csv"), read=_read_metrics),
    "run: metrics.csv, resumed": Reader(make=_run("metrics.csv"), read=_go_on_with_log),
    "run: run.yaml": Reader(make=_run("run.yaml"), read=lambda path: read_run_info(path.parent)),
    "run: run.yaml, resumed": Reader(make=_run("run.yaml"), read=_add_run_info),
    "run: split.csv": Reader(make=_kept_split(SPLIT_FILE), read=_read_kept_split),
    "run: project of its config": Reader(make=_kept_split("config.yaml"), read=_read_kept_split),
    "runs of an ensemble": Reader(make=_ensemble, read=lambda path: find_runs(path.parent)),
    "predictions": Reader(make=_prediction, read=_read_prediction),
    "predictions of an ensemble": Reader(make=_ensemble_prediction, read=_read_blocks),
    "results to go on with": Reader(make=_summary, read=_read_summary),
    "blocks to go on with": Reader(make=_blocks, read=lambda path: SmoothedBlocks(path.parent, {}).noise()),
    "kinematics": Reader(
        make=lambda folder: _kinematics(folder / "mouse_kinematics.csv"),
        read=lambda path: read_kinematics(path, KEYPOINTS),
    ),
    "video: AVI": Reader(make=_video("s_top.avi", "MJPG"), read=_read_video),
    "video: MP4": Reader(make=_video("s_top.mp4", "mp4v"), read=_read_video),
    **{f"video: {name}": Reader(make=_encoded(*arguments), read=_read_video) for name, arguments in ENCODED.items()},
    **{f"image: {suffix}": Reader(make=_image(suffix), read=_read_image) for suffix in (*IMAGES, *RARE_IMAGES)},
    "journal of labels": Reader(make=_label_journal, read=lambda path: Journal(path.parents[1]).read()),
    "journal of frames": Reader(make=_frames_journal, read=lambda path: recover_project(path.parent)),
}
"""Readers by name."""
