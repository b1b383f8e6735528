"""Small faults put into modules one at a time: those that no test notices are listed.

    nice -n 10 uv run python benchmarks/mutants.py [--only triangulation,affine] [--sample 30] [--seed 0]

A mutant is a module with one operator, comparison, number or truth value changed, one condition turned around, one
statement left out, or one `.detach()` removed. `--sample` of each module are drawn by `--seed` (0 takes all). Each is
imported by a forked process in the place of the module, and the module's tests run until one fails: first those that
take no time, with few examples of each property, then, if all passed, the whole files. A mutant that runs ten times as
long as the module itself counts as noticed. Text of errors and messages is not changed.

Whether a survivor is a fault that a test should notice, or the same program in other words, has to be decided by
reading it.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from itertools import islice
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).parents[1]

SLOW = "not compiles and not gradients and not graph and not benchmark and not command"
"""Tests that the first round leaves out."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A module and its tests.

    Attributes:
        module: Name of the module.
        tests: Test files, those first that notice most.
    """

    module: str
    tests: tuple[str, ...]


TARGETS = {
    "projection": Target(
        module="mvgeom.projection",
        tests=("mvgeom/test_projection.py", "mvgeom/test_distortion.py", "mvgeom/test_shapes.py"),
    ),
    "distortion": Target(
        module="mvgeom.distortion",
        tests=("mvgeom/test_distortion.py", "mvgeom/test_projection.py", "mvgeom/test_cameras.py"),
    ),
    "triangulation": Target(
        module="mvgeom.triangulation",
        tests=("mvgeom/test_triangulation.py", "mvgeom/test_shapes.py", "mvgeom/test_reconstruction.py"),
    ),
    "refinement": Target(module="mvgeom.refinement", tests=("mvgeom/test_triangulation.py", "mvgeom/test_shapes.py")),
    "robust": Target(
        module="mvgeom.robust",
        tests=("mvgeom/test_triangulation.py", "mvgeom/test_reconstruction.py", "mvgeom/test_shapes.py"),
    ),
    "affine": Target(
        module="mvgeom.affine", tests=("mvgeom/test_affine.py", "mvaug/test_fit.py", "mvaug/test_geometric.py")
    ),
    "geometric": Target(module="mvtrain.losses.geometric", tests=("mvtrain/test_losses_geometric.py",)),
    "heatmap": Target(module="mvtrain.losses.heatmap", tests=("mvtrain/test_losses_heatmap.py",)),
    "masking": Target(module="mvtrain.model.masking", tests=("mvtrain/test_masking.py",)),
    "state": Target(
        module="mvtrain.training.state",
        tests=("mvtrain/test_hostile_weights.py", "mvtrain/test_resume_state.py", "mvtrain/test_full_disk.py"),
    ),
    "loop": Target(
        module="mvtrain.training.loop",
        tests=(
            "mvtrain/test_resume_state.py",
            "mvtrain/test_validation.py",
            "mvtrain/test_completion.py",
            "end_to_end/test_resume.py",
            "end_to_end/test_fit.py",
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A changed module: its source, and the line and words that differ."""

    source: str
    line: int
    change: str


