"""The real page in a browser: labels are placed, accepted, corrected, undone and saved, by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from helpers.browser import local_page, one_browser
from helpers.labeling import KEYPOINTS, SIZE, Served, make_project, serve, true_points
from mvtrain.label.service import LabelOptions
from mvtrain.predict.outputs import PredictionRows, write_predictions
from mvtrain.project.label_tables import read_labels

VIEWS = 4
FRAMES = 2
TRUTH = true_points(FRAMES, VIEWS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Labeling:
    """A page with the server behind it."""

    page: Page
    served: Served

    def settle(self) -> None:
        """Wait until nothing is on its way to or from the server."""
        for _ in range(300):
            self.page.wait_for_timeout(20)
            if not self.page.evaluate("mvtrainLabel.busy"):
                return
        raise AssertionError("the page is still busy")

    def click_and_reload(self, button: str) -> None:
        """Click what makes the page load again, and wait until it has."""
        self.page.evaluate("document.documentElement.dataset.before = ''")
        self.page.click(button)
        self.page.wait_for_selector("html:not([data-before]) body[data-frame]")
        self.settle()

    def at(self, view: int, point: np.ndarray) -> tuple[float, float]:
        """Place of an image's pixel in the window."""
        script = """([view, point]) => {
            const { marks } = mvtrainLabel.views[view];
            const { left, top } = marks.getBoundingClientRect();
            const [x, y] = mvtrainLabel.views[view].toScreen(point);
            return [left + x, top + y];
        }"""
        x, y = self.page.evaluate(script, [view, [float(value) for value in point]])
        return x, y

    def click(self, view: int, point: np.ndarray) -> None:
        self.page.mouse.click(*self.at(view, point))
        self.settle()

    def drag(self, view: int, start: np.ndarray, end: np.ndarray) -> None:
        self.page.mouse.move(*self.at(view, start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(view, (start + end) / 2))
        self.page.mouse.move(*self.at(view, end))
        self.page.mouse.up()
        self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def save(self) -> None:
        self.press("Control+s")
        self.page.wait_for_selector("#saving:not(.unsaved):not(.failed)", state="attached")

    def state(self, view: int, keypoint: int) -> str:
        return str(self.page.evaluate("([view, keypoint]) => mvtrainLabel.state(view, keypoint)", [view, keypoint]))

    def saved_points(self, frame: int) -> np.ndarray:
        """(V, K, 2) labels of the tables."""
        root = self.served.store.project.root
        return np.stack([read_labels(root / f"CollectedData_view{view}.csv").points[frame] for view in range(VIEWS)])

    def saved_visible(self, frame: int) -> np.ndarray:
        root = self.served.store.project.root
        tables = [read_labels(root / f"CollectedData_view{view}.csv").visible for view in range(VIEWS)]
        return np.stack([table[frame] for table in tables if table is not None])


@pytest.fixture(scope="module", autouse=True)
def browser() -> Iterator[None]:
    with one_browser():
        yield


@contextmanager
def labeling(
    root: Path,
    options: LabelOptions | None = None,
    *,
    width: int = 1280,
    height: int = 800,
    statuses: Collection[int | str] = (),
) -> Iterator[Labeling]:
    with (
        serve(root, options) as served,
        local_page(served.address, width=width, height=height, statuses=statuses) as page,
    ):
        page.wait_for_selector("body[data-frame]")
        session = Labeling(page=page, served=served)
        session.settle()
        yield session


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", num_views=VIEWS, num_frames=FRAMES)


def test_two_clicks_of_every_keypoint_label_all_views(root: Path) -> None:
    with labeling(root) as session:
        assert "test-secret" not in session.page.url
        assert "#" not in session.page.url  # the secret is not left in the address bar
        for keypoint in range(len(KEYPOINTS)):
            session.press(str(keypoint + 1))
            session.click(0, TRUTH[0, 0, keypoint])
            curves = session.page.evaluate(
                "mvtrainLabel.geometryOf(mvtrainLabel.activeKeypoint).curves[0].pieces.length"
            )
            assert curves == VIEWS
            session.click(1, TRUTH[0, 1, keypoint])
            assert [session.state(view, keypoint) for view in range(VIEWS)] == [
                "click",
                "click",
                "proposal",
                "proposal",
            ]
            session.press("Shift+A")
            assert session.state(3, keypoint) == "projection"
        session.save()
        np.testing.assert_allclose(session.saved_points(0), TRUTH[0], atol=0.5)  # a screen px is that wide
        assert (session.saved_visible(0) == 2).all()
        assert np.isnan(session.saved_points(1)).all()
        session.page.reload()
        session.page.wait_for_selector("body[data-frame]")
        session.settle()
        assert [session.state(view, 1) for view in range(VIEWS)] == ["click", "click", "projection", "projection"]


def test_what_was_not_accepted_is_not_written(root: Path) -> None:
    with labeling(root) as session:
        session.click(0, TRUTH[0, 0, 0])
        session.click(1, TRUTH[0, 1, 0])
        session.save()
        assert np.isfinite(session.saved_points(0)).all(-1).tolist() == [[True, False, False]] * 2 + [[False] * 3] * 2


def test_undo_and_redo_reach_the_tables(root: Path) -> None:
    with labeling(root) as session:
        session.click(0, TRUTH[0, 0, 0])
        session.click(1, TRUTH[0, 1, 0])
        session.press("Shift+A")
        session.save()
        assert np.isfinite(session.saved_points(0)[:, 0]).all()
        session.press("Control+z")
        session.save()
        assert np.isfinite(session.saved_points(0)[:, 0, 0]).tolist() == [True, True, False, False]
        session.press("Control+z", "Control+z", "Control+z")
        session.save()
        assert np.isnan(session.saved_points(0)).all()
        session.press("Control+Shift+z", "Control+Shift+z", "Control+Shift+z")
        session.save()
        assert np.isfinite(session.saved_points(0)[:, 0]).all()


def reopen(session: Labeling, *, new_tab: bool) -> Labeling:
    """Reload the page, or close the tab and open the address in another one."""
    page = session.page
    if new_tab:
        page = session.page.context.new_page()
        session.page.close()
        page.goto(session.served.address)
    else:
        page.reload()
    page.wait_for_selector("body[data-frame]")
    found = Labeling(page=page, served=session.served)
    found.settle()
    return found


@pytest.mark.parametrize("new_tab", [False, True])
def test_undo_and_redo_survive_a_reload_and_a_closed_tab(root: Path, new_tab: bool) -> None:
    with labeling(root) as session:
        store = session.served.store
        session.click(0, TRUTH[0, 0, 0])
        session.click(1, TRUTH[0, 1, 0])
        session.press("Shift+A", "1")
        session.press("Control+z")
        session = reopen(session, new_tab=new_tab)
        assert [session.page.is_enabled(name) for name in ("#undo", "#redo")] == [True, True]
        session.press("Control+Shift+z")
        assert store.visible[0, :, 0].tolist() == [2, 2, 2, 2]
        session.press("Control+z", "Control+z", "Control+z")
        assert not store.visible[0].any()
        session = reopen(session, new_tab=new_tab)
        session.press("Control+z", *["Control+Shift+z"] * 3)
        assert store.visible[0, :, 0].tolist() == [2, 2, 2, 2]
        session.save()
        assert np.isfinite(session.saved_points(0)[:, 0]).all()


def test_undo_leaves_alone_what_was_changed_elsewhere(root: Path) -> None:
    with labeling(root) as session:
        session.click(0, TRUTH[0, 0, 0])
        session.served.edit(0, [[0, 0, [50.0, 60.0, 2, "click"]]])
        session = reopen(session, new_tab=False)
        assert not session.page.is_enabled("#undo")
        session.press("Control+z")
        assert session.served.store.points[0, 0, 0].tolist() == [50.0, 60.0]
        session.click(1, TRUTH[0, 1, 0])
        session.press("Control+z")
        assert session.served.store.visible[0, :, 0].tolist() == [2, 0, 0, 0]


def test_a_frame_is_labeled_by_the_keyboard_alone(root: Path) -> None:
    """The cursor begins in the middle of the image, or where the keypoint is proposed."""
    middle = (SIZE - 1) / 2

    def go(session: Labeling, point: np.ndarray) -> None:
        session.press("ArrowRight")  # shows the cursor
        for axis, keys in enumerate((("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"))):
            tenths = round((point[axis] - middle) * 10)
            key = keys[tenths > 0]
            steps = abs(tenths)
            session.press(
                *[f"Shift+{key}"] * (steps // 100), *[key] * (steps % 100 // 10), *[f"Alt+{key}"] * (steps % 10)
            )
        session.press("Enter")

    with labeling(root) as session:
        session.press("n")
        for keypoint in range(len(KEYPOINTS)):
            go(session, TRUTH[1, 0, keypoint])
            session.press("Escape", "v")
            go(session, TRUTH[1, 1, keypoint])
            session.press("Escape", "Shift+v", "Tab")
        session.press("Shift+Enter", "b")
        session.page.wait_for_selector("body[data-frame='0']")
        for _ in range(100):
            if np.isfinite(session.saved_points(1)).all():  # leaving the frame saved it
                break
            session.page.wait_for_timeout(50)
        np.testing.assert_allclose(session.saved_points(1), TRUTH[1], atol=0.25)


def test_predictions_are_accepted_dragged_and_sorted(root: Path, tmp_path: Path) -> None:
    predicted = TRUTH.copy()
    predicted[1, 2, 0] += 12.0
    likelihood = np.full(TRUTH.shape[:-1], 0.95)
    likelihood[1, 2, 0] = 0.1
    for view in range(VIEWS):
        images = [f"labeled-data/s_view{view}/img{frame:08d}.png" for frame in range(FRAMES)]
        rows = PredictionRows(index=images, points=predicted[:, view], likelihood=likelihood[:, view])
        write_predictions(tmp_path / f"run/predictions_view{view}.csv", KEYPOINTS, [rows])
    with labeling(root, LabelOptions(predictions=tmp_path / "run")) as session:
        assert session.page.get_attribute("body", "data-frame") == "1"  # the worst comes first
        assert session.state(2, 0) == "prediction"
        session.save()
        assert np.isnan(session.saved_points(1)).all()
        session.drag(2, predicted[1, 2, 0], TRUTH[1, 2, 0])
        assert session.state(2, 0) == "click"
        session.press("Shift+P")
        session.save()
        np.testing.assert_allclose(session.saved_points(1), TRUTH[1], atol=0.5)
        np.testing.assert_allclose(session.saved_points(1)[0], predicted[1, 0], atol=1e-3)


def test_the_view_that_disagrees_is_named(root: Path) -> None:
    with labeling(root) as session:
        for view in range(VIEWS):
            session.click(view, TRUTH[0, view, 0])
        assert "agree within" in session.page.inner_text("#status")
        session.drag(2, TRUTH[0, 2, 0], TRUTH[0, 2, 0] + 15)
        assert "view2 disagrees" in session.page.inner_text("#status")
        assert session.page.locator("#keypoints i.marked").count() == 1
        session.press("Control+z")
        assert "agree within" in session.page.inner_text("#status")


def test_occluded_and_absent_keypoints_are_written(root: Path) -> None:
    with labeling(root) as session:
        session.click(0, TRUTH[0, 0, 0])
        session.click(1, TRUTH[0, 1, 0])
        session.press("v", "o")  # the projection in the third view, as occluded
        session.press("v", "x")
        session.save()
        assert session.saved_visible(0)[:, 0].tolist() == [2, 2, 1, 0]
        assert session.state(3, 0) == "absent"
        np.testing.assert_allclose(session.saved_points(0)[2, 0], TRUTH[0, 2, 0], atol=1)


def test_occluded_adds_the_column_visible_only_when_asked(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", num_views=VIEWS, num_frames=FRAMES, visible=False)
    with labeling(root) as session:
        session.click(0, TRUTH[0, 0, 0])
        session.press("o")
        assert not session.served.store.has_visible
        session.click_and_reload("#banner button")
        session.press("o")
        session.save()
        assert session.saved_visible(0)[0, 0] == 1


def test_a_closed_tab_loses_nothing(root: Path) -> None:
    with serve(root) as served:
        with local_page(served.address, width=1280, height=800) as page:
            page.wait_for_selector("body[data-frame]")
            session = Labeling(page=page, served=served)
            session.settle()
            page.mouse.click(*session.at(0, TRUTH[0, 0, 0]))
            page.close()
            # The browser stays: what it still has to send must not be lost with it.
            for _ in range(100):
                if served.store.visible[0, 0, 0]:
                    break
                served.get("/api/project")
        assert served.store.visible[0, 0, 0] == 2


def test_a_server_that_is_gone_is_reported_at_the_next_click(root: Path) -> None:
    with labeling(root, statuses=["ERR_CONNECTION_REFUSED"]) as session:
        session.served.stop()
        session.page.mouse.click(*session.at(0, TRUTH[0, 0, 0]))
        session.page.wait_for_selector("#saving.failed")
        assert "the server does not answer (1 edit)" in session.page.inner_text("#saving")
        assert "start mvtrain label again" in session.page.inner_text("#banner")


def test_a_table_that_was_changed_asks_to_reload_and_nothing_is_lost(root: Path) -> None:
    with labeling(root, statuses=[409]) as session:
        path = root / "CollectedData_view0.csv"
        path.write_text(path.read_text().replace("img00000001.png,,,,", "img00000001.png,7,8,2,"))
        session.click(0, TRUTH[0, 0, 1])
        session.press("Control+s")
        session.page.wait_for_selector("#saving.failed")
        assert "changed by another program" in session.page.inner_text("#banner")
        session.click_and_reload("#banner button")
        session.save()
        assert session.saved_points(1)[0, 0].tolist() == [7.0, 8.0]
        np.testing.assert_allclose(session.saved_points(0)[0, 0], TRUTH[0, 0, 1], atol=0.5)


def test_zoom_keeps_the_pixel_under_the_pointer_and_a_drag_pans(root: Path) -> None:
    with labeling(root) as session:
        point = TRUTH[0, 0, 0]
        before = session.at(0, point)
        session.page.mouse.move(*before)
        session.page.mouse.wheel(0, -600)
        session.settle()
        np.testing.assert_allclose(session.at(0, point), before, atol=1.5)  # wheel events have whole px
        before = session.at(0, point)
        session.page.mouse.move(before[0] + 60, before[1] + 30)
        session.page.mouse.down()
        session.page.mouse.move(before[0] + 80, before[1] + 40, steps=3)
        session.page.mouse.up()
        session.settle()
        np.testing.assert_allclose(np.subtract(session.at(0, point), before), [20, 10], atol=0.01)
        assert not session.served.store.unsaved_frames()
        session.click(0, point)
        np.testing.assert_allclose(session.served.store.points[0, 0, 0], point, atol=0.2)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1920, 1080)])
def test_nothing_overflows_and_the_sheet_has_every_key(root: Path, width: int, height: int) -> None:
    with labeling(root, width=width, height=height) as session:
        size = session.page.evaluate("[document.body.scrollWidth, document.body.scrollHeight]")
        assert size == [width, height]
        session.press("?")
        assert session.page.is_visible("#sheet")
        assert "Shift+Enter" in session.page.inner_text("#sheet")
        session.press("Escape")
        assert not session.page.is_visible("#sheet")


def test_a_page_without_the_secret_states_what_to_do(root: Path) -> None:
    with (
        serve(root) as served,
        local_page(served.address.split("#")[0], width=1280, height=800, statuses=[403]) as page,
    ):
        page.wait_for_selector("#banner:not([hidden])")
        assert "Open the one that mvtrain label printed" in page.inner_text("#banner")
