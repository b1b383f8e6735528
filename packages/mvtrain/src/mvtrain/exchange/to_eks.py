"""Writer for the ensemble Kalman smoother (eks): one CSV per view and model in one folder per recording.

For eks, the files of a view are those with the view's name in their names, so names have only the view and a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mvgeom.errors import InputError
from mvgeom.files import file_name
from mvtrain.exchange.write_options import WriteOptions, write_cameras
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.predict.saved_predictions import PredictedSession


def write(models: Sequence[PredictedSession], folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>/<view>_<number of the model>.csv`, and `calibrations/<session>.toml`.

    Args:
        models: Predictions of the same recording by every model of the ensemble.
        folder: Folder to write into.
        options: Options of the recording.

    Returns:
        Notes for the user.

    Raises:
        InputError: The models have different views, keypoints or numbers of frames (`tables-differ`).
    """
    first = models[0]
    for other in models[1:]:
        for what, ours, theirs in (
            ("views", first.view_names, other.view_names),
            ("keypoints", first.keypoint_names, other.keypoint_names),
            ("numbers of frames", (len(first),), (len(other),)),
        ):
            if ours != theirs:
                raise InputError(
                    f"session {first.name!r}: {what} of the models differ, found {', '.join(map(str, ours))} and "
                    f"{', '.join(map(str, theirs))}",
                    code="tables-differ",
                    session=first.name,
                    found=theirs,
                    expected=ours,
                )
    for number, model in enumerate(models):
        for view, name in enumerate(model.view_names):
            rows = PredictionRows(
                index=range(len(model)), points=model.points[:, view], likelihood=model.likelihood[:, view]
            )
            write_predictions(
                folder / file_name(first.name) / file_name(f"{name}_{number}.csv"), model.keypoint_names, [rows]
            )
    notes = write_cameras(options.cameras, folder / "calibrations" / file_name(f"{first.name}.toml"), "anipose")
    return notes + _notes(first, len(models))


def _notes(session: PredictedSession, num_models: int) -> list[str]:
    """Return notes about an ensemble of one, and about names of views that contain each other."""
    notes = []
    if num_models == 1:
        notes.append(
            "the ensemble has one model. Give the predictions of several runs with different training.rng_seed_model_pt"
        )
    files = [f"{view}_{number}.csv" for view in session.view_names for number in range(num_models)]
    for view in session.view_names:
        mistaken = [name for name in files if view in name and not name.startswith(f"{view}_")]
        if mistaken:
            notes.append(
                f"eks would use {mistaken[0]} as a file of view {view}, because its name contains the view's name. "
                f"Without a calibration, call eks with --camera-names {view}_"
            )
    return notes
