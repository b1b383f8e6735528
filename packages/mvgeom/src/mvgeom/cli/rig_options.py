"""Options that commands which compute rigs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ForceOption", "LossName", "OutputOption", "ReportOption"]


class LossName(StrEnum):
    """Losses of `mvgeom.calibration`."""

    linear = "linear"
    huber = "huber"
    soft_l1 = "soft_l1"
    cauchy = "cauchy"


ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FOLDER", help="Write numbers, residuals and a figure per camera.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Write the calibration in spite of errors that were found.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Calibration to write; format by suffix.")]
