"""Gain of smoothing over time, and coverage of its intervals.

    OMP_WAIT_POLICY=passive uv run python benchmarks/smoothing.py [--peer PYTHON] [--only PART ...] [--run RUN]

`generated`: an animal of 10 cm that runs, turns, rears, jumps and rests, seen by 4 cameras at 15 to 120 frames/s.
Keypoints have noise of 1 to 4 px, half of it an error that lasts 0.2 s; they are occluded in stretches, with more noise
and low likelihoods, 3 % are on another keypoint. Printed: 3D errors in mm, of all and of the fastest tenth of the
keypoints, and the share of true positions inside of the intervals: of all, of those that are occluded in two views,
and of each keypoint. All are means over several recordings of the same length in seconds at all frame rates: errors
that last 0.2 s are few in a short one, and its intervals hold by chance. The Butterworth filter has the frequency that
the truth likes best; the other filters are set as is usual. The ensemble has three draws of the noise, of which half of
the variance is common to all; what is occluded or absent is so for all, keypoints on another one are each draw's own.
With three and two of the cameras, trajectories are compared with those that hold the lengths of bones as well. Of the
camera that is off, the calibration is wrong by 0.2 degrees, which are 3 px.

`fly`: real predictions of 3 networks for 3 views. Each view is predicted from the two others. Noise is learned from the
first half of the frames, and the second half tests it: distance in px from the left-out view's keypoints, negative
log likelihood, share of keypoints inside of the intervals, seconds. `--peer` is the Python of an environment with
ensemble-kalman-smoother; its calibrated multi-camera smoother gets the same files.

`human4`: real keypoints of a detector (the labels of the project) in the 100 frames of its four videos. Each view is
predicted from the others, with noise that is learned from these alone and the left-out view's own noise from all; there
are too few frames for a half to test. One camera's pose is off by a degree; the second table is of the cameras that
`mvgeom refine` makes of the same keypoints.

`--run` is a run folder whose project is generated, has every frame of its videos in `points_3d.csv`, and was predicted:
that of the quickstart. Predictions and smoothed predictions are compared with the truth; `--predictions` is another
folder with predictions of its videos.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from animal_recordings import animal, record, ring
from rich.console import Console
from rich.table import Table
from scipy.ndimage import median_filter
from scipy.signal import butter, savgol_filter, sosfiltfilt
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from mvgeom import Bone, CameraGroup, Smoothed, affine, learn_noise, project, reconstruct, smooth
from mvgeom.calibration.keypoint_refinement import refine
from mvgeom.smoothing import covariance_from_likelihood
from mvgeom.smoothing.noise import averaged_covariance, log_density
from mvgeom.smoothing.trajectories import linearize, project_covariance
from mvgeom.tables import read_keypoints, read_labeled_boxes, stack_views
from mvtrain.predict.recording_tables import observe
from mvtrain.predict.saved_predictions import find_predictions, load_prediction_cameras, load_predictions

LEVELS = (0.5, 0.8, 0.9, 0.99)
FLY = Path(__file__).parents[2] / "shared" / "data" / "fly3"
HUMAN = Path(__file__).parents[2] / "shared" / "data" / "human4"
HUMAN_CROP = (320, 320)
PARTS = ("generated", "fly", "human4")
BONES = ((0, 3), (3, 4), (4, 5), (3, 6), (3, 7), (4, 8), (4, 9), (5, 10), (0, 1), (0, 2), (0, 11))
"""Head, spine and the rigid parts of the animal, and legs that stretch by a few percent."""
PEER = """
import sys
from eks import fit_eks_multicam
calibration, out, *files = sys.argv[1:]
cameras = {}
for file in files:
    cameras.setdefault(file.split("fly_")[1].split(".")[0], []).append(file)
fit_eks_multicam(cameras, out, calibration=calibration)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="Python with the package ensemble-kalman-smoother")
    parser.add_argument("--run", type=Path, help="run folder of a generated project with predicted videos")
    parser.add_argument("--predictions", type=Path, help="predictions of the run; those in the run folder if left out")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--fps", type=int, nargs="+", default=[15, 30, 60, 120])
    parser.add_argument("--seconds", type=float, default=14, help="length of a generated recording")
    parser.add_argument("--recordings", type=int, default=3, help="recordings per frame rate")
    arguments = parser.parse_args()
    console = Console(width=140)
    if arguments.run is not None:
        console.print(compare_run(arguments.predictions or arguments.run))
        return
    if "generated" in arguments.only:
        for fps in arguments.fps:
            console.print(compare_generated(fps, round(arguments.seconds * fps), arguments.recordings))
    if "fly" in arguments.only:
        console.print(compare_fly(arguments.peer))
    if "human4" in arguments.only:
        cameras = CameraGroup.load(HUMAN / "calibration.toml")
        points = load_human4(cameras)
        console.print(compare_human4(points, cameras, "human4"))
        console.print(compare_human4(points, refine(cameras, points).cameras, "human4, poses refined by the keypoints"))


