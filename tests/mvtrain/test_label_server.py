"""The page's server: what it answers, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.labeling import SIZE, Served, make_project, serve, tables, true_points
from helpers.videos import write_video
from mvtrain.label import open_tables
from mvtrain.label.server import MAX_BODY
from mvtrain.label.service import LabelOptions
from mvtrain.project.label_tables import read_labels

CLICK = [10.0, 20.0, 2, "click"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.fixture
def served(root: Path) -> Iterator[Served]:
    with serve(root) as server:
        yield server


READS = ("/api/project", "/api/frames/0", "/api/frames/0/views/0/image", "/api/frames/0/views/0/video/1")
WRITES = ("/api/edits", "/api/save", "/api/reload", "/api/visible", "/api/frames/0/geometry")
FOREIGN = {
    "no secret": {"x-mvtrain-secret": ""},
    "wrong secret": {"x-mvtrain-secret": "guess"},
    "secret of other letters": {"x-mvtrain-secret": "gü\xe9ss"},
    "another host": {"host": "evil.example"},
    "another host on this port": {"host": "evil.example:{port}"},
    "no host": {"host": ""},
    "another port": {"host": "127.0.0.1:1"},
    "another origin": {"origin": "http://evil.example"},
    "another origin of this machine": {"origin": "http://127.0.0.1:1"},
    "an origin without a name": {"origin": "null"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_requests_of_others_are_refused_whatever_they_ask_for(served: Served, name: str) -> None:
    before = tables(served.store.project.root)
    headers = {key: value.format(port=served.port) for key, value in FOREIGN[name].items()}
    for path in READS:
        assert served.request("GET", path, headers=headers).status in (400, 403), path
    for path in WRITES:
        assert served.request("POST", path, {}, headers=headers).status in (400, 403), path
    assert served.store.unsaved_frames() == []
    assert tables(served.store.project.root) == before


def test_the_page_itself_needs_no_secret_but_the_right_host(served: Served) -> None:
    for path in ("/", "/label.js", "/label.css", "/api.js"):
        assert served.request("GET", path, headers={"x-mvtrain-secret": ""}).status == 200, path
        assert served.request("GET", path, headers={"host": f"evil.example:{served.port}"}).status == 403, path


def test_every_answer_forbids_other_pages_to_use_it(served: Served) -> None:
    for path in ("/", "/api/project", "/api/frames/0/views/0/image", "/nothing"):
        headers = served.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        assert "set-cookie" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/../config.yaml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/frames/0/views/0/../../../../../etc/passwd",
        "/api/frames/0/views/0/video/..%2f..%2fsecret",
        "/api/frames/..%2f0",
        "/label.py",
        "//etc/passwd",
        "/api/frames/99",
        "/api/frames/0/views/99/image",
        "/api/frames/0/views/0/video/999",
    ],
)
def test_no_path_leaves_the_project(served: Served, path: str) -> None:
    assert served.get(path).status == 404


def test_images_that_a_table_names_outside_of_the_project_are_not_served(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "labeled-data/s_view0/img00000000.png", tmp_path / "outside.png")
    path = root / "CollectedData_view0.csv"
    path.write_text(path.read_text().replace("labeled-data/s_view0/img00000000.png", "../outside.png"))
    for view in (1, 2):
        other = root / f"CollectedData_view{view}.csv"
        other.write_text(other.read_text().replace(f"labeled-data/s_view{view}/img00000000.png", ""))
    with pytest.raises(ValueError, match="outside of the project"), serve(root):
        pass


def test_images_may_be_named_by_their_absolute_paths_in_the_project(root: Path) -> None:
    for path in root.glob("CollectedData_*.csv"):
        path.write_text(path.read_text().replace("labeled-data/", f"{root}/labeled-data/"))
    with serve(root) as served:
        assert served.get("/api/frames/0/views/0/image").status == 200


HUGE = 10**400
"""A number that JSON can have and a float cannot."""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 422),
        ([], 422),
        ({"client": "a", "first": 0, "generation": 1}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [["0", [[0, 0, CLICK]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0, [[0, 0, ["10", 20, 2, None]]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0, [[0, 0, [10, 20, 2, "../x"]]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0, [[0, 9, CLICK]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0, [[0, 0, [SIZE + 1, 20, 2, "click"]]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[9, [[0, 0, CLICK]]]]}, 404),
        ({"client": "a", "first": 0, "generation": 9, "edits": [[0, [[0, 0, CLICK]]]]}, 409),
        (b"[" * 100_000, 422),
        (b'{"edits": ' + b'{"a": ' * 100_000, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0, [[0, 0, [HUGE, 20, 2, "click"]]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0, [[0, 0, [10, 20, HUGE, "click"]]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[0, [[0, HUGE, CLICK]]]]}, 422),
        ({"client": "a", "first": 0, "generation": 1, "edits": [[HUGE, [[0, 0, CLICK]]]]}, 404),
        ({"client": "a", "first": 0, "generation": HUGE, "edits": [[0, [[0, 0, CLICK]]]]}, 409),
        (b" " * (MAX_BODY + 1), 413),
    ],
)
def test_requests_that_make_no_sense_are_refused(served: Served, body: object, status: int) -> None:
    answer = served.request("POST", "/api/edits", body)
    assert answer.status == status
    assert answer.code
    assert served.store.unsaved_frames() == []


def test_edits_are_saved_and_a_repeated_one_is_skipped(served: Served) -> None:
    assert served.edit(0, [[0, 0, CLICK]]).status == 200
    assert served.edit(0, [[0, 0, [11.0, 21.0, 2, "click"]]], first=1).status == 200
    # The page was closed before it had the answers, and sends both again.
    assert served.edit(0, [[0, 0, CLICK]]).json()["revision"] == 2
    assert served.post("/api/save").json()["saved"] == ["labeled-data/s_view0/img00000000.png"]
    table = read_labels(served.store.project.root / "CollectedData_view0.csv")
    assert table.points[0, 0].tolist() == [11.0, 21.0]


def test_a_refused_edit_does_not_hold_back_those_after_it(served: Served) -> None:
    outside = [-5.0, 20.0, 2, "click"]
    edits = [[0, [[0, 0, CLICK]]], [0, [[0, 1, outside]]], [0, [[0, 2, CLICK]]]]
    answer = served.post("/api/edits", {"client": "a", "first": 0, "generation": 1, "edits": edits})
    assert (answer.status, answer.json()["done"]) == (422, 2)
    assert served.post("/api/edits", {"client": "a", "first": 2, "generation": 1, "edits": edits[2:]}).status == 200
    assert served.store.visible[0, 0].tolist() == [2, 0, 2]


def test_a_table_that_was_changed_answers_409_until_the_page_reloads(served: Served) -> None:
    served.edit(0, [[0, 0, CLICK]])
    path = served.store.project.root / "CollectedData_view0.csv"
    path.write_text(path.read_text() + "\n")
    answer = served.post("/api/save")
    assert (answer.status, answer.code) == (409, "changed-file")
    assert served.post("/api/reload").json()["generation"] == 2
    assert served.edit(1, [[0, 0, CLICK]], first=1).code == "stale-page"
    assert served.post("/api/save").status == 200
    assert read_labels(path).points[0, 0].tolist() == [10.0, 20.0]


def test_a_table_that_cannot_be_written_answers_500_and_labels_stay(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.edit(0, [[0, 0, CLICK]])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
        answer = served.post("/api/save")
    assert (answer.status, answer.code) == (500, "unwritable-file")
    assert served.get("/api/frames/0").json()["labels"][0][0] == CLICK
    assert open_tables.TableText.read(served.store.project.root / "CollectedData_view0.csv").is_unchanged()


def test_the_server_saves_by_itself_when_the_page_is_gone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvtrain.label.server._IDLE_SECONDS", 0.1)
    with serve(root) as served:
        served.edit(0, [[0, 0, CLICK]])
        for _ in range(200):
            if read_labels(root / "CollectedData_view0.csv").visible.any():  # type: ignore[union-attr]
                return
            served.get("/api/project")
    pytest.fail("not saved")


def test_geometry_follows_labels_that_are_not_made_yet(served: Served) -> None:
    points = true_points(3, 3)[1, :, 0]
    none = [None, None, 0, None]
    one = [[*points[0], 2, "click"], none, none]
    answer = served.post("/api/frames/1/geometry", {"keypoints": [0], "labels": [one]}).json()
    (curve,) = answer["curves"]["0"]
    assert curve["from"] == 0
    assert [bool(pieces) for pieces in curve["pieces"]] == [False, True, True]
    two = [one[0], [*points[1], 2, "click"], none]
    answer = served.post("/api/frames/1/geometry", {"keypoints": [0], "labels": [two]}).json()
    assert answer["curves"] == {}
    np.testing.assert_allclose(answer["projections"][2][0], points[2], atol=2e-3)
    assert served.store.unsaved_frames() == []


@pytest.mark.parametrize("origin", ["projection", None])
def test_only_clicks_move_the_point_so_that_further_ones_refine_it(served: Served, origin: str | None) -> None:
    points = true_points(3, 3)[0, :, 0]
    labels = [[*points[0], 2, "click"], [*points[1], 2, "click"], [*(points[2] + 4), 2, origin]]
    answer = served.post("/api/frames/0/geometry", {"keypoints": [0], "labels": [labels]}).json()
    moved = np.linalg.norm(np.array(answer["projections"][2][0]) - points[2])
    assert (moved < 0.01) == (origin == "projection")


def test_occluded_labels_are_no_clicks(served: Served) -> None:
    points = true_points(3, 3)[0, :, 0]
    labels = [[*points[0], 2, "click"], [*points[1], 2, "click"], [*(points[2] + 4), 1, "click"]]
    answer = served.post("/api/frames/0/geometry", {"keypoints": [0], "labels": [labels]}).json()
    np.testing.assert_allclose(answer["projections"][2][0], points[2], atol=0.01)
    assert answer["errors"][2][0] is None


@pytest.mark.parametrize("kind", ["no calibration", "one view"])
def test_without_geometry_labels_are_made_all_the_same(tmp_path: Path, kind: str) -> None:
    views = 1 if kind == "one view" else 2
    root = make_project(tmp_path / "project", num_views=views, calibrated=kind != "no calibration")
    with serve(root) as served:
        assert served.get("/api/frames/0").json()["geometry"] is None
        body = {"keypoints": [0], "labels": [[CLICK] * views]}
        assert served.post("/api/frames/0/geometry", body).json() is None
        assert served.edit(0, [[0, 0, CLICK]]).json()["frames"]["0"]["labeled"] == 1


def test_sessions_have_their_own_calibrations(tmp_path: Path) -> None:
    """The second session has none: its frame has no geometry, the first's has."""
    root = make_project(tmp_path / "project", num_views=2, num_frames=2)
    for view in ("view0", "view1"):
        folder = root / f"labeled-data/other_{view}"
        folder.mkdir()
        (root / f"labeled-data/s_{view}/img00000001.png").rename(folder / "img00000001.png")
        path = root / f"CollectedData_{view}.csv"
        path.write_text(path.read_text().replace(f"s_{view}/img00000001", f"other_{view}/img00000001"))
    with serve(root) as served:
        assert served.get("/api/frames/0").json()["geometry"] is not None
        assert served.get("/api/frames/1").json()["geometry"] is None


