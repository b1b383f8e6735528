"""The ensemble Kalman smoother: one CSV per view and model in one folder per recording.

It takes the files of a view to be those whose name contains the view's name, so names hold nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mvtrain.exchange.write_options import WriteOptions, write_cameras
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.predict.saved_predictions import PredictedSession


def write(models: Sequence[PredictedSession], folder: Path, options: WriteOptions) -> list[str]:
    """Write `<session>/<view>_<number of the model>.csv`, and `calibrations/<session>.toml`.

    Args:
        models: the same recording predicted by every model of the ensemble.
        folder: where to.
        options: of the recording.

    Returns:
        What the user should know.

    Raises:
        ValueError: the models differ in views, keypoints or number of frames.
    """
    first = models[0]
    for other in models[1:]:
        for what, ours, theirs in (
            ("views", first.view_names, other.view_names),
            ("keypoints", first.keypoint_names, other.keypoint_names),
            ("number of frames", (len(first),), (len(other),)),
        ):
            if ours != theirs:
                raise ValueError(
                    f"session {first.name!r}: models of an ensemble must have the same {what}, found "
                    f"{', '.join(map(str, ours))} and {', '.join(map(str, theirs))}"
                )
    for number, model in enumerate(models):
        for view, name in enumerate(model.view_names):
            rows = PredictionRows(
                index=range(len(model)), points=model.points[:, view], likelihood=model.likelihood[:, view]
            )
            write_predictions(folder / first.name / f"{name}_{number}.csv", model.keypoint_names, [rows])
    notes = write_cameras(options.cameras, folder / "calibrations" / f"{first.name}.toml", "anipose")
    return notes + _notes(first, len(models))


def _notes(session: PredictedSession, num_models: int) -> list[str]:
    notes = []
    if num_models == 1:
        notes.append(
            "an ensemble of one; give the predictions of several runs, each with its own training.rng_seed_model_pt"
        )
    files = [f"{view}_{number}.csv" for view in session.view_names for number in range(num_models)]
    for view in session.view_names:
        strangers = [name for name in files if view in name and not name.startswith(f"{view}_")]
        if strangers:
            notes.append(
                f"eks would take {strangers[0]} for a file of view {view}, because its name contains "
                f"that; without a calibration --camera-names {view}_ tells them apart"
            )
    return notes