def compare_generated(fps: int, num_frames: int, num_recordings: int) -> Table:
    """Compare per-frame triangulation, filters and smoothing on generated recordings of one frame rate."""
    assessed = [assess_recording(fps, num_frames, [fps, number]) for number in range(num_recordings)]
    table = Table(title=f"generated, {fps} frames/s, {num_recordings} recordings: 3D error in mm", title_justify="left")
    names = ("", "mean", "median", "95 %", "fastest tenth", "hidden in 2", "50/80/90/99 %", "90 %: hidden", "keypoints")
    for name in names:
        table.add_column(name, justify="left" if not name else "right")
    for name in assessed[0]:
        errors = np.mean([recording[name].errors for recording in assessed], axis=0)
        inside = [each for recording in assessed if (each := recording[name].inside) is not None]
        cells = ["", "", ""]
        if inside:
            every = np.mean([each.every for each in inside], axis=0)
            of_keypoints = np.mean([each.keypoints for each in inside], axis=0)
            cells[0] = " ".join(f"{share:.2f}" for share in every)
            cells[1] = f"{np.nanmean([each.hidden for each in inside]):.2f}"
            cells[2] = f"{of_keypoints.min():.2f} to {of_keypoints.max():.2f}"
        table.add_row(name, *(f"{error:.2f}" for error in errors), *cells)
    return table


@dataclass(frozen=True, kw_only=True)
class Inside:
    """Shares of true positions inside of the regions that a smoother states.

    Attributes:
        every: (4,) of all keypoints, in the regions of the probabilities `LEVELS`.
        hidden: Of keypoints that are occluded in two views, in the regions of 90 %.
        keypoints: (K,) of each keypoint, in the regions of 90 %.
    """

    every: np.ndarray
    hidden: float
    keypoints: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """Trajectories beside the truth.

    Attributes:
        errors: (5,) mean, median and 95 % quantile of the error in mm; mean of the fastest tenth, and of hidden ones.
        inside: Shares of the truth inside of the stated regions; None without them.
    """

    errors: np.ndarray
    inside: Inside | None


def assess_recording(fps: int, num_frames: int, seed: list[int]) -> dict[str, Assessed]:
    """Triangulate, filter and smooth one recording, and compare each with the truth."""
    rng = np.random.default_rng(seed)
    cameras, truth = ring(), animal(num_frames, fps, rng)
    networks, likelihood, occluded = record(truth, cameras, fps, rng)
    points, times = networks[0], np.arange(num_frames) / fps
    robust = reconstruct(points, cameras)
    bridged = bridge(robust.points)
    off = turned(cameras, 0.2)
    rows = {
        "linear triangulation": reconstruct(points, cameras, method="linear").points,
        "robust triangulation": robust.points,
        "median filter, 5 frames": median_filter(bridged, (5, 1, 1)),
        "Savitzky-Golay, 9 frames": savgol_filter(bridged, 9, 3, axis=0),
        "Butterworth, best by truth": best_butterworth(bridged, truth, fps),
        "camera off, robust triangulation": reconstruct(points, off).points,
    }
    each = np.stack([likelihood] * len(networks))
    seen = observe(networks, each, each)
    found = smooth(points, cameras, likelihood=likelihood, times=times)
    smoothed = {
        "mvgeom smooth": found,
        "mvgeom smooth, bones": with_bones(found, points, cameras, likelihood, times),
        "mvgeom smooth, ensemble of 3": smooth(seen.points, cameras, covariance=seen.covariance, times=times),
        "camera off, mvgeom smooth": smooth(points, off, likelihood=likelihood, times=times),
    }
    for count in (3, 2):
        part, some = cameras.select(cameras.names[:count]), points[:, :count]
        plain = smooth(some, part, likelihood=likelihood[:, :count], times=times)
        smoothed[f"{count} views"] = plain
        smoothed[f"{count} views, bones"] = with_bones(plain, some, part, likelihood[:, :count], times)
    speed = np.linalg.norm(np.gradient(truth, axis=0), axis=-1)
    fast, hidden = speed > np.quantile(speed, 0.9), occluded.sum(1) >= 2
    assessed = {name: Assessed(errors=errors_of(each, truth, fast, hidden), inside=None) for name, each in rows.items()}
    return assessed | {
        name: Assessed(errors=errors_of(each.points, truth, fast, hidden), inside=coverage(each, truth, hidden))
        for name, each in smoothed.items()
    }


