"""Paths that are joined from names of any origin: each is made by `file_name` or `inside`, or listed with its reason.

A name that comes out of a file (of a session, view, camera, keypoint, image) can be `../../x`. A new writer that joins
such a name itself fails here; `tests/mvtrain/test_hostile_names.py` hands hostile names to the writers.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "packages"

SAFE = {"file_name", "image_name", "inside"}
"""Functions that make names, or paths, which stay in their folder."""

PATHS = re.compile(
    r"folder|_dir\b|\broot\b|\bpath\b|parent|\bhome\b|\bout\b|\btarget\b|\bmedia\b|\bsource\b|unfinished|place"
)
"""Names of variables that hold folders; other divisions are arithmetic."""

ALLOWED = {
    "mvgeom/cli/commands.py": {
        "output.with_name(f'{output.stem}_smoothed.csv')": "the user's name, only proposed for the next command",
    },
    "mvgeom/cli/rig_output.py": {
        "Path(folder) / output.name": "the user's own name, in a temporary folder",
        "output.with_name(f'{output.name}{CLOCKS_SUFFIX}')": "the name of the user's calibration, only looked for",
    },
    "mvgeom/clock_files.py": {"path.with_name(f'{name}{CLOCKS_SUFFIX}')": "the name of the user's calibration"},
    "mvgeom/files.py": {
        "folder.joinpath(*parts)": "checked by `inside` itself",
        "parent / unicodedata.normalize(form, path.name)": "another form of a path, looked for",
    },
    "mvgeom/temporary.py": {"Path(folder) / name": "files that exist"},
    "mvgeom/formats/colmap.py": {"path / file": "constants, looked for", "folder / _BINARY[0]": "looked for"},
    "mvgeom/formats/easymocap.py": {"folder / name": "constants", "folder / file": "constants"},
    "mvgeom/formats/jarvis.py": {"path / f'{record.name}.yaml'": "refused unless it is its own `file_name`"},
    "mvgeom/formats/opencv.py": {"path.with_name(path.name.replace('intrinsics', 'extrinsics'))": "read"},
    "mvtrain/cli/check.py": {"Path('runs') / f'{config.stem}-check'": "the user's own path"},
    "mvtrain/cli/fit.py": {"Path('runs') / f'{config.stem}-{stamp}'": "the user's own path"},
    "mvtrain/evaluation/run_evaluate.py": {
        "out_dir / name": "constants",
        "options.output_dir / folder.name": "the name of a folder that exists",
    },
    "mvtrain/exchange/stored_pixels.py": {"folder / name": "read, an `image_name`"},
    "mvtrain/exchange/deeplabcut_tables.py": {"stem.with_name(stem.name.removesuffix(_FILTERED))": "looked for"},
    "mvtrain/exchange/media.py": {
        "folder.joinpath(*written.parts[start:])": "read",
        "folder / f'{_CALIBRATION}{_TOML}'": "constants",
    },
    "mvtrain/exchange/from_anipose.py": {
        "project.root / project.calibration": "read",
        "root / named": "read",
        "folder / project.calibration": "read",
    },
    "mvtrain/exchange/from_coco.py": {
        "annotations.parent / folder": "read",
        "annotations.parent / '../images' / subset[1]": "read",
    },
    "mvtrain/exchange/from_deeplabcut.py": {"folder / f'{stem}{suffix}'": "read"},
    "mvtrain/exchange/from_pose_json.py": {
        "options.media / name": "read",
    },
    "mvtrain/exchange/into_project.py": {
        "folder / name": "read",
        "root / path.relative_to(folder)": "files that `write_project` has written",
        "root / data.bbox_file[view]": "a table that the project's config names",
        "root / 'videos' / path.name": "files that `write_project` has written",
        "root / 'calibrations' / path.name": "files that `write_project` has written",
    },
    "mvtrain/exchange/to_pose2sim.py": {"home / 'pose-3d' / name": "a `file_name`, which is in the file, too"},
    "mvtrain/export/runtime_files.py": {"folder / file_name": "constants"},
    "mvtrain/label/prelabels.py": {"source / 'image_preds' / project.root.name": "read"},
    "mvtrain/model/error_bars.py": {"folder / f'error_bars-{checksum[:12]}.yaml'": "hexadecimal digits"},
    "mvtrain/model/likelihood.py": {"checkpoint / f'confidence-{checksum[:12]}.yaml'": "hexadecimal digits"},
    "mvtrain/predict/outputs.py": {
        "records.folder / table.name": "of `OutputPaths`",
        "records.folder / paths.table_3d.name": "of `OutputPaths`",
        "records.folder / track.name": "of `OutputPaths`",
        "records.folder / EVIDENCE / table.name": "of `OutputPaths`",
    },
    "mvtrain/predict/recording_tables.py": {"folder / f'{name}-{number}'": "a constant and numbers"},
    "mvtrain/predict/records.py": {"folder / f'network{n + 1}'": "a number"},
    "mvtrain/predict/saved_predictions.py": {"folder / path.name": "read, the name of a file that exists"},
    "mvtrain/predict/session.py": {"out_dir / name": "a `file_name` in a constant folder"},
    "mvtrain/predict/smooth_predictions.py": {
        "path.parent / f'.{path.name}.partial'": "the user's own path",
        "folder.with_name(f'{folder.name}.lock')": "the user's own path",
    },
    "mvtrain/predict/smoothed_tables.py": {
        "self._folder / f'block{number:06d}.npz'": "a number",
        "job.out_dir / _view_table(session, name)": "a `file_name`",
        "video.with_name(f'{name}{video.suffix}')": "a text of the summary, made of a `file_name`",
    },
    "mvtrain/predict/overlay.py": {
        "folder / path.name": "of `OutputPaths`",
        "folder / paths.still.name": "of `OutputPaths`",
        "folder / paths.overlay.name": "of `OutputPaths`",
    },
    "mvtrain/predict/run_predict.py": {
        "(options.output_dir or _own_folder(run_dirs) / 'image_preds') / project.root.name": "of a folder that exists",
    },
    "mvtrain/project/calibrations.py": {
        "root / (override or OVERRIDE_FILE)": "a table that the project's config names",
        "root / as_posix(file)": "read",
        "as_posix(image).with_name(name)": "a cell of a table",
    },
    "mvtrain/project/beside_tables.py": {
        "path.with_name(f'{path.stem}{ending}{path.suffix}')": "read",
        "root / (data.camera_params_file or OVERRIDE_FILE)": "read",
        "root / name": "read",
        "root / boxes": "read",
    },
    "mvtrain/project/view_tables.py": {
        "root / data.bbox_file[view]": "read",
        "root / name": "read",
        "root / data.bbox_file[0]": "read",
    },
    "mvtrain/project/names.py": {
        "path.with_name(path.stem)": "not a path of a file",
        "path.with_name(trim(path.stem))": "not a path of a file",
    },
    "mvtrain/project/project.py": {"root / name.replace('\\\\', '/')": "read"},
    "mvtrain/report/learning_curves.py": {
        "run_dir / metrics_log.FILE_NAME": "a constant",
        "run_dir / run_info.FILE_NAME": "a constant",
    },
    "mvtrain/runtime/checksums.py": {
        "folder / f'{stem}{suffix}'": "constants",
        "folder / f'{stem}-{checksum[:12]}{suffix}'": "constants and hexadecimal digits",
        "folder / f'{stem}.yaml'": "constants",
    },
    "mvtrain/start/crop_project.py": {"project.root / (table or OVERRIDE_FILE)": "read"},
    "mvtrain/start/pseudolabel_files.py": {
        "rows.root / name": "an `image_name`",
        "unfinished / name": "an `image_name`",
    },
    "mvtrain/start/add_frames.py": {"rows.root / name": "an `image_name`", "unfinished / name": "an `image_name`"},
    "mvtrain/start/session_choice.py": {"rows.root / name.replace('\\\\', '/')": "read"},
    "mvtrain/synth/generate.py": {"folder / name": "constants"},
    "mvtrain/training/loop.py": {"self.run_dir / 'checkpoints' / name": "best, last, or an epoch"},
    "mvtrain/training/state.py": {"run_dir / FOLDER / f'{STEM}.yaml'": "constants"},
}
"""Joined paths that need no rule, with the reason."""


ARITHMETIC = {
    "mvaug/warp.py": {
        "(source[:, axis].max() + factor) / factor",
        "(source[:, axis].min() - factor) / factor",
    },
    "mvgeom/calibration/keypoint_lenses.py": {
        "np.diag(sandwich)[places] / np.maximum(np.diag(square)[places], 1e-300)"
    },
    "mvgeom/lens_range.py": {"(target - at_low) / xp.where(at_high > at_low, at_high - at_low, 1.0)"},
    "mvtrain/evaluation/error_tables.py": {"np.abs(evaluation.points_3d - places) / evaluation.std_3d"},
    "mvtrain/model/fusion.py": {
        "(2 * places + 1) / torch.stack([places.new_tensor(float(size)) for size in (width, height)])"
    },
    "mvtrain/check/label_checks.py": {
        "len(places) / int(counts.visible[view].sum())",
        "len(places) / int(visible[:, view].sum())",
    },
    "mvtrain/synth/raycast.py": {"(mixed + root) / last", "(mixed - root) / last"},
    "mvtrain/synth/scene.py": {"(target - center) / np.linalg.norm(target - center)"},
}
"""Divisions of numbers that look like joined paths."""


def joined_paths(source: str) -> list[str]:
    """Return the joined paths of a module whose last part is neither a constant nor made by a function of `SAFE`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            last = node.right
            if not isinstance(last, ast.JoinedStr) and not PATHS.search(ast.unparse(node.left)):
                continue
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr not in ("with_name", "with_stem", "joinpath") or not node.args:
                continue
            last = node.args[0]
        else:
            continue
        if not is_safe(last):
            found.append(ast.unparse(node))
    return found


def is_safe(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name):
        return node.id.isupper()
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in SAFE
    return isinstance(node, ast.JoinedStr) and not any(isinstance(part, ast.FormattedValue) for part in node.values)


def test_joined_paths_are_made_by_the_rule_or_listed() -> None:
    found: dict[str, set[str]] = {}
    for file in sorted(PACKAGES.glob("*/src/**/*.py")):
        if paths := joined_paths(file.read_text(encoding="utf-8")):
            found[file.as_posix().partition("/src/")[2]] = set(paths)
    found = {module: paths - ARITHMETIC.get(module, set()) for module, paths in found.items()}
    assert {module: paths for module, paths in found.items() if paths} == {
        m: set(paths) for m, paths in ALLOWED.items()
    }


def test_the_walk_sees_every_way_to_join() -> None:
    source = "folder / f'{a}.csv'\nfolder / name\nout_dir / 'a' / b[0]\npath.with_name(c)\nfolder.joinpath(d)\n"
    assert len(joined_paths(source)) == 5
    assert joined_paths("folder / file_name(a)\nfolder / 'b'\nfolder / NAME\npath.with_name('c')\nx / y\n") == []
