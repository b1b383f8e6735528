"""Cost of `mvtrain predict` beside the network: decoding, preparing, writing; and its memory over a longer video.

    uv run python benchmarks/prediction.py RUN data/quickstart/videos/session1_cam1.mp4 --repeat 5
    uv run python benchmarks/prediction.py RUN VIDEOS --repeat 10 --memory

The videos of a session are lengthened by repeating them (encoded again). Times are processor seconds of the process and
all its threads, so what runs side by side is counted fully: decoding alone, decoding with preparing, and everything.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from rich.console import Console

from mvgeom.videos import count_frames, open_video
from mvtrain.model.run_folder import load_run
from mvtrain.predict.predictor import Predictor
from mvtrain.predict.recordings import Session, find_calibration, find_sessions, load_calibration
from mvtrain.predict.session import Job, predict_session
from mvtrain.predict.timing import frame_progress
from mvtrain.predict.video_batches import find_boxes, read_crops, read_video_batches
from mvtrain.runtime.interruption import Interruption


def lengthened(session: Session, folder: Path, times: int) -> Session:
    """The session with its videos repeated."""
    folder.mkdir()
    videos = []
    for path in session.videos:
        capture = cv2.VideoCapture(str(path))
        size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        out = folder / f"{path.stem}.mp4"
        writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
        for _ in range(times):
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            while (frame := capture.read())[0]:
                writer.write(frame[1])
        writer.release()
        boxes = path.with_name(f"{path.stem}_bbox.csv")
        if boxes.exists():
            header, *rows = boxes.read_text().splitlines()
            (folder / boxes.name).write_text("\n".join([header, *rows * times]) + "\n")
        videos.append(out)
    return Session(name=session.name, videos=tuple(videos))


def processor_seconds(work: Callable[[], object]) -> float:
    """Of this process and all its threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(run_dir: Path, session: Session, out_dir: Path) -> None:
    """Print where the processor's time goes."""
    run = load_run(run_dir)
    predictor = Predictor.from_run(run, torch.device("cpu"))
    found = find_calibration(session, None, run.config.data.data_dir)
    job = Job(
        session=session,
        boxes=find_boxes(session.videos, None),
        calibration=None if found is None else load_calibration(found, run.spec.view_names),
        out_dir=out_dir,
    )
    videos = [open_video(path) for path in session.videos]
    crops = read_crops(videos, job.boxes)

    def prepare() -> None:
        for _ in read_video_batches(videos, crops, [run.spec], [None], batch_size=predictor.batch_size, start=0):
            pass

    def predict() -> None:
        with frame_progress(Console(), quiet=True) as progress, Interruption() as interruption:
            outcome = predict_session([predictor], job, progress, interruption)
        assert outcome is not None
        work.update(outcome.work, all=outcome.seconds)

    work: dict[str, float] = {}
    opening = processor_seconds(lambda: [open_video(path) for path in session.videos])
    decoding = processor_seconds(lambda: [count_frames(video) for video in videos])
    preparing = processor_seconds(prepare) - decoding
    everything = processor_seconds(predict)
    number = max(video.num_frames for video in videos)
    speed, threads = number / work["all"], torch.get_num_threads()
    print(f"{number} frames of {len(videos)} views, {speed:.1f} frames/s with {threads} threads")
    print("processor time per frame, over all threads:")
    parts = {"listing the frames": opening, "decoding": decoding, "preparing": preparing, "writing": work["writing"]}
    for name, seconds in {**parts, "all but the model": sum(parts.values()), "everything": everything}.items():
        print(f"  {name:20s} {1000 * seconds / number:8.2f} ms {seconds / everything:7.1%}")
    print(f"waiting for frames: {work['waiting'] / work['all']:.1%} of the time")


def peak_memory(run_dir: Path, session: Session, out_dir: Path) -> float:
    """Largest resident size in MB of a process that predicts a session (Linux)."""
    # Asked of the process itself: what the system reports of a child begins with the size of its parent.
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0]))\n"
        "from mvtrain.cli.app import main\n"
        "main()\n"
    )
    arguments = ["predict", run_dir, session.videos[0], "--output", out_dir, "--accelerator", "cpu"]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--repeat", type=int, default=1, help="make the videos so many times as long")
    parser.add_argument("--memory", action="store_true", help="peak memory of the videos as they are and repeated")
    arguments = parser.parse_args()
    run = load_run(arguments.run)
    session = find_sessions([arguments.videos], run.spec.view_names).complete[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.memory:
            for times in (1, arguments.repeat):
                longer = lengthened(session, folder / f"{times}", times)
                megabytes = peak_memory(arguments.run, longer, folder / f"out{times}")
                print(f"{times:4d} times as long: {megabytes:.0f} MB")
        else:
            if arguments.repeat > 1:
                session = lengthened(session, folder / "longer", arguments.repeat)
            measure(arguments.run, session, folder / "out")


if __name__ == "__main__":
    main()
