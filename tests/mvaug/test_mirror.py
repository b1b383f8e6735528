"""Left and right by name."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.errors import raises_input
from mvaug import Augmentation
from mvaug.mirror import mirrored_order


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("LeftEar", "RightEar"),
        ("left_ear", "right_ear"),
        ("ear_left", "ear_right"),
        ("earLeft", "earRight"),
        ("LEFT_EAR", "RIGHT_EAR"),
        ("front_left_paw", "front_right_paw"),
        ("ear-left-2", "ear-right-2"),
        ("left ear", "right ear"),
        ("LShoulder", "RShoulder"),
        ("LBigToe", "RBigToe"),
        ("L_ear", "R_ear"),
        ("l_ear", "r_ear"),
        ("ear_L", "ear_R"),
        ("ear_l", "ear_r"),
        ("earL", "earR"),
        ("paw_l_bot", "paw_r_bot"),
        ("lwrist", "rwrist"),
    ],
)
def test_pairs_swap_and_the_midline_stays(left, right):
    assert mirrored_order([left, "nose", right, "tail"]) == (2, 1, 0, 3)


def test_names_without_sides_stay():
    assert mirrored_order(["lip", "roof", "MidHip", "leftover", "rightmost", "Lung", "Rib"]) == tuple(range(7))


def test_the_order_is_an_involution():
    names = ["Nose", "RHip", "LBigToe", "MidHip", "LHip", "RBigToe"]
    order = np.array(mirrored_order(names))
    np.testing.assert_array_equal(order[order], np.arange(len(names)))
    assert [names[i] for i in order] == ["Nose", "LHip", "RBigToe", "MidHip", "RHip", "LBigToe"]


@pytest.mark.parametrize(
    ("names", "keypoint", "counterpart"),
    [(["ear_left", "nose"], "ear_left", "ear_right"), (["LShoulder", "RShoulder", "LHip"], "LHip", "RHip")],
)
def test_a_side_without_its_counterpart_is_an_error(names, keypoint, counterpart):
    with raises_input("missing-counterpart", argument="keypoint_names", keypoint=keypoint, counterpart=counterpart):
        mirrored_order(names)


def test_flipping_without_names_is_an_error():
    with raises_input("missing-argument", argument="keypoint_names"):
        Augmentation.from_config("none", False, hflip=True)
    with raises_input("missing-argument"):
        Augmentation.from_config({"Flipud": {}}, False)
