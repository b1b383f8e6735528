"""Numbers and nouns agree in the texts of the packages: f-strings write `counted(n, "frame")`, not `{n} frames`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = sorted((ROOT / "packages").glob("*/src/**/*.py"))
PLURALS = (
    "animals|annotations|batches|bits|blocks|boards|boxes|cameras|cells|channels|coefficients|columns|corners|devices"
    "|entries|epochs|errors|faces|files|folders|frames|images|keypoints|labels|lines|markers|networks|observations"
    "|outliers|parameters|people|places|points|poses|predictions|processes|recordings|rows|runs|samples|sessions"
    "|steps|tables|threads|validations|values|videos|views|warnings"
)
ADJECTIVES = (
    "bounding|calibration|common|conclusive|different|examined|inner|labeled|missing|more|new|other|recording|such|test"
    "|training|validation|visible"
)
NOUN = re.compile(rf" (({ADJECTIVES}) )?({PLURALS})\b(?!/)")
SHARE = re.compile(r" of (its |the |their )?")
"""Text between two numbers: `3 of 5 frames`."""

ALLOWED = {
    "alignment.py: len(by_session) sessions": "2 or more",
    "arguments.py: num_views views": "not 1",
    "board_world.py: len(views) cameras": "2 or more",
    "smoothed_tables.py: size different keypoints": "2 or 3",
    "calibration_checks.py: MIN_POINTS_TO_MOVE keypoints": "a constant",
    "calibrations.py: len(files) calibration files": "not 1",
    "camera_fields.py: expected coefficients": "a text with several numbers",
    "dannce.py: expected coefficients": "a text with several numbers",
    "dataset.py: num_ranks processes": "2 or more",
    "decoder.py: number images": "2 or more",
    "image_checks.py: name frames": "the name of a split",
    "evaluation.py: split frames": "the name of a split",
    "intrinsics.py: boards boards": "MIN_BOARDS or more",
    "keypoint_checks.py: MIN_COMMON common points": "a constant",
    "keypoint_checks.py: MIN_COMMON points": "a constant",
    "keypoint_checks.py: int(common.sum()) keypoints": "MIN_COMMON or more",
    "known_points.py: count points": "4 or more",
    "known_points.py: len(usable) points": "4 or more",
    "label_checks.py: _FEW_LABELS visible labels": "a constant",
    "marker_dictionaries.py: held markers": "50 or more",
    "mat_files.py: _MAX_ITEMS cells": "a constant",
    "recording_tables.py: where keypoints": "the first words of a message",
    "recording_tables.py: where views": "the first words of a message",
    "predicted_videos.py: step frames": "2 or more",
    "run_evaluate.py: LEAST_FRAMES frames": "a constant",
    "run_evaluate.py: LEAST_POINTS keypoints": "a constant",
    "run_evaluate.py: len(runs) networks": "2 or more",
    "run_predict.py: len(run_dirs) runs": "2 or more",
    "service.py: sorted(lengths) labels": "a list",
    "splits.py: len(wanted) sessions": "2 or more",
    "sync_command.py: count frames": "more than _SHORT",
    "write_report.py: len(folders) runs": "2 or more",
}
"""Values before a plural that need no `counted`, and why."""


def plurals_after_values(source: str) -> Iterator[str]:
    """Yield `value noun` of the f-strings in which a plural follows a value that can be the number 1."""
    for text in ast.walk(ast.parse(source)):
        if not isinstance(text, ast.JoinedStr):
            continue
        before = ["", "", *(part.value if isinstance(part, ast.Constant) else "" for part in text.values)]
        for number, part in enumerate(text.values[:-1]):
            noun = NOUN.match(before[number + 3])
            if not isinstance(part, ast.FormattedValue) or not noun or _needs_none(part, before[number + 1]):
                continue
            if not (SHARE.fullmatch(before[number + 1]) and number >= 2):
                yield f"{ast.unparse(part.value)}{noun[0]}"


def _needs_none(part: ast.FormattedValue, before: str) -> bool:
    """Return True for decimals, joined names, and the second number of 5x7."""
    joined = isinstance(part.value, ast.Call) and ast.unparse(part.value.func).endswith(".join")
    decimal = part.format_spec is not None and ast.unparse(part.format_spec).rstrip("'\"").endswith("f")
    return joined or decimal or before == "x"


def test_numbers_and_nouns_agree() -> None:
    found = {f"{path.name}: {each}": path for path in CODE for each in plurals_after_values(path.read_text("utf-8"))}
    wrong = [f"{path.relative_to(ROOT)}: {each}" for each, path in found.items() if each not in ALLOWED]
    assert not wrong, "write {counted(n, 'frame')} of mvgeom.wording, which is right for 1 too"
    assert set(ALLOWED) <= set(found), "allowed, but no longer there"


def test_the_walk_finds_plurals_after_values() -> None:
    assert list(plurals_after_values('f"{n} frames" f" of {len(v)} views, {m} labeled frames"')) == [
        "n frames",
        "len(v) views",
        "m labeled frames",
    ]
    assert list(plurals_after_values('print(f"a {d[0]:g} "\n"epochs")')) == ["d[0] epochs"]
    right = (
        '{a} of {b} frames, {a} of the {b} frames, {counted(n, "frame")}, {x:.1f} frames, {n} frames/s, {c}x{r} corners'
    )
    assert not list(plurals_after_values(f"f'''{right}, {{\", \".join(names)}} views, {{n}} of frames'''"))