def test_stored_images_are_sent_as_they_are_and_others_are_encoded(root: Path) -> None:
    path = root / "labeled-data/s_view0/img00000000.png"
    sixteen = (cv2.imread(str(path)).astype(np.uint16)) * 257
    cv2.imwrite(str(root / "labeled-data/s_view0/img00000001.png"), sixteen)
    with serve(root) as served:
        plain, deep = (served.get(f"/api/frames/{frame}/views/0/image") for frame in (0, 1))
        assert plain.body == path.read_bytes()
        assert plain.headers["content-type"] == "image/png"
        decoded = cv2.imdecode(np.frombuffer(deep.body, np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded.dtype == np.uint8
        np.testing.assert_array_equal(decoded, sixteen // 257)
        (root / "labeled-data/s_view0/img00000002.png").write_bytes(b"damaged")
        assert served.get("/api/frames/2/views/0/image").code == "damaged-file"


def test_neighbors_come_from_the_video_and_one_that_cannot_be_decoded_is_reported(root: Path) -> None:
    (root / "videos").mkdir()
    images = [np.full((SIZE, SIZE, 3), 40 * frame, np.uint8) for frame in range(5)]
    write_video(root / "videos" / "s_view0.mp4", images)
    (root / "videos" / "s_view1.mp4").write_bytes(b"not a video")
    with serve(root) as served:
        videos = [view["video"] for view in served.get("/api/frames/1").json()["views"]]
        assert videos == [1, 1, None]
        answer = served.get("/api/frames/1/views/0/video/2")
        image = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
        assert abs(float(image.mean()) - 120) < 6
        assert served.get("/api/frames/1/views/0/video/-1").status == 200
        assert served.get("/api/frames/1/views/0/video/-2").status == 404
        assert served.get("/api/frames/1/views/0/video/9").code == "damaged-file"
        assert served.get("/api/frames/1/views/1/video/1").code == "unreadable-file"
        assert served.get("/api/frames/1/views/2/video/1").status == 404
        assert served.edit(1, [[1, 0, CLICK]]).status == 200


def test_the_list_of_frames_restricts_and_orders(root: Path, tmp_path: Path) -> None:
    names = tmp_path / "worst.csv"
    names.write_text("error,image\n3,labeled-data/s_view1/img00000002.png\n2,labeled-data/s_view0/img00000000.png\n")
    with serve(root, LabelOptions(frames=names)) as served:
        frames = served.get("/api/project").json()["frames"]
        assert [frame["name"][-7:] for frame in frames] == ["002.png", "000.png"]
        served.edit(0, [[0, 0, CLICK]])
        served.post("/api/save")
    assert read_labels(root / "CollectedData_view0.csv").points[2, 0].tolist() == [10.0, 20.0]


def test_ellipses_grow_with_the_noise_of_the_clicks(tmp_path: Path) -> None:
    """Clicks in three views that are 3 px off; labels that were accepted as projections teach nothing."""
    root = make_project(tmp_path / "project", num_views=4, num_frames=12)
    points = true_points(12, 4)
    points += np.random.default_rng(0).normal(0, 2, points.shape)
    points = np.clip(points, 0, SIZE - 1)
    two = [[*points[0, view, 0], 2, "click"] for view in range(2)] + [[None, None, 0, None]] * 2

    def ellipse(served: Served) -> tuple[float, float]:
        answer = served.post("/api/frames/0/geometry", {"keypoints": [0], "labels": [two]}).json()
        return answer["noise"], answer["ellipses"][2][0][0]

    def label(served: Served, origin: str, first: int) -> None:
        for frame in range(1, 12):
            labels = [[view, k, [*points[frame, view, k], 2, origin]] for view in range(3) for k in range(3)]
            assert served.edit(frame, labels, first=first + frame).status == 200

    with serve(root) as served:
        noise, radius = ellipse(served)
        assert noise == served.get("/api/project").json()["noise"] == 1.0
        label(served, "projection", 0)
        label(served, "prediction", 20)
        assert ellipse(served) == (noise, radius)
        label(served, "click", 40)
        learned, grown = ellipse(served)
        assert 1.5 < learned < 2.3
        assert grown / radius == pytest.approx(learned / noise, rel=0.02)
    with serve(root) as served:  # the labels of a project that is opened teach it, too
        assert ellipse(served)[0] == learned