_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def mutants(source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module."""
    whole = ast.parse(source)
    skipped = _skipped(whole)
    for number, node in enumerate(ast.walk(whole)):
        for variant in range(0 if node in skipped else len(_changes(node))):
            tree = copy.deepcopy(whole)
            changed = next(islice(ast.walk(tree), number, None))
            new = _changes(changed)[variant]
            text = f"{_short(ast.unparse(node))}  ->  {_short(ast.unparse(new))}"
            _put(tree, changed, new)
            yield Mutant(
                source=ast.unparse(ast.fix_missing_locations(tree)), line=getattr(node, "lineno", 0), change=text
            )


def _changes(node: ast.AST) -> list[ast.AST]:
    """Return what may stand in a node's place."""
    if isinstance(node, ast.Compare):
        return [_with(node, ops=[_SWAPPED[type(op)](), *node.ops[1:]]) for op in node.ops[:1] if type(op) in _SWAPPED]
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in _SWAPPED:
        return [_with(node, op=_SWAPPED[type(node.op)]())]
    if isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        return [node.operand]
    if isinstance(node, ast.IfExp):
        return [_with(node, test=ast.UnaryOp(op=ast.Not(), operand=node.test))]
    if isinstance(node, ast.If) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        return [_with(node, test=ast.UnaryOp(op=ast.Not(), operand=node.test))]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [ast.Constant(value=not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return [ast.Constant(value=node.value + 1 if isinstance(node.value, int) else 2 * node.value or 1.0)]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "detach":
        return [node.func.value]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [ast.Pass()]
    if isinstance(node, ast.Break | ast.Continue):
        return [ast.Pass()]
    return []


def _with(node: ast.AST, **values: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in values.items():
        setattr(new, name, value)
    return new


def _skipped(whole: ast.Module) -> set[ast.AST]:
    """Return the nodes of annotations, decorators, messages, and of the code of type checkers."""
    roots: list[ast.AST | None] = []
    for node in ast.walk(whole):
        if isinstance(node, ast.arg | ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            roots += [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            roots += node.decorator_list
        elif isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert) or _is_for_types(node):
            roots.append(node)
    return {inner for root in roots if root is not None for inner in ast.walk(root)}


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _put(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                setattr(parent, name, [new if each is old else each for each in value])


def _short(text: str) -> str:
    return text.splitlines()[0][:70]


class _Loader(SourceFileLoader):
    """Loader of a mutant in the place of a module."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Return the mutant's code, which is compiled anew."""
        return compile(self._source, self.path, "exec")


class _Finder:
    """Finder of a single module."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the mutant's spec for the module's name."""
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(
            name, self._path, loader=_Loader(name, str(self._path), self._source)
        )


def run_tests(target: Target, source: str, options: Sequence[str], limit: float) -> tuple[bool, float]:
    """Run a target's tests on a mutant in a forked process; return True if all passed, and the seconds."""
    start, child = time.monotonic(), os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for handle in (0, 1, 2):
                os.dup2(null, handle)
            path = Path(importlib.util.find_spec(target.module).origin)  # type: ignore[union-attr, arg-type]
            for name in [each for each in sys.modules if each.split(".")[0] in ("mvgeom", "mvaug", "mvtrain")]:
                del sys.modules[name]  # parents that `find_spec` imported, which have the module itself
            sys.meta_path.insert(0, _Finder(target.module, path, source))  # type: ignore[arg-type]
            import pytest

            tests = [str(ROOT / "tests" / each) for each in target.tests]
            status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *options, *tests]))
        finally:
            os._exit(status)
    while time.monotonic() - start < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            # 5: no test is left by `-k`.
            return os.waitstatus_to_exitcode(status) in (0, 5), time.monotonic() - start
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False, time.monotonic() - start


def preload() -> None:
    """Import what takes long and is not ours, so that forked processes have it."""
    import cv2
    import hypothesis
    import lightning_fabric
    import matplotlib
    import numpy
    import omegaconf
    import pandas
    import pytest
    import rich.console
    import safetensors.torch
    import scipy.optimize
    import timm
    import torch
    import torch.distributed.checkpoint.state_dict

    del cv2, lightning_fabric, matplotlib, numpy, omegaconf, pandas, pytest, rich, safetensors, scipy, timm
    torch.set_num_threads(1)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", deadline=None, phases=phases, database=None, derandomize=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TARGETS))
    parser.add_argument("--sample", type=int, default=30, help="mutants of each module; 0 takes all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file of survivors, JSON lines")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    preload()
    tried = survived = 0
    for name in arguments.only.split(","):
        target = TARGETS[name]
        path = next(ROOT.glob(f"packages/*/src/{target.module.replace('.', '/')}.py"))
        source = path.read_text(encoding="utf-8")
        found = list(mutants(source))
        chosen = found
        if arguments.sample:
            chosen = random.Random(f"{name} {arguments.seed}").sample(found, min(arguments.sample, len(found)))
        rounds = (["-k", SLOW, "--hypothesis-profile=mutants"], ["--hypothesis-profile=mutants"])
        limits = []
        for options in rounds:
            passed, seconds = run_tests(target, source, options, 1200)
            assert passed, f"{name}: its tests fail without a fault"
            limits.append(max(30.0, 10 * seconds))
        print(f"{name}: {len(chosen)} of {len(found)} mutants, tests take {limits[0] / 10:.0f} s at most", flush=True)
        left = 0
        for mutant in sorted(chosen, key=lambda mutant: mutant.line):
            if all(
                run_tests(target, mutant.source, options, limit)[0]
                for options, limit in zip(rounds, limits, strict=True)
            ):
                left += 1
                print(f"  survived: {path.name}:{mutant.line}: {mutant.change}", flush=True)
                if arguments.out is not None:
                    with arguments.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"module": target.module, "line": mutant.line, "change": mutant.change}))
                        file.write("\n")
        print(f"{name}: {left} of {len(chosen)} survived", flush=True)
        tried, survived = tried + len(chosen), survived + left
    print(f"all: {survived} of {tried} survived", flush=True)


if __name__ == "__main__":
    main()
