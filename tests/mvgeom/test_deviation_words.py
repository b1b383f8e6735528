"""Standard deviations in messages and tables, also of what nothing determines."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.boards import BOARD, arc_of_cameras, film
from mvgeom.calibration import calibrate, from_points
from mvgeom.calibration.deviation_words import degrees, percent
from mvgeom.calibration.result_tables import calibration_table


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (percent(0.0312), "3 %"),
        (percent(0.0312, 1), "3.1 %"),
        (percent(1.0), "100 %"),
        (percent(5e6), "more than 100 %"),
        (degrees(0.04, 2), "0.04 degrees"),
        (degrees(4e7), "more than 180 degrees"),
    ],
)
def test_deviations_beyond_all_sense_are_limits(found: str, expected: str) -> None:
    assert found == expected


def test_a_table_shows_limits_of_what_is_open() -> None:
    truth = arc_of_cameras(2)
    result = calibrate(from_points(truth.names, truth.sizes, BOARD, film(truth, 12, noise=0.2, spread=0.5).points))
    columns = {column.header: column for column in calibration_table(result, "").columns}
    assert "±>" not in "".join(map(str, columns["focal px"].cells))
    for field in (result.deviations.focal, result.deviations.rotation_deg):
        field[1] = 1e7
    columns = {column.header: list(column.cells) for column in calibration_table(result, "").columns}
    assert columns["focal px"][1].endswith(f"±>{result.cameras.matrix[1, 0, 0]:.0f}")
    assert ">" not in columns["focal px"][0]
    assert columns["pose ±deg"][1] == ">180"
    assert np.isfinite(result.deviations.position).all()
