"""Folders of ensembles: runs of one config with different seeds, and the one place that tells the runs of a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mvgeom.documents import parse_yaml
from mvgeom.errors import InputError
from mvgeom.files import file_name, read_text, write_text
from mvtrain.runtime.commands import command
from mvtrain.runtime.damaged_files import describe_cause
from mvtrain.runtime.folders import ENSEMBLE_INFO, RUN_INFO, check_run_folder, is_ensemble


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
