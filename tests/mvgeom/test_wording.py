"""Numbers with their nouns: `counted`, and that the packages write numbers with it."""

import numpy as np

from mvgeom.wording import counted


def test_a_noun_is_in_the_singular_for_one() -> None:
    assert [counted(number, "view") for number in (0, 1, 2)] == ["0 views", "1 view", "2 views"]
    assert counted(1, "labeled frame") == "1 labeled frame"
    assert counted(3, "labeled frame") == "3 labeled frames"
    assert counted(np.int64(1), "frame") == "1 frame"


def test_plurals_that_differ_and_formats_are_given() -> None:
    assert [counted(number, "box", "boxes") for number in (1, 2)] == ["1 box", "2 boxes"]
    assert [counted(number, "epoch", spec="g") for number in (1.0, 0.5, 30.0)] == ["1 epoch", "0.5 epochs", "30 epochs"]
