"""What the files of a predicted session are called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mvtrain.prediction.inputs import Session


@dataclass(frozen=True, kw_only=True)
class OutputPaths:
    """Files of one session in an output folder, those per view in the order of the views.

    Attributes:
        tables: keypoints of each view.
        table_3d: world points.
        tracks: boxes in which a subject was followed, in each view.
        labeled: videos of each view with its keypoints.
        overlay: video of all views with their keypoints.
        still: picture of one moment of it.
        summary: what it all consists of; written last.
    """

    tables: tuple[Path, ...]
    table_3d: Path
    tracks: tuple[Path, ...]
    labeled: tuple[Path, ...]
    overlay: Path
    still: Path
    summary: Path

    @classmethod
    def of(cls, session: Session, out_dir: Path) -> OutputPaths:
        """The files of a session."""

        def per_view(ending: str) -> tuple[Path, ...]:
            return tuple(out_dir / f"{video.stem}{ending}" for video in session.videos)

        return cls(
            tables=per_view(".csv"),
            table_3d=out_dir / f"{session.name}_3d.csv",
            tracks=per_view("_track.csv"),
            labeled=per_view("_labeled.mp4"),
            overlay=out_dir / f"{session.name}_overlay.mp4",
            still=out_dir / f"{session.name}_overlay.png",
            summary=out_dir / f"{session.name}_prediction.json",
        )
