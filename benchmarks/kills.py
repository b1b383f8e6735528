"""Commands that are killed at a random time and started again end with the same bytes, and leave nothing behind.

    OMP_WAIT_POLICY=passive uv run python benchmarks/kills.py [--kills 10] [--only fit,predict,...] [--seed 0]

Each command runs once to its end. Then, `--kills` times (twice as often for `fit`), it starts anew in the same place,
is killed by SIGKILL after a time drawn from its whole length, and is started again: `fit` with `--resume` where there
is something to resume. Its files must then be those of the run that was not killed, byte for byte, and no others. Times
are not compared (`run.yaml`, columns of `metrics.csv` and with them its length, TensorBoard, the figure of the curves;
HDF5 files, which hold times, are compared by their tables). `label` gets edits over HTTP until it is killed: every edit
that it answered must be in the tables that the next process saves.

`MVGEOM_FSYNC=0` makes it faster: SIGKILL loses nothing that the system has taken.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from helpers.boards import arc_of_cameras, film, photograph
from helpers.foreign import write_deeplabcut
from helpers.labeling import make_project
from helpers.runs import make_run
from helpers.tiny import generate_tiny_project, write_tiny_config
from mvgeom.calibration import Chessboard
from mvtrain.config import load_config
from mvtrain.project.label_tables import read_labels
from mvtrain.project.project import read_project

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
TIMES = ["samples_per_second", "share_waiting_for_data"]
VOLATILE = re.compile(r"(^|/)(run\.yaml|learning_curves\.png|tensorboard/.*|state/state\.yaml)$")
"""Files that hold times, or a checksum of such."""

STATE = re.compile(r"state/state-\w+\.pt$")
"""Training state; it is compared by its content."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that is killed.

    Attributes:
        place: Folder that it works in; a copy of it is made for every kill.
        arguments: Function of the folder: arguments to start with.
        again: Function of the folder: arguments to go on with.
    """

    place: Path
    arguments: Callable[[Path], list[object]]
    again: Callable[[Path], list[object]]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="fit,predict,label,calibrate,import,convert")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only.split(","):
            rng = random.Random(f"{name} {arguments.seed}")
            home = Path(folder) / name
            home.mkdir()
            kills = arguments.kills * (2 if name == "fit" else 1)
            if name == "label":
                outcomes = [kill_label(home / str(number), rng) for number in range(kills)]
            else:
                outcomes = kill_command(MAKE[name](home), home, kills, rng)
            bad = [outcome for outcome in outcomes if outcome != "same"]
            failed += len(bad)
            print(f"{name}: {kills} kills, {kills - len(bad)} ends with the same bytes", flush=True)
            for outcome in bad:
                print(f"  {outcome}", flush=True)
    sys.exit(1 if failed else 0)


def run(arguments: list[object]) -> subprocess.Popen[str]:
    """Start a command."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_well(arguments: list[object]) -> None:
    """Run a command to its end."""
    process = run(arguments)
    out, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: status {process.returncode}\n{out}")


def kill_command(command: Command, home: Path, kills: int, rng: random.Random) -> list[str]:
    """Kill a command at random times; return what differs afterwards, or `same`."""
    place = home / "place"
    shutil.copytree(command.place, place)
    start = time.monotonic()
    run_well(command.arguments(place))
    length = time.monotonic() - start
    expected, outcomes = content(place), []
    for number in range(kills):
        shutil.rmtree(place)
        shutil.copytree(command.place, place)
        process, delay = run(command.arguments(place)), rng.uniform(0.1, 1.0) * length
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        try:
            if process.returncode != 0:
                run_well(command.again(place))
        except RuntimeError as error:
            outcomes.append(f"kill {number} after {delay:.2f} s: {error}")
            continue
        found = content(place)
        names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        outcomes.append("same" if not names else f"kill {number} after {delay:.2f} s: {', '.join(names)}")
    return outcomes


def content(place: Path) -> dict[str, str]:
    """Return checksums of all files, without what names times."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if VOLATILE.search(name):
            continue
        if STATE.search(name):
            data = repr_state(torch.load(path, weights_only=True))
            found["state" if "state" not in found else name] = hashlib.sha256(data).hexdigest()
            continue
        data = path.read_bytes() if path.is_file() else b""
        if path.name == "metrics.csv":
            data = pd.read_csv(io.BytesIO(data), dtype=str).drop(columns=TIMES).to_csv().encode()
        elif path.suffix == ".h5":
            data = pd.read_hdf(path).to_csv().encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def repr_state(value: Any) -> bytes:
    """Return the tensors and values of a training state as bytes, without the length of the log, which holds times."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(repr(key).encode() + repr_state(each) for key, each in value.items() if key != "log_position")
    if isinstance(value, list | tuple):
        return b"".join(map(repr_state, value))
    return repr(value).encode()


def make_fit(home: Path) -> Command:
    """A training whose state is saved after every step."""
    project = generate_tiny_project(home / "project")
    config = write_tiny_config(home / "tiny.yaml", project, save_every_minutes=0, log_every_n_steps=3, max_epochs=6)
    (home / "empty").mkdir()

    def again(place: Path) -> list[object]:
        begun = (place / "run" / "config.yaml").is_file()
        return ["mvtrain", "fit", "--resume", place / "run"] if begun else start(place)

    def start(place: Path) -> list[object]:
        return ["mvtrain", "fit", config, "--output", place / "run"]

    return Command(place=home / "empty", arguments=start, again=again)


