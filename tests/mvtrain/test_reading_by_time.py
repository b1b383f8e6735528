"""Every reader of several videos gives each frame the images of its time, wherever images are missing."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.progress import Progress

from helpers.boards import arc_of_cameras
from helpers.errors import raises_input
from helpers.videos import drop, encode, read_number
from mvgeom.calibration import Chessboard, FilmSearch
from mvgeom.calibration.sources import Source, match_sources
from mvgeom.calibration.sources import read_frames as read_board_images
from mvgeom.clock_files import find_clocks, save_clocks
from mvgeom.clocks import Clocks
from mvgeom.errors import InputError
from mvgeom.tables import write_video_boxes
from mvgeom.videos import Video
from mvtrain.config import load_config
from mvtrain.drawing.keypoints import Style
from mvtrain.exchange.alignment import align, number_by_time
from mvtrain.exchange.foreign_labels import ForeignLabels, LabeledImage, Place, VideoFrame
from mvtrain.exchange.media import write_images
from mvtrain.label.page_images import NeighborFrames
from mvtrain.model.checkpoint import ModelSpec
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.predict.overlay import draw_videos
from mvtrain.predict.recordings import OutputPaths, Session
from mvtrain.predict.session import Job, open_videos
from mvtrain.predict.timing import Stopwatch
from mvtrain.predict.tracking import TrackedFrame, TrackState, track_frames
from mvtrain.predict.video_batches import Status, read_crops, read_video_batches
from mvtrain.project.calibrations import load_view_clocks
from mvtrain.project.label_tables import write_labels
from mvtrain.project.project import read_project
from mvtrain.runtime.interruption import Interruption
from mvtrain.start.add_frames import extract_frames
from mvtrain.start.choose_frames import scan_candidates

VIEWS = ("top", "left", "right")
LENGTH = 20
CODECS = {"mkv": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"), "mp4": ("-c:v", "libx264", "-preset", "veryfast")}

Rows = list[list[int | None]]
"""Per view the number of the image of each frame."""

DROPPED: dict[str, tuple[tuple[int, ...], ...]] = {
    "no image": ((), (), ()),
    "start of one": ((), (0, 1, 2), ()),
    "start of two": ((0, 1), (0, 1, 2), ()),
    "start of all": ((0, 1), (0, 1), (0, 1)),
    "middle of one": ((), (7, 8), ()),
    "middle of the first": ((7,), (), ()),
    "middle of two": ((5,), (9, 10), ()),
    "middle of all, others": ((5,), (9, 10), (13,)),
    "middle of all, the same": ((7, 8), (7, 8), (7, 8)),
    "end of one": ((), (), (17, 18, 19)),
    "end of two": ((18, 19), (), (17, 18, 19)),
    "end of all": ((18, 19), (18, 19), (18, 19)),
    "start, middle and end": ((0, 1, 19), (7, 8), (3, 18, 19)),
}
CASES = [(case, "mkv") for case in DROPPED] + [(case, "mp4") for case in ("start of one", "start, middle and end")]
"""Every case in one container, and those in another in which its rounded and shifted times matter."""
JITTER = "settb=1/1000,setpts='N*40+{}*mod(N*7,3)'"

SPEC = ModelSpec(
    backbone="vit_tiny_patch16_224",
    backbone_args={},
    attention="joint",
    view_names=VIEWS,
    keypoint_names=("nose",),
    image_size=(64, 48),
    downsample_factor=2,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
    subject_size=None,
)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Path]]:
    """Videos of the three views by their filters and codec, encoded once for all readers."""
    made: dict[tuple[Any, ...], list[Path]] = {}

    def make(suffix: str, filters: tuple[str, ...], *options: str) -> list[Path]:
        key = (suffix, filters, options)
        if key not in made:
            folder = tmp_path_factory.mktemp("recording")
            made[key] = encode(paths_in(folder, suffix), filters, *options, *CODECS[suffix])
        return made[key]

    return make


@pytest.fixture(scope="module")
def recordings(encoded: Callable[..., list[Path]]) -> Callable[[str, str], list[Path]]:
    """Videos of a case of `DROPPED`."""
    return lambda case, suffix: encoded(suffix, tuple(drop(*each) for each in DROPPED[case]))


def paths_in(folder: Path, suffix: str) -> list[Path]:
    return [folder / f"s_{view}.{suffix}" for view in VIEWS]


def expected_rows(dropped: tuple[tuple[int, ...], ...]) -> Rows:
    """A frame for every number that any view has."""
    kept = [[number for number in range(LENGTH) if number not in each] for each in dropped]
    present = sorted(set().union(*kept))
    return [[number if number in each else None for number in present] for each in kept]


def make_job(paths: list[Path], out: Path) -> Job:
    boxes: tuple[Path | None, ...] = (None,) * len(paths)
    return Job(
        session=Session(name="s", videos=tuple(paths)),
        boxes=boxes,
        calibration=None,
        out_dir=out,
        clocks=load_view_clocks(paths[0].parent / "calibration.toml", VIEWS),
    )


def read_for_prediction(paths: list[Path], out: Path, start: int = 0) -> Rows:
    videos, _ = open_videos(make_job(paths, out))
    crops = read_crops(videos, (None,) * len(paths))
    rows: Rows = [[None] * start for _ in paths]
    with closing(read_video_batches(videos, crops, [SPEC], [None], batch_size=4, start=start)) as batches:
        for (each,) in batches:
            for images, status in zip(each.batch.images.numpy(), each.status, strict=True):
                for view, image in enumerate(images):
                    number = read_number(image.transpose(1, 2, 0))
                    assert (number is None) == (status[view] in (Status.NO_IMAGE, Status.ENDED))
                    rows[view].append(number)
    return rows


class Recorder:
    """A tracker that only takes note of what it is given."""

    def __init__(self) -> None:
        self.rows: Rows = [[] for _ in VIEWS]
        self.state = TrackState(pose=np.zeros((1, 3)))

    def step(self, images: list[np.ndarray | None], missing: list[Status]) -> TrackedFrame:
        for row, image, status in zip(self.rows, images, missing, strict=True):
            assert (image is None) == (status in (Status.NO_IMAGE, Status.ENDED))
            row.append(read_number(image))
        return TrackedFrame(prediction=None, status=np.zeros(3), windows=np.zeros((3, 4)))


def read_for_tracking(paths: list[Path], out: Path) -> Rows:
    recorder: Any = Recorder()
    for _ in track_frames(recorder, open_videos(make_job(paths, out))[0], 0, Stopwatch()):
        pass
    return recorder.rows


def read_drawn_videos(paths: list[Path], out: Path) -> Rows:
    style = Style(colors=((0.0, 0.0, 255.0),), edges=(), min_confidence=0.0)
    job = replace(make_job(paths, out), labeled=style)
    num_frames = max(video.end for video in open_videos(job)[0])
    outputs = OutputPaths.from_session(job.session, out)
    nothing = np.full((num_frames, 1, 2), np.nan)
    for table in outputs.tables:
        rows = PredictionRows(index=range(num_frames), points=nothing, likelihood=nothing[..., 0])
        write_predictions(table, ("nose",), [rows])
    with Interruption() as interruption, Progress(disable=True) as progress:
        draw_videos(job, VIEWS, progress, interruption)
    found: Rows = []
    for path in outputs.labeled:
        capture, row = cv2.VideoCapture(str(path)), []
        while (frame := capture.read())[0]:
            row.append(read_number(frame[1]))
        found.append(row + [None] * (num_frames - len(row)))
    return found


def read_for_import(paths: list[Path], out: Path) -> Rows:
    """All images of two views are labeled, numbered as in their videos, and one of the third, whose others are read."""
    images = [
        labeled(view, number, path)
        for view, path in zip(VIEWS, paths, strict=True)
        for number in (range(sum(1 for _ in decode(path))) if view != VIEWS[2] else [5])
    ]
    videos = {("s", view): path for view, path in zip(VIEWS, paths, strict=True)}
    labels = ForeignLabels(origin="here", keypoint_names=("nose",), images=tuple(images), videos=videos)
    labels = number_by_time(labels, {None: find_clocks(paths[0].parent / "calibration.toml")})
    aligned = align(labels, VIEWS, allow_absent=True)
    wanted = {}
    for (_, frame), row in zip(aligned.frames, aligned.images, strict=True):
        for view, image in zip(VIEWS, row, strict=True):
            video_ends = isinstance(image, VideoFrame) and image.number >= sum(1 for _ in decode(image.path))
            if image is not None and not video_ends:
                wanted[out / view / f"{frame}.png"] = image
    write_images(wanted, lambda: None)
    num_frames = 1 + max(frame for _, frame in aligned.frames)
    return [
        [
            read_number(cv2.imread(str(path))) if (path := out / view / f"{frame}.png").is_file() else None
            for frame in range(num_frames)
        ]
        for view in VIEWS
    ]


def labeled(view: str, number: int, path: Path) -> LabeledImage:
    return LabeledImage(
        place=Place("s", view, number),
        points=np.ones((1, 2)),
        visibility=np.full(1, 2, np.int8),
        image=VideoFrame(path=path, number=number),
        origin=f"{view} {number}",
    )


def decode(path: Path) -> Any:
    capture = cv2.VideoCapture(str(path))
    while (frame := capture.read())[0]:
        yield frame[1]


def read_boards(paths: list[Path], out: Path) -> Rows:
    sources = {view: Source(name=view, video=path) for view, path in zip(VIEWS, paths, strict=True)}
    found = [dict(read_board_images(source)) for source in match_sources(sources).values()]
    num_frames = 1 + max(max(each) for each in found)
    return [[read_number(each.get(frame)) for frame in range(num_frames)] for each in found]


def read_films(paths: list[Path], out: Path) -> Rows:
    films = {view: Source(name=view, video=path) for view, path in zip(VIEWS, paths, strict=True)}
    search = FilmSearch(films, Chessboard(columns=4, rows=3, square_size=1.0))
    return [[read_number(search._read(view, [n]).get(n)) for n in range(search.num_frames)] for view in VIEWS]


def read_to_choose(paths: list[Path], out: Path) -> Rows:
    """Every frame is a candidate; those that a view can show are extracted."""
    videos, _ = open_videos(make_job(paths, out))
    num_frames = max(video.end for video in videos)
    readable = scan_candidates(videos, np.arange(num_frames), num_frames, None, lambda _: None).appearance.readable
    rows: Rows = []
    for view, video in enumerate(videos):
        targets = {int(frame): out / f"{view}_{frame}.png" for frame in np.flatnonzero(readable[:, view])}
        extract_frames(video, targets, lambda: None)
        rows.append([read_number(cv2.imread(str(targets[n]))) if n in targets else None for n in range(num_frames)])
    return rows


def read_neighbors(paths: list[Path], out: Path) -> Rows:
    """The labeled image is in the middle; all others are its neighbors."""
    project = paths[0].parent
    names = [f"labeled-data/s_{view}/img{LENGTH // 2:08d}.png" for view in VIEWS]
    for view, name in zip(VIEWS, names, strict=True):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(project / name), np.zeros((48, 64, 3), np.uint8))
        write_labels(
            project / f"CollectedData_{view}.csv", [name], ("nose",), np.full((1, 1, 2), np.nan), None, scorer="me"
        )
    config = project / "config.yaml"
    config.write_text(f"data: {{data_dir: {project}, video_dir: {project}, view_names: [{', '.join(VIEWS)}]}}\n")
    loaded = load_config(config)
    neighbors = NeighborFrames(loaded, read_project(loaded, need_labels=False))
    videos, _ = open_videos(make_job(paths, out))
    return [
        [read_neighbor(neighbors, view, frame) for frame in range(max(video.end for video in videos))]
        for view in range(len(VIEWS))
    ]


def read_neighbor(neighbors: NeighborFrames, view: int, frame: int) -> int | None:
    try:
        content = neighbors.read(0, view, frame - LENGTH // 2)
    except InputError as error:
        if error.code != "damaged-file":
            raise
        return None
    return read_number(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))


READERS: dict[str, tuple[Callable[[list[Path], Path], Rows], tuple[str, ...]]] = {
    "mvtrain predict": (
        read_for_prediction,
        ("predict/video_batches.py", "predict/session.py"),
    ),
    "mvtrain predict, later": (lambda paths, out: read_for_prediction(paths, out, 8), ()),
    "mvtrain predict --track": (read_for_tracking, ("predict/tracking.py",)),
    "mvtrain predict --overlay": (read_drawn_videos, ("predict/overlay.py",)),
    "mvtrain import": (read_for_import, ("exchange/media.py", "exchange/alignment.py")),
    "mvtrain label": (read_neighbors, ("label/page_images.py",)),
    "mvtrain frames": (read_to_choose, ("start/choose_frames.py", "start/session_choice.py", "start/add_frames.py")),
    "mvgeom calibrate": (read_boards, ("calibration/sources.py",)),
    "mvgeom calibrate, long videos": (read_films, ("calibration/film_search.py", "mvgeom/frame_reader.py")),
}
"""Readers of several videos, and the modules that read them."""

ONE_VIDEO = {
    "predict/saved_predictions.py": "the frame rate",
    "predict/run_predict.py": "check of the headers",
    "exchange/stored_pixels.py": "the size",
    "start/init_project.py": "the size",
    "cli/sync_command.py": "the frame rate",
    "calibration/board_sample.py": "a sample of images",
    "drawing/video_files.py": "the number of images just written",
}
"""Modules that take from a video what does not depend on other videos."""


@pytest.mark.parametrize(("case", "suffix"), CASES)
@pytest.mark.parametrize("reader", READERS)
def test_missing_images_are_missing_at_their_frame(
    reader: str, case: str, suffix: str, recordings: Callable[[str, str], list[Path]], tmp_path: Path
) -> None:
    found = READERS[reader][0](recordings(case, suffix), tmp_path)
    expected = expected_rows(DROPPED[case])
    if reader == "mvtrain import":  # no row for a frame that is labeled in no view
        num_labeled = 1 + max(frame for row in expected[:2] for frame, number in enumerate(row) if number is not None)
        unlabeled = [frame for frame in range(num_labeled) if expected[0][frame] is expected[1][frame] is None]
        expected = [
            [None if f in unlabeled else number for f, number in enumerate(row[:num_labeled])] for row in expected
        ]
    if reader == "mvtrain predict, later":
        expected = [[None] * 8 + row[8:] for row in expected]
    assert found == expected


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("reader", READERS)
def test_jitter_leaves_no_gap(reader: str, suffix: str, encoded: Callable[..., list[Path]], tmp_path: Path) -> None:
    filters = tuple(JITTER.format(milliseconds) for milliseconds in (0, 8, 9))
    paths = encoded(suffix, filters, "-enc_time_base", "1:1000")
    found = READERS[reader][0](paths, tmp_path / "out")
    first = 8 if reader == "mvtrain predict, later" else 0
    assert found == [[None] * first + list(range(first, LENGTH))] * 3


CLOCKS = {
    "late and early": ((0, 2.3, -1.6), (0, 0, 0)),
    "fast and slow": ((0, 0.2, 0.2), (0, 0.13, -0.13)),
}
"""Offsets in frames and drifts of the views."""


@pytest.mark.parametrize("case", CLOCKS)
@pytest.mark.parametrize("reader", [each for each in READERS if not each.startswith("mvgeom calibrate")])
def test_images_are_those_nearest_in_time_where_cameras_have_clocks(
    reader: str, case: str, encoded: Callable[..., list[Path]], tmp_path: Path
) -> None:
    late, drift = CLOCKS[case]
    paths = [Path(shutil.copy(path, tmp_path)) for path in encoded("mkv", ("null",) * 3)]
    arc_of_cameras(3).replace(names=VIEWS).save(tmp_path / "calibration.toml")
    unknown = np.full(3, np.nan)
    clocks = Clocks(
        names=VIEWS,
        reference=VIEWS[0],
        frame_rate=25,
        offset=np.array(late) / 25,
        drift=np.array(drift),
        offset_std=unknown,
        drift_std=unknown,
    )
    save_clocks(clocks, tmp_path / "calibration.sync.json")
    _, warnings = open_videos(make_job(paths, tmp_path))
    assert len(warnings) == 1
    assert "mvgeom sync" in warnings[0]
    expected: list[dict[int, int]] = [{}, {}, {}]
    for view in range(3):
        for image in range(LENGTH):  # of two images of one frame the first counts
            expected[view].setdefault(round((image - late[view]) / (1 + drift[view])), image)
    # No row for a frame that is labeled in no view.
    count = 1 + max(max(each) for each in (expected[:2] if reader == "mvtrain import" else expected))
    first = 8 if reader == "mvtrain predict, later" else 0
    rows: Rows = [[each.get(frame) if frame >= first else None for frame in range(count)] for each in expected]
    assert READERS[reader][0](paths, tmp_path / "out") == rows


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("filters", "code"),
    [
        pytest.param(("null", "select='not(mod(n,2))'", "null"), "rates-differ", id="half the rate"),
        pytest.param(("null", JITTER.format(0).replace("40", "50"), "null"), "rates-differ", id="20 frames/s"),
        pytest.param(
            ("null", "settb=1/1000,setpts='N*40+if(gt(N,9),59,0)'", "null"), "unmatched-frames", id="half step"
        ),
    ],
)
def test_what_times_cannot_settle_is_refused(
    reader: str, filters: tuple[str, ...], code: str, encoded: Callable[..., list[Path]], tmp_path: Path
) -> None:
    paths = encoded("mkv", filters, "-enc_time_base", "1:1000")
    if reader.startswith("mvgeom calibrate") and "select" in filters[1]:
        # Boards need no image of every frame: those of half the rate are at every other one.
        every_other = [number if number % 2 == 0 else None for number in range(LENGTH)]
        found = READERS[reader][0](paths, tmp_path / "out")
        assert found == [list(range(LENGTH)), every_other, list(range(LENGTH))]
        return
    with raises_input(code):
        READERS[reader][0](paths, tmp_path / "out")


def test_every_module_that_reads_videos_is_among_the_readers() -> None:
    packages = Path(__file__).parents[2] / "packages"
    listed = {module for _, modules in READERS.values() for module in modules} | set(ONE_VIDEO)
    found = set()
    for path in packages.rglob("src/**/*.py"):
        name = "/".join(path.parts[-2:])
        text = path.read_text(encoding="utf-8")
        assert "VideoCapture(" not in text or name == "mvgeom/decoder.py", f"{path}: read videos by mvgeom.videos"
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ImportFrom) or node.module not in ("mvgeom.videos", "mvgeom.decoder"):
                continue
            if name != "mvgeom/videos.py" and {alias.name for alias in node.names} - {Video.__name__}:
                found.add(name)
    assert found == listed


def test_boxes_have_a_row_for_each_image_or_each_frame(
    recordings: Callable[[str, str], list[Path]], tmp_path: Path
) -> None:
    paths = recordings("middle of one", "mp4")
    videos, _ = open_videos(make_job(paths, tmp_path))
    for length in (LENGTH - 2, LENGTH):
        boxes = np.arange(4.0 * length).reshape(length, 4)
        write_video_boxes(tmp_path / "boxes.csv", boxes)
        (crops,) = read_crops(videos[1:2], [tmp_path / "boxes.csv"])
        expected = boxes if length == LENGTH else np.insert(boxes, [7, 7], np.nan, axis=0)
        np.testing.assert_array_equal(crops, expected)
    write_video_boxes(tmp_path / "boxes.csv", np.ones((LENGTH - 1, 4)))
    with raises_input("wrong-count"):
        read_crops(videos[1:2], [tmp_path / "boxes.csv"])


def test_import_stays_by_number_where_all_images_are_files_and_states_why(tmp_path: Path) -> None:
    paths = encode(paths_in(tmp_path, "mkv"), ["null", "select='not(mod(n,2))'", "null"], *CODECS["mkv"])
    videos = {("s", view): path for view, path in zip(VIEWS, paths, strict=True)}
    images = tuple(labeled(view, 3, paths[0]) for view in VIEWS)
    labels = ForeignLabels(origin="here", keypoint_names=("nose",), images=images, videos=videos)
    numbered = number_by_time(labels)
    assert [image.place for image in numbered.images] == [image.place for image in images]
    assert len(numbered.notes) == 1
    with raises_input("rates-differ"):
        number_by_time(replace(labels, images=(*images[:2], labeled(VIEWS[2], 5, paths[2]))))


def test_predict_warns_of_clocks_that_drift(tmp_path: Path) -> None:
    filters = ["settb=1/1000,setpts='N*40'", "settb=1/1000,setpts='N*40+floor(N/10)'", "settb=1/1000,setpts='N*40'"]
    codec = ("-enc_time_base", "1:1000", *CODECS["mkv"])
    paths = encode(paths_in(tmp_path, "mkv"), filters, *codec, count=400)
    videos, found = open_videos(make_job(paths, tmp_path))
    assert all(video.frames is None for video in videos)
    assert len(found) == 1
    assert found[0].startswith("s_left.mkv: its clock drifts")