def turned(cameras: CameraGroup, degrees: float) -> CameraGroup:
    """Return the cameras with a wrong pose of the second: turned about its own vertical axis."""
    rotation = cameras.rotation.copy()
    rotation[1] = Rotation.from_euler("y", degrees, degrees=True).as_matrix() @ rotation[1]
    centers = -np.einsum("vji,vj->vi", cameras.rotation, cameras.translation)
    return replace(cameras, rotation=rotation, translation=-np.einsum("vij,vj->vi", rotation, centers))


def errors_of(positions: np.ndarray, truth: np.ndarray, fast: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Return the errors of `Judged` in mm; positions that are missing do not count."""
    error = np.linalg.norm(positions - truth, axis=-1)
    values = [np.nanmean(error), np.nanmedian(error), np.nanquantile(error, 0.95)]
    return np.array([*values, np.nanmean(error[fast]), np.nanmean(error[hidden])])


def with_bones(
    found: Smoothed, points: np.ndarray, cameras: CameraGroup, likelihood: np.ndarray, times: np.ndarray
) -> Smoothed:
    """Hold the lengths of bones, with the noise that was learned without them."""
    bones = [Bone(first=first, second=second) for first, second in BONES]
    return smooth(points, cameras, likelihood=likelihood, times=times, noise=found.noise, bones=bones)


def coverage(found: Smoothed, truth: np.ndarray, hidden: np.ndarray) -> Inside:
    """Return the shares of true positions inside of the stated regions."""
    difference = found.points - truth
    distance = np.einsum("tki,tkij,tkj->tk", difference, np.linalg.inv(found.covariance), difference)
    in_90 = distance < chi2.ppf(0.9, 3)
    return Inside(
        every=np.array([(distance < chi2.ppf(level, 3)).mean() for level in LEVELS]),
        hidden=float(in_90[hidden].mean()),
        keypoints=in_90.mean(0),
    )


def bridge(points: np.ndarray) -> np.ndarray:
    """Fill missing positions by linear interpolation, as filters need them."""
    filled = points.copy()
    for keypoint in range(points.shape[1]):
        known = np.isfinite(points[:, keypoint, 0])
        for axis in range(3):
            there = np.flatnonzero(known)
            filled[:, keypoint, axis] = np.interp(np.arange(len(points)), there, points[known, keypoint, axis])
    return filled


def best_butterworth(points: np.ndarray, truth: np.ndarray, fps: int) -> np.ndarray:
    """Return the low-pass filtered positions whose cut-off frequency has the least error."""
    cutoffs = np.geomspace(0.02, 0.45, 16) * fps
    filtered = [sosfiltfilt(butter(4, cutoff, fs=fps, output="sos"), points, axis=0) for cutoff in cutoffs]
    return min(filtered, key=lambda each: float(np.linalg.norm(each - truth, axis=-1).mean()))


def compare_fly(peer: Path | None) -> Table:
    cameras = CameraGroup.load(FLY / "calibration.toml")
    files = [[FLY / f"fly_{name}.seed{seed}.csv" for name in cameras.names] for seed in range(3)]
    tables = [[read_keypoints(path) for path in row] for row in files]
    every = np.array([[table.points for table in row] for row in tables]).swapaxes(1, 2)  # (S, T, V, K, 2)
    likelihood = np.array([[table.likelihood for table in row] for row in tables]).swapaxes(1, 2)
    mean, deviation = every.mean(0), every - every.mean(0)
    spread = np.einsum("stvki,stvkj->tvkij", deviation, deviation) / 6  # of the mean of three
    table = Table(title="fly: a view predicted from the two others, second half", title_justify="left")
    for name in ("", "mean px", "median px", "neg. log likelihood", "50/80/90/99 % intervals", "s per frame and view"):
        table.add_column(name, justify="left" if not name else "right")
    triangulated, ours_one, ours_three, theirs = [], [], [], []
    later_half = slice(len(mean) // 2, None)
    learned = {
        "one": learn_noise(every[0, : len(mean) // 2], cameras, likelihood=likelihood[0, : len(mean) // 2]),
        "three": learn_noise(mean[: len(mean) // 2], cameras, covariance=spread[: len(mean) // 2]),
    }
    seconds = dict.fromkeys(("one", "three", "peer"), 0.0)
    for view in range(3):
        others = [other for other in range(3) if other != view]
        pair = cameras.select([cameras.names[other] for other in others])
        world = reconstruct(every[0][:, others], pair, method="refined").points
        triangulated.append(score(every[0][:, view], project(world, cameras)[:, view], None, later_half))
        for name, scores in (("one", ours_one), ("three", ours_three)):
            noise = learned[name].of_views(others)
            begin = time.perf_counter()
            if name == "one":
                keypoints = every[0]
                found = smooth(every[0][:, others], pair, likelihood=likelihood[0][:, others], noise=noise)
            else:
                keypoints = mean
                found = smooth(mean[:, others], pair, covariance=spread[:, others], noise=noise)
            seconds[name] += time.perf_counter() - begin
            pixels, covariance = found.project(cameras)
            stated = spread if name == "three" else covariance_from_likelihood(likelihood[0])
            present, frames_of = np.isfinite(keypoints).all(-1), np.arange(len(keypoints), dtype=float)
            averaged = averaged_covariance(stated, present, frames_of, learned[name].window)
            own = learned[name].covariance(averaged)[:, view]
            scores.append(score(keypoints[:, view], pixels[:, view], covariance[:, view] + own, later_half))
        if peer is not None:
            pixels, covariance, taken = run_peer(peer, cameras, pair, files, others, view)
            seconds["peer"] += taken
            median = np.median(every, axis=0)[:, view]
            own = every.var(axis=0)[:, view][..., None] * np.eye(2)
            theirs.append(score(median, pixels, covariance + own, later_half))
    frames = 3 * len(mean) * 2
    rows = {
        "triangulation, one network": (triangulated, None),
        "mvgeom smooth, one network": (ours_one, seconds["one"]),
        "mvgeom smooth, three networks": (ours_three, seconds["three"]),
        "ensemble-kalman-smoother, three": (theirs, seconds["peer"]),
    }
    for name, (scores, taken) in rows.items():
        if scores:
            average = np.mean(scores, axis=0)
            inside = " ".join(f"{value:.2f}" for value in average[3:]) if np.isfinite(average[2]) else ""
            likely = f"{average[2]:.2f}" if np.isfinite(average[2]) else ""
            speed = "" if taken is None else f"{taken / frames:.5f}"
            table.add_row(name, f"{average[0]:.2f}", f"{average[1]:.2f}", likely, inside, speed)
    return table


def load_human4(cameras: CameraGroup) -> np.ndarray:
    """Return the labels (T, V, K, 2) of human4 in full-image px."""
    tables = {name: read_keypoints(HUMAN / f"CollectedData_{name}.csv") for name in cameras.names}
    points = stack_views(tables).points.copy()
    for view, name in enumerate(cameras.names):
        boxes = read_labeled_boxes(HUMAN / f"bboxes_{name}.csv").select(tables[name].rows)
        points[:, view] = affine.apply(np.asarray(affine.invert(affine.from_box(boxes, HUMAN_CROP))), points[:, view])
    return points


def compare_human4(points: np.ndarray, cameras: CameraGroup, title: str) -> Table:
    """Predict each view of human4 from the others, with and without smoothing."""
    table = Table(title=f"{title}: a view predicted from the others", title_justify="left")
    for name in ("", "mean px", "median px", "neg. log likelihood", "50/80/90/99 % intervals"):
        table.add_column(name, justify="left" if not name else "right")
    everything, every = slice(None), learn_noise(points, cameras)
    rows: dict[str, list[list[float]]] = {"triangulation": [], "mvgeom smooth": []}
    for view in range(len(cameras)):
        others = [other for other in range(len(cameras)) if other != view]
        rig = cameras.select([cameras.names[other] for other in others])
        world = reconstruct(points[:, others], rig).points
        found = smooth(points[:, others], rig)
        pixels, covariance = found.project(cameras)
        own = every.covariance(np.zeros((*points.shape, 2)))[:, view]
        # The same keypoints in both rows: those that single frames give.
        given = np.where(np.isfinite(world), 1.0, np.nan).mean(-1)[..., None] * points[:, view]
        rows["triangulation"].append(score(given, project(world, cameras)[:, view], None, everything))
        rows["mvgeom smooth"].append(score(given, pixels[:, view], covariance[:, view] + own, everything))
    for name, scores in rows.items():
        average = np.mean(scores, axis=0)
        known = np.isfinite(average[2])
        inside = " ".join(f"{value:.2f}" for value in average[3:]) if known else ""
        values = f"{average[0]:.2f}", f"{average[1]:.2f}", f"{average[2]:.2f}" if known else ""
        table.add_row(name, *values, inside)
    return table


def compare_run(run: Path) -> Table:
    """Compare the 3D of a run's predicted videos with the truth, before and after smoothing."""
    table = Table("", "mean", "median", "95 %", "90 % intervals per axis", title=f"{run}: 3D error, world units")
    for files in find_predictions(run):
        cameras, session = load_prediction_cameras(files, None), load_predictions(files)
        assert cameras is not None
        assert session.in_3d is not None
        assert files.calibration is not None
        truth = read_truth_of_session(files.calibration.parents[1] / "points_3d.csv", session.name)
        # Fused views have no errors of their own; what each view showed has.
        shown = load_predictions(replace(files, tables=files.evidence or files.tables))
        likelihood = shown.likelihood[None]
        seen = observe(shown.points[None], likelihood, likelihood)
        found = smooth(seen.points, cameras, covariance=seen.covariance, shared=files.shared_error)
        smoothed = found.points, np.sqrt(np.diagonal(found.covariance, axis1=-2, axis2=-1))
        for name, (positions, std) in {
            "predict": (session.in_3d.points, session.in_3d.std),
            "smooth": smoothed,
        }.items():
            difference = np.abs(positions[: len(truth)] - truth)
            error = np.linalg.norm(difference, axis=-1)
            inside = (difference < 1.645 * std[: len(truth)])[np.isfinite(difference)].mean()
            values = np.nanmean(error), np.nanmedian(error), np.nanquantile(error, 0.95)
            table.add_row(f"{session.name}, {name}", *(f"{value:.1f}" for value in values), f"{inside:.2f}")
    return table


def read_truth_of_session(path: Path, session: str) -> np.ndarray:
    """Return the true positions (T, K, 3) of a generated session's frames, in their order."""
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)
    rows = [Path(name).parent.name == session for name in table.index]
    return table.to_numpy()[rows].reshape(sum(rows), -1, 3)


