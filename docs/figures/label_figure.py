"""The figure of docs/label.md: the page of `mvtrain label` in a browser, with some keypoints of a frame labeled.

uv run python docs/figures/label_figure.py docs/images/label.jpg [--width 1280 --height 800]
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from mvtrain.config import load_config
from mvtrain.project.label_tables import write_labels
from mvtrain.project.project import read_project
from mvtrain.synth import SyntheticSpec, generate_project

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from helpers.browser import local_page
from helpers.labeling import serve

ACCEPTED, CLICKED, WRONG = 5, 9, 6
"""Number of keypoints that are labeled in all views, of those that are clicked in two, and one with a wrong click."""


def take_screenshot(out: Path, width: int, height: int) -> None:
    """Write the figure; the suffix of the file is its format."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "mouse"
        spec = SyntheticSpec(num_views=6, num_frames=8, num_sessions=1, num_video_frames=60, size=(640, 512), seed=4)
        generate_project(root, spec, num_workers=2)
        project = read_project(load_config(root / "config.yaml"))
        for view, name in enumerate(project.view_names):
            images = [names[view] or "" for names in project.image_names]
            points = np.full_like(project.points[:, view], np.nan)
            visible = np.zeros(points.shape[:-1], dtype=np.int8)
            path = root / f"CollectedData_{name}.csv"
            write_labels(path, images, project.keypoint_names, points, visible, scorer="me")
        with serve(root) as served, local_page(served.address, width=width, height=height) as page:
            page.wait_for_selector("body[data-frame]")
            truth = project.points[0]
            for keypoint in range(CLICKED):
                views = np.flatnonzero(np.isfinite(truth[:, keypoint]).all(-1))
                clicks = [(int(view), truth[view, keypoint]) for view in views[:2]]
                if keypoint == WRONG:
                    clicks.append((int(views[2]), truth[views[2], keypoint] + [30, 0]))
                page.evaluate("k => mvtrainLabel.select(k)", keypoint)
                for view, point in clicks:
                    page.evaluate(
                        "([v, p]) => { mvtrainLabel.activeView = v; mvtrainLabel.editor.place(v, p); }",
                        [view, point.tolist()],
                    )
                    page.wait_for_timeout(300)
                if keypoint < ACCEPTED:
                    page.keyboard.press("Shift+A")
                    page.wait_for_timeout(300)
            page.evaluate("k => mvtrainLabel.select(k)", WRONG)
            page.wait_for_timeout(3000)
            image = Image.open(io.BytesIO(page.screenshot()))
    image.convert("RGB").save(out, quality=88, optimize=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    arguments = parser.parse_args()
    take_screenshot(arguments.out, arguments.width, arguments.height)


if __name__ == "__main__":
    main()
