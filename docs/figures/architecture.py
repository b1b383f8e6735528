"""Draw docs/images/architecture.svg, the data flow of the packages: uv run python docs/figures/architecture.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

FIGURE = Path(__file__).parents[1] / "images" / "architecture.svg"

FILES, MVGEOM, MVAUG, MVTRAIN = "#f5f1e6", "#dcebdd", "#f6dfd3", "#dbe6f4"
EDGE = "#4a4a4a"

# Box: x and y of its center, width, height, title, what it holds, color.
BOXES: dict[str, tuple[float, float, float, float, str, str, str]] = {
    "foreign": (1.35, 5.5, 2.4, 0.8, "other systems' projects", "DeepLabCut, SLEAP, anipose, COCO", FILES),
    "spec": (1.35, 4.3, 2.4, 0.8, "synthetic spec", "views, frames, occlusion, seed", FILES),
    "boards": (1.35, 3.1, 2.4, 0.8, "images of a board", "or keypoints of the subject", FILES),
    "project": (4.85, 4.9, 2.4, 1.0, "project folder", "images, labels, boxes,\nsplits, config", FILES),
    "rig": (4.85, 3.1, 2.4, 0.8, "calibration", "one file per session", FILES),
    "batch": (8.35, 4.9, 2.4, 1.0, "data + mvaug", "samples of all views, moved in 3D,\none warp per view", MVAUG),
    "model": (11.85, 4.9, 2.4, 1.0, "model", "one transformer over the patches\nof all views; heatmaps", MVTRAIN),
    "losses": (11.85, 3.1, 2.4, 0.8, "losses, training", "heatmap loss, 3D losses", MVTRAIN),
    "mvgeom": (8.35, 3.1, 2.4, 0.8, "mvgeom", "project, triangulate, refine", MVGEOM),
    "run": (11.85, 1.5, 2.4, 0.8, "run folder", "checkpoints, config, metrics", FILES),
    "predict": (8.35, 1.5, 2.4, 0.8, "predict", "recordings to 2D and 3D keypoints", MVTRAIN),
    "outputs": (4.85, 1.5, 2.4, 0.8, "evaluation, report", "error tables, HTML page", MVTRAIN),
    "convert": (1.35, 1.5, 2.4, 0.8, "convert", "tables of other systems", MVTRAIN),
}

# Arrow: from, to, what does it (a command or nothing), where the words are relative to the middle.
ARROWS = [
    ("foreign", "project", "mvtrain import", (0.05, 0.27)),
    ("spec", "project", "mvtrain synth", (0.05, -0.27)),
    ("boards", "rig", "mvgeom calibrate", (0, 0.15)),
    ("project", "batch", "", (0, 0)),
    ("rig", "mvgeom", "", (0, 0)),
    ("rig", "project", "", (0, 0)),
    ("mvgeom", "batch", "", (0, 0)),
    ("batch", "model", "mvtrain fit", (0, 0.15)),
    ("model", "losses", "", (0, 0)),
    ("mvgeom", "losses", "", (0, 0)),
    ("losses", "run", "", (0, 0)),
    ("mvgeom", "predict", "", (0, 0)),
    ("run", "predict", "", (0, 0)),
    ("predict", "outputs", "", (0, 0)),
]


def draw_box(axes: Axes, x: float, y: float, width: float, height: float, title: str, text: str, color: str) -> None:
    """Draw a rounded box with a title and what it holds."""
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.1", fc=color, ec=EDGE, lw=0.9)
    )
    axes.text(x, y + height / 2 - 0.2, title, ha="center", va="center", fontsize=9.2, weight="bold")
    axes.text(x, y - 0.16, text, ha="center", va="center", fontsize=7, linespacing=1.25)


def border(box: tuple[float, float, float, float, str, str, str], towards: tuple[float, float]) -> tuple[float, float]:
    """Return where the line from a box's center to a point leaves the box."""
    x, y, width, height = box[:4]
    dx, dy = towards[0] - x, towards[1] - y
    share = min(width / 2 / abs(dx) if dx else 9.0, height / 2 / abs(dy) if dy else 9.0)
    return x + share * dx, y + share * dy


def main() -> None:
    """Draw the figure."""
    # The same bytes at every run: no date, no random identifiers, text as text.
    matplotlib.rcParams.update({"svg.hashsalt": "architecture", "svg.fonttype": "none", "font.family": "sans-serif"})
    figure = Figure(figsize=(10.8, 4.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 13.2), ylim=(0.75, 6.1))
    axes.axis("off")
    for start, end, words, offset in ARROWS:
        a, b = BOXES[start], BOXES[end]
        tail, head = border(a, b[:2]), border(b, a[:2])
        axes.annotate(
            "", head, tail, arrowprops={"arrowstyle": "-|>", "color": EDGE, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
        )
        middle = (tail[0] + head[0]) / 2 + offset[0], (tail[1] + head[1]) / 2 + offset[1]
        axes.text(*middle, words, ha="center", va="center", fontsize=7, style="italic", color="#333333")
    # Predictions go to other systems past the tables of errors.
    start, end = BOXES["predict"], BOXES["convert"]
    axes.annotate(
        "",
        (end[0], end[1] - end[3] / 2),
        (start[0], start[1] - start[3] / 2),
        arrowprops={
            "arrowstyle": "-|>",
            "color": EDGE,
            "lw": 1.1,
            "connectionstyle": "bar,fraction=-0.04",
            "shrinkA": 0,
        },
    )
    for box in BOXES.values():
        draw_box(axes, *box)
    figure.savefig(FIGURE, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