def score(
    keypoints: np.ndarray, predicted: np.ndarray, covariance: np.ndarray | None, later_half: slice
) -> list[float]:
    """Mean and median distance in px, mean negative log likelihood and shares inside of the intervals."""
    residual = (keypoints - predicted)[later_half]
    distance = np.linalg.norm(residual, axis=-1)
    values = [float(np.nanmean(distance)), float(np.nanmedian(distance))]
    if covariance is None:
        return [*values, *[np.nan] * (1 + len(LEVELS))]
    spread = covariance[later_half]
    known = np.isfinite(residual).all(-1)
    residual, spread = residual[known], spread[known]
    square = np.einsum("ni,nij,nj->n", residual, np.linalg.inv(spread), residual)
    likely = -float(log_density(residual, spread).mean())
    return [*values, likely, *(float((square < chi2.ppf(level, 2)).mean()) for level in LEVELS)]


def run_peer(
    peer: Path, cameras: CameraGroup, pair: CameraGroup, files: list[list[Path]], others: list[int], view: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the peer's prediction (T, K, 2) in px of a view that it has not seen, its covariances, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        calibration = Path(folder) / "calibration.toml"
        pair.save(calibration)
        given = [str(row[other]) for row in files for other in others]
        begin = time.perf_counter()
        subprocess.run([peer, "-c", PEER, calibration, folder, *given], check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - begin
        table = pd.read_csv(Path(folder) / "multicam_3d_results.csv", header=[0, 1, 2], index_col=0)
    values = table.to_numpy().reshape(len(table), -1, 6)
    pixels, derivative = linearize(values[..., :3], cameras)
    spread = np.einsum("tki,ij->tkij", values[..., 3:], np.eye(3))
    return pixels[:, view], project_covariance(derivative, spread)[:, view], seconds


if __name__ == "__main__":
    main()
