"""Inputs of labeling: predictions, lists of frames, videos, images without tables, the work that is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from helpers.errors import raises_input
from helpers.labeling import KEYPOINTS, SIZE, make_project, tables, true_points
from mvgeom import affine
from mvgeom.tables import write_labeled_boxes
from mvtrain.label.frame_list import read_frame_list, work_left
from mvtrain.label.journal import JOURNAL_FOLDER, Label
from mvtrain.label.open_tables import TableText, list_images
from mvtrain.label.prelabels import read_prelabels
from mvtrain.label.run_label import project_config
from mvtrain.label.store import LabelStore, open_store
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.project.label_tables import read_labels
from mvtrain.project.project import Project, read_project

BOX = np.array([10.0, 20.0, 50.0, 40.0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


def project_of(root: Path) -> Project:
    return read_project(project_config(root), need_labels=False)


def write(path: Path, index: list, points: np.ndarray, likelihood: np.ndarray, names: tuple = KEYPOINTS) -> None:
    write_predictions(path, names, [PredictionRows(index=index, points=points, likelihood=likelihood)])


def images(view: int, frames: range = range(3)) -> list[str]:
    return [f"labeled-data/s_view{view}/img{frame:08d}.png" for frame in frames]


@pytest.mark.parametrize("where", ["", "image_preds/project"])
def test_predictions_of_images_are_found_by_name(root: Path, tmp_path: Path, where: str) -> None:
    run = tmp_path / "run"
    points, likelihood = true_points(3, 3), np.linspace(0.1, 0.9, 27).reshape(3, 3, 3)
    for view in range(3):
        rows = [2, 0]  # another order, and not all
        names = [images(view)[row] for row in rows]
        write(run / where / f"predictions_view{view}.csv", names, points[rows, view], likelihood[rows, view])
    found = read_prelabels(run, project_of(root))
    np.testing.assert_allclose(found.points[[0, 2]], points[[0, 2]], atol=1e-3)
    np.testing.assert_allclose(found.likelihood[[0, 2]], likelihood[[0, 2]], atol=1e-3)
    assert np.isnan(found.points[1]).all()
    assert np.isnan(found.likelihood[1]).all()


def test_keypoints_are_matched_by_name_and_points_outside_of_the_image_are_left_out(root: Path, tmp_path: Path) -> None:
    points = np.array([[[5.0, 6.0], [SIZE + 1.0, 6.0]]])
    write(tmp_path / "run/predictions_view1.csv", images(1)[:1], points, np.ones((1, 2)), ("paw", "nose"))
    found = read_prelabels(tmp_path / "run", project_of(root))
    assert found.points[0, 1, 2].tolist() == [5.0, 6.0]
    assert np.isfinite(found.points).sum() == 2


def cropped(root: Path) -> Path:
    """The same project, whose images are said to be crops of larger ones."""
    for view in range(3):
        write_labeled_boxes(root / f"bboxes_view{view}.csv", images(view), np.tile(BOX, (3, 1)))
    data = {"data_dir": str(root), "bbox_file": [f"bboxes_view{view}.csv" for view in range(3)]}
    data["view_names"] = [f"view{view}" for view in range(3)]
    (root / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    return root


def test_predictions_of_videos_are_found_by_frame_and_mapped_into_crops(root: Path, tmp_path: Path) -> None:
    project = project_of(cropped(root))
    full = np.array([[[20.0 + frame, 30.0]] * 3 for frame in range(3)])
    write(tmp_path / "run/video_preds/s_view2.csv", list(range(3)), full, np.full((3, 3), 0.5))
    found = read_prelabels(tmp_path / "run", project)
    expected = affine.apply(affine.from_box(BOX, np.array([SIZE, SIZE], dtype=float)), full[1])
    np.testing.assert_allclose(found.points[1, 2], expected, atol=1e-6)
    assert np.isnan(found.points[:, :2]).all()


def test_predictions_that_are_not_of_this_project_are_refused(root: Path, tmp_path: Path) -> None:
    project = project_of(root)
    with raises_input("missing-file"):
        read_prelabels(tmp_path / "nothing", project)
    run = tmp_path / "run"
    run.mkdir()
    with raises_input("missing-file", path=run):
        read_prelabels(run, project)
    write(run / "predictions_view0.csv", ["labeled-data/x_view0/img1.png"], np.ones((1, 3, 2)), np.ones((1, 3)))
    with raises_input("missing-row"):
        read_prelabels(run, project)
    write(run / "predictions_view0.csv", images(0)[:1], np.ones((1, 1, 2)), np.ones((1, 1)), ("wing",))
    with raises_input("keypoints-differ"):
        read_prelabels(run, project)


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("image\nlabeled-data/s_view0/img00000002.png\nlabeled-data/s_view1/img00000000.png\n", [2, 0]),
        ("labeled-data\\s_view0\\img00000001.png\n", [1]),
        ("score, Image\n1, labeled-data/s/img00000001.png\n2, labeled-data/s/img00000001.png\n", [1]),
        ("session,frame,why\ns,2,nose\ns,0,tail\ns,2,nose\n", [2, 0]),
        ("frame;session\n1;s\n", [1]),
    ],
)
def test_frames_are_named_by_any_of_their_images(root: Path, tmp_path: Path, text: str, frames: list[int]) -> None:
    (tmp_path / "frames.csv").write_text(text)
    assert read_frame_list(tmp_path / "frames.csv", project_of(root)) == frames


def test_a_list_with_an_unknown_frame_or_none_is_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "frames.csv"
    with raises_input("missing-file"):
        read_frame_list(path, project_of(root))
    path.write_text("image\nlabeled-data/s_view0/img00000009.png\n")
    with raises_input("missing-row", line=2):
        read_frame_list(path, project_of(root))
    for row in ("s,9", "other,1"):
        path.write_text(f"session,frame\ns,1\n{row}\n")
        with raises_input("missing-row", line=3):
            read_frame_list(path, project_of(root))
    path.write_text("image\n")
    with raises_input("empty-file"):
        read_frame_list(path, project_of(root))


def test_images_without_tables_get_rows_for_every_frame(root: Path) -> None:
    for name in tables(root):
        (root / name).unlink()
    (root / "labeled-data/s_view1/img00000001.png").unlink()
    (root / "labeled-data/notes.txt").write_text("not an image")
    data = {"data_dir": str(root), "view_names": ["view0", "view1", "view2"], "keypoint_names": list(KEYPOINTS)}
    (root / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    with open_store(project_config(root)) as store:
        assert len(store) == 3
        assert store.has_visible
        assert store.project.image_names[1] == (images(0)[1], None, images(2)[1])
        store.edit(0, {(0, 0): Label(5.0, 6.0, 2, "click")})
        store.save()
    table = read_labels(root / "CollectedData_view0.csv")
    assert table.points[0, 0].tolist() == [5.0, 6.0]
    assert (root / "CollectedData_view1.csv").read_text().splitlines()[4] == ",,,0,,,0,,,0"


def test_tables_with_a_header_alone_keep_it(root: Path) -> None:
    headers = {name: b"".join(content.splitlines(True)[:3]) for name, content in tables(root).items()}
    for name, header in headers.items():
        (root / name).write_bytes(header)
    assert list_images(root, project_config(root).data) == 3
    assert all(content.startswith(headers[name]) for name, content in tables(root).items())
    with open_store(project_config(root)) as store:
        assert len(store) == 3


def test_tables_that_have_rows_stay_as_they_are(root: Path) -> None:
    before = tables(root)
    assert list_images(root, project_config(root).data) == 0
    assert tables(root) == before


def test_missing_tables_need_views_and_keypoints_in_the_config(root: Path) -> None:
    for name in tables(root):
        (root / name).unlink()
    with raises_input("missing-file"):
        list_images(root, project_config(root).data)


def test_a_column_is_added_beside_quoted_cells_and_a_row_without_image(tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_top.csv"
    path.write_bytes(
        b'\xef\xbb\xbfscorer,"a, b","a, b"\r\nbodyparts,"no""se","no""se"\r\ncoords,x,y\r\n\r\n,,\r\n'
        b'"i,1.png",1, 2 \r\n'
    )
    text = TableText.read(path).with_visible(missing=1)
    assert text.content.decode("utf-8-sig").split("\r\n") == [
        'scorer,"a, b","a, b","a, b"',
        'bodyparts,"no""se","no""se","no""se"',
        "coords,x,y,visible",
        "",
        ",,,",
        '"i,1.png",1, 2 ,2',
        "",
    ]


def test_frames_with_most_work_are_those_that_need_a_hand(root: Path, tmp_path: Path) -> None:
    points = true_points(3, 3)
    likelihood = np.full((3, 3, 3), 0.9)
    likelihood[1, 0, 0] = 0.2
    predicted = points.copy()
    predicted[2, 1, 1] += 30.0  # sure, but the other views say otherwise
    for view in range(3):
        write(tmp_path / f"run/predictions_view{view}.csv", images(view), predicted[:, view], likelihood[:, view])
    (root / JOURNAL_FOLDER).mkdir()
    store = LabelStore(project_config(root))
    prelabels = read_prelabels(tmp_path / "run", store.project)
    np.testing.assert_allclose(work_left(store, None, range(3))[0], 9)
    np.testing.assert_allclose(work_left(store, prelabels, range(3))[0], [0.9, 1.6, 1.8], atol=1e-3)
    everything = {(v, k): Label(*points[0, v, k], 2, "click") for v in range(3) for k in range(3)}
    store.edit(0, everything)
    store.edit(0, {(0, 0): Label(None, None, 0, "absent")})
    assert work_left(store, prelabels, [0])[0].tolist() == [0]
    store.edit(0, {(0, 1): Label(*(points[0, 0, 1] + 30), 2, "click")})
    work, disagrees = work_left(store, prelabels, [0])
    assert work[0] >= 1
    assert disagrees.tolist() == [True]
