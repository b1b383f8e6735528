"""Which set of a split the headline figures are about, and the order in which sets are shown."""

from __future__ import annotations

import pandas as pd

from mvtrain.evaluation.evaluation import Evaluation

_ORDER = ("test", "validation", "train", "unused")


def held_out_set(evaluation: Evaluation) -> str:
    """The set that tells most about new images, of those that have any moment: test, else validation, else train."""
    return next(name for name in _ORDER if (evaluation.split == name).any())


def held_out_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with a column `split`, test before validation before train, else as they were."""
    return table.iloc[table["split"].map(_ORDER.index).argsort(kind="stable").to_numpy()].reset_index(drop=True)