def make_predict(home: Path) -> Command:
    """A prediction of a recording with an overlay."""
    project = generate_tiny_project(home / "project", num_video_frames=150)
    loaded = read_project(load_config(write_tiny_config(home / "tiny.yaml", project)))
    trained = make_run(home / "run", views=loaded.view_names, keypoints=loaded.keypoint_names)
    (home / "empty").mkdir()

    def start(place: Path) -> list[object]:
        options = ["--output", place / "out", "--overlay", "--calibration", project / "calibrations"]
        return ["mvtrain", "predict", trained, project / "videos", *options, "--batch-size", 4]

    return Command(place=home / "empty", arguments=start, again=start)


def make_calibrate(home: Path) -> Command:
    """A calibration from images of a board, with a report."""
    board = Chessboard(columns=7, rows=4, square_size=0.06)
    truth = arc_of_cameras(2, distortion=()).resize([640.0, 512.0])
    views = []
    for name, images in zip(
        truth.names, photograph(truth, board, film(truth, 7, board=board, spread=0.2)), strict=True
    ):
        (home / name).mkdir()
        views.append(f"{name}={home / name}")
        for frame, image in enumerate(images):
            cv2.imwrite(str(home / name / f"{name}-{frame}.png"), image)
    (home / "empty").mkdir()

    def start(place: Path) -> list[object]:
        options = ["--chessboard", "7x4", "--square", 0.06, "-o", place / "rig.toml", "--report", place / "report"]
        return ["mvgeom", "calibrate", *views, *options]

    return Command(place=home / "empty", arguments=start, again=start)


def make_import(home: Path) -> Command:
    """An import of labels into a project that has others."""
    first = generate_tiny_project(home / "first", image_format="png")
    original = read_project(load_config(write_tiny_config(home / "tiny.yaml", first)))
    source = write_deeplabcut(home / "dlc", original, rows={view: range(10) for view in range(3)})
    more = write_deeplabcut(home / "more", original)
    (home / "with project").mkdir()
    calibration = ["--calibration", first / "calibrations"]
    run_well(["mvtrain", "import", "deeplabcut", source, "--output", home / "with project" / "project", *calibration])

    def start(place: Path) -> list[object]:
        return ["mvtrain", "import", "deeplabcut", more, "--into", place / "project", *calibration]

    return Command(place=home / "with project", arguments=start, again=start)


def make_convert(home: Path) -> Command:
    """A conversion of a prediction."""
    predict = make_predict(home)
    run_well(predict.arguments(home / "predicted"))
    (home / "nothing").mkdir()

    def start(place: Path) -> list[object]:
        return ["mvtrain", "convert", "deeplabcut", home / "predicted" / "out", "--output", place / "converted"]

    def again(place: Path) -> list[object]:
        return ["mvtrain", "--help"] if (place / "converted").exists() else start(place)

    return Command(place=home / "nothing", arguments=start, again=again)


def kill_label(home: Path, rng: random.Random) -> str:
    """Kill `mvtrain label` while it gets edits and saves; return what is missing afterwards, or `same`."""
    root, delay = make_project(home / "project", num_frames=8), rng.uniform(0.0, 1.5)
    cells = [(frame, view, keypoint) for frame in range(8) for view in range(3) for keypoint in range(3)]
    process, address = serve(root)
    killer = threading.Timer(delay, process.kill)
    killer.start()
    answered = 0
    with suppress(OSError, http.client.HTTPException):
        for number, (frame, view, keypoint) in enumerate(cells):
            edits = [[frame, [[view, keypoint, [10.0 + frame, 20.0 + view, 2, "click"]]]]]
            post(address, "edits", {"client": "test", "first": number, "generation": 1, "edits": edits})
            answered += 1
            if answered % 5 == 0:
                post(address, "save", {})
    killer.join()
    process.communicate()
    process, address = serve(root)
    post(address, "save", {})
    process.send_signal(signal.SIGINT)
    process.communicate()
    tables = [read_labels(root / f"CollectedData_view{view}.csv").points for view in range(3)]
    lost = [
        (frame, view, keypoint)
        for frame, view, keypoint in cells[:answered]
        if tables[view][frame, keypoint].tolist() != [10.0 + frame, 20.0 + view]
    ]
    debris = [path.name for path in root.rglob("*") if ".mvtmp" in path.name or path.name in ("lock", ".lock")]
    if not lost and not debris:
        return "same"
    return f"killed after {delay:.2f} s and {answered} answers: lost {lost}, left {debris}"


def serve(root: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `mvtrain label`; return the process and the address that it prints."""
    process = run(["mvtrain", "label", root, "--no-browser"])
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.match(r"open (http://\S+)", line):
            return process, found[1]
    raise RuntimeError("".join(lines))


def post(address: str, path: str, body: dict[str, Any]) -> None:
    """Send a request to `mvtrain label` and wait for its answer."""
    url, secret = address.split("#")
    headers = {"x-mvtrain-secret": secret, "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}api/{path}", json.dumps(body).encode(), headers)) as file:
        file.read()


MAKE: dict[str, Callable[[Path], Command]] = {
    "fit": make_fit,
    "predict": make_predict,
    "calibrate": make_calibrate,
    "import": make_import,
    "convert": make_convert,
}
"""Commands, made in a folder of their own."""


if __name__ == "__main__":
    main()
