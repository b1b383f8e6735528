"""Folders: new ones that appear when they are complete, and checks of those of runs and ensembles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvgeom.temporary import is_temporary, publish, temporary_folder
from mvtrain.runtime.messages import command, describe_cause

RUN_INFO = "run.yaml"
"""File of a run folder with the conditions of its training."""

SPLIT_FILE = "split.csv"
"""File of a run folder with the split of every frame, written when training starts."""

ENSEMBLE_INFO = "ensemble.yaml"
"""File of a folder of several runs of one config, which names them."""

ENSEMBLE_CONFIG = "ensemble_config.yaml"
"""File with the config of all of them; not config.yaml, with which the folder would look like a project."""


LOCK = ".lock"
"""File of a run folder whose run is being trained."""

_BEGINNING = {LOCK, RUN_INFO, SPLIT_FILE, ENSEMBLE_CONFIG}
"""Files of a folder that are written before it can be continued: before config.yaml, or the list of an ensemble."""


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to fill, and rename it to `path` at the end of the block.

    The temporary folder is hidden and beside `path`, so that renaming it is one step on one file system. If the block
    raises, nothing is left; if the process is killed, the next one that writes a folder here removes it.

    Args:
        path: Folder that must not exist yet; missing parents are made.

    Raises:
        InputError: `occupied-folder`, or `unwritable-file` if it cannot be written, also by the block.
    """
    check_new_folder(path)
    try:
        with temporary_folder(path) as unfinished:
            yield unfinished
            publish(unfinished, path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}: {error.filename}", code="unwritable-file", path=path
        ) from error


def check_new_folder(path: Path) -> None:
    """Check that there is nothing at a path.

    Raises:
        InputError: `occupied-folder`.
    """
    if path.exists():
        raise InputError(
            f"{path} already exists. Remove it, or choose another folder", code="occupied-folder", path=path
        )


def check_new_run_folder(path: Path) -> None:
    """Check that a run folder is new, empty, or holds only the beginning of a run whose process was killed.

    Raises:
        InputError: The folder has files in it (`occupied-folder`), or is a file (`not-a-folder`).
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"the run folder {path} is a file.", code="not-a-folder", path=path)
    if path.exists() and any(entry.name not in _BEGINNING and not is_temporary(entry) for entry in path.iterdir()):
        raise InputError(
            f"the run folder {path} is not empty. Choose another with --output, remove it, or continue the run in it "
            "with --resume.",
            code="occupied-folder",
            path=path,
        )


def is_run_config(path: Path) -> bool:
    """Return True for the config of a folder that `mvtrain fit` wrote, which may be one of several runs."""
    folder = path.parent
    if path.name == ENSEMBLE_CONFIG:
        return True
    return path.name == "config.yaml" and ((folder / RUN_INFO).is_file() or (folder / "checkpoints").is_dir())


def check_run_folder(folder: Path) -> None:
    """Check that a folder is one that `mvtrain fit` wrote, and not the folder of a project.

    Raises:
        InputError: `not-a-run`.
    """
    config = folder / "config.yaml"
    if not config.is_file():
        problem = "it has no config.yaml" if folder.is_dir() else "it does not exist"
        advice = "Give a folder that mvtrain fit wrote"
        if is_ensemble(folder):
            problem, advice = "it is the folder of an ensemble", "Give one of the run folders in it"
        raise InputError(
            f"{folder} is not a run folder: {problem}. {advice}.",
            code="not-a-run",
            path=folder,
        )
    # A project has a config.yaml too.
    if not is_run_config(config):
        raise InputError(
            f"{folder} is not a run folder but looks like a project: it has config.yaml, but neither {RUN_INFO} nor "
            f"checkpoints. Train a network with {command('mvtrain', 'fit', config)}, and give the run folder that it "
            "prints.",
            code="not-a-run",
            path=folder,
        )


def is_ensemble(folder: Path) -> bool:
    """Return True if a folder is one of several runs, which `mvtrain fit --seeds` wrote."""
    return (folder / ENSEMBLE_INFO).is_file()


@dataclass(frozen=True, kw_only=True)
class EnsembleMember:
    """A run of an ensemble.

    Attributes:
        seed: Seed of its model.
        done: True if it has been trained to the end and evaluated.
    """

    seed: int
    done: bool


def find_runs(folder: Path) -> tuple[Path, ...]:
    """Return the run folders that an argument stands for: the folder itself, or the runs of an ensemble.

    Args:
        folder: Run folder, or folder that `mvtrain fit --seeds` wrote.

    Raises:
        InputError: `not-a-run`, also for a run of an ensemble that is not trained to the end; or `damaged-file` for the
            list of an ensemble.
    """
    if is_ensemble(folder):
        members = read_ensemble(folder)
        runs = tuple(folder / file_name(name) for name in members)
        missing = [folder / file_name(name) for name, member in members.items() if not is_done(folder, name, member)]
        if missing:
            raise InputError(
                f"{folder}: the ensemble is not complete, found no run {missing[0].name} that was trained to the end, "
                f"expected {', '.join(run.name for run in runs)}. Go on with: "
                f"{command('mvtrain', 'fit', '--resume', folder)}; or name the run folders themselves.",
                code="not-a-run",
                path=missing[0],
            )
    else:
        runs = (folder,)
    for run in runs:
        check_run_folder(run)
    return runs


def is_done(folder: Path, name: str, member: EnsembleMember) -> bool:
    """Return True if a run has been trained to the end and is still there."""
    return member.done and (folder / file_name(name) / RUN_INFO).is_file()


def read_ensemble(folder: Path) -> dict[str, EnsembleMember]:
    """Read the members of an ensemble by the names of their run folders.

    Raises:
        InputError: `damaged-file`.
    """
    path = folder / ENSEMBLE_INFO
    try:
        rows = parse_yaml(read_text(path), path)["runs"]
        members = {str(row["folder"]): EnsembleMember(seed=int(row["seed"]), done=bool(row["done"])) for row in rows}
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path}: not the list of an ensemble's runs: {describe_cause(error, path)}", code="damaged-file", path=path
        ) from error
    # A name with a folder in it would lead elsewhere.
    if not members or any(file_name(name) != name for name in members):
        raise InputError(
            f"{path}: not the list of an ensemble's runs, found {', '.join(members) or 'none'}, expected names of "
            "folders beside it",
            code="damaged-file",
            path=path,
        )
    return members


def write_ensemble(folder: Path, members: Mapping[str, EnsembleMember]) -> None:
    """Write the members of an ensemble, which `read_ensemble` reads.

    Raises:
        InputError: `unwritable-file`.
    """
    rows = [{"folder": name, "seed": member.seed, "done": member.done} for name, member in members.items()]
    write_text(folder / ENSEMBLE_INFO, yaml.safe_dump({"runs": rows}, sort_keys=False))
