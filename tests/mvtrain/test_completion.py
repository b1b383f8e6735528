"""Labels for views that do not see a keypoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvaug import Augmentation
from mvgeom import affine, project
from mvtrain.config import load_config
from mvtrain.data.dataset import FrameDataset, ImageCache
from mvtrain.project.labels_3d import complete_labels, read_truth, triangulate_labels
from mvtrain.project.project import Project, read_project
from mvtrain.synth import SyntheticSpec, generate_project

SIZE = (72, 56)
HUMAN4 = Path(__file__).parents[2].parent / "shared" / "data" / "human4" / "config.yaml"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a project with a visible label of every keypoint in every view, a few of them outside the image."""
    path = tmp_path_factory.mktemp("data") / "project"
    generate_project(path, SyntheticSpec(num_views=4, num_frames=4, num_video_frames=4, size=96, crop=True))
    source = read_project(load_config(path / "config.yaml"))
    truth = read_truth(source)
    assert truth is not None
    frame = np.stack([project(points, cameras) for points, cameras in zip(truth, source.cameras, strict=True)])
    points = affine.apply(affine.invert(source.crop_to_full), frame)
    return replace(source, points=points, visibility=np.full(points.shape[:3], 2, dtype=np.int8))


def hide(source: Project, hidden: np.ndarray, visibility: int = 0) -> Project:
    """Return the project without the labels where `hidden` (N, V, K) is True."""
    return replace(
        source,
        points=np.where(hidden[..., None], np.nan, source.points),
        visibility=np.where(hidden, visibility, source.visibility).astype(np.int8),
    )


def complete(source: Project) -> Project:
    return complete_labels(source, triangulate_labels(source))


@given(seed=st.integers(0, 10**6), share=st.floats(0, 1), visibility=st.sampled_from([0, 1]))
@settings(max_examples=30)
def test_hidden_labels_come_back_where_two_views_have_them(
    whole: Project, seed: int, share: float, visibility: int
) -> None:
    hidden = np.random.default_rng(seed).random(whole.visibility.shape) < share
    labeled = hide(whole, hidden, visibility)
    completed = complete(labeled)
    inside = (whole.points >= -0.5) & (whole.points <= whole.file_sizes[:, :, None] - 0.5)
    known = ((~hidden).sum(1, keepdims=True) >= 2) & inside.all(-1)
    np.testing.assert_allclose(completed.points[known], whole.points[known], atol=1e-4)
    assert (completed.visibility[known] == 2).all()
    # What was labeled is not touched, and neither is what nobody knows or lies outside of the image.
    same = ~hidden | ~known
    np.testing.assert_array_equal(completed.points[same], labeled.points[same])
    np.testing.assert_array_equal(completed.visibility[same], labeled.visibility[same])


def test_labels_that_contradict_each_other_are_not_projected(whole: Project) -> None:
    hidden = np.zeros(whole.visibility.shape, dtype=bool)
    hidden[:, 3, :2] = True
    labeled = hide(whole, hidden)
    points = labeled.points.copy()
    points[:, 0, 0] += 0.3 * labeled.file_sizes[:, 0]
    completed = complete(replace(labeled, points=points))
    assert (completed.visibility[:, 3, 0] == 0).all()
    assert np.isnan(completed.points[:, 3, 0]).all()
    assert (completed.visibility[:, 3, 1] == 2).all()


def test_views_without_an_image_or_calibration_get_nothing(whole: Project) -> None:
    hidden = np.zeros(whole.visibility.shape, dtype=bool)
    hidden[:, 1] = True
    labeled = hide(whole, hidden)
    names, file_sizes = [list(row) for row in labeled.image_names], labeled.file_sizes.copy()
    names[0][1], file_sizes[0, 1] = None, 0
    cameras = (labeled.cameras[0], None, *labeled.cameras[2:])
    completed = complete(replace(labeled, image_names=tuple(map(tuple, names)), file_sizes=file_sizes, cameras=cameras))
    assert (completed.visibility[:, 1] == 2).all(1).tolist() == [False, False, True, True]
    assert (completed.visibility[:2, 1] == 0).all()


def test_samples_have_the_labels_only_where_they_are_asked_for(whole: Project) -> None:
    hidden = np.zeros(whole.visibility.shape, dtype=bool)
    hidden[:, 2, 5] = True
    labeled = hide(whole, hidden)

    def dataset(augmentation: Augmentation, labels_from_3d: bool) -> FrameDataset:
        cache = ImageCache.from_project(labeled, max_bytes=1e9)
        return FrameDataset(
            labeled, size=SIZE, augmentation=augmentation, seed=0, cache=cache, labels_from_3d=labels_from_3d
        )

    assert dataset(Augmentation.none(), False)[0, 0].visibility[2, 5] == 0
    assert dataset(Augmentation.none(), False).num_labels_from_3d == 0
    completed = dataset(Augmentation.from_config("none", True), True)
    assert completed.num_labels_from_3d == len(whole)
    assert completed.project is labeled
    sample = completed[0, 0]
    assert sample.moved
    assert sample.visibility[2, 5] == 2
    # The label goes through the same map as the image.
    before = dataset(Augmentation.from_config("none", True), False)[0, 0]
    seen = before.visibility == 2
    np.testing.assert_array_equal(sample.points[seen], before.points[seen])
    fitted = np.linalg.lstsq(
        np.c_[labeled.points[0, 2][seen[2]], np.ones(seen[2].sum())], before.points[2][seen[2]], rcond=None
    )[0]
    np.testing.assert_allclose(np.r_[whole.points[0, 2, 5], 1] @ fitted, sample.points[2, 5], atol=1e-3)


@pytest.mark.skipif(not HUMAN4.is_file(), reason="../shared/data/human4 is absent")
def test_real_labels_that_fit_badly_are_left_alone() -> None:
    """The calibration of cam3 is wrong by a degree: its labels disagree with the others'."""
    source = read_project(load_config(HUMAN4))
    points_3d = triangulate_labels(source)
    completed = complete_labels(source, points_3d)
    new = (completed.visibility == 2) & (source.visibility != 2)
    candidates = (source.visibility != 2) & np.isfinite(points_3d).all(-1)[:, None]
    assert 0 < new.sum() < candidates.sum()
