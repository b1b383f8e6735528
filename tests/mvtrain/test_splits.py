"""Splits: every frame in exactly one of them, the same again for the same seed, sizes near the fractions."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.errors import raises_input
from mvgeom.errors import InputError
from mvtrain.config import Config, DataConfig, ModelConfig, TrainingConfig
from mvtrain.project.project import Project
from mvtrain.project.splits import SPLIT_NAMES, Split, read_split, split_frames, write_split

SESSIONS = st.lists(st.integers(1, 30), min_size=1, max_size=8).map(
    lambda sizes: tuple(f"s{i}" for i, size in enumerate(sizes) for _ in range(size))
)
FRACTIONS = st.sampled_from([(0.8, 0.1), (0.95, 0.05), (0.5, 0.25), (0.7, 0.3), (1.0, 0.0), (0.6, 0.0), (1 / 3, 1 / 3)])


def project_of(sessions: tuple[str, ...], visible: int = 2, root: Path = Path("/nowhere")) -> Project:
    num_frames = len(sessions)
    return Project(
        root=root,
        view_names=("a",),
        keypoint_names=("k",),
        image_names=tuple((f"{session}_a/{i}.png",) for i, session in enumerate(sessions)),
        sessions=sessions,
        points=np.zeros((num_frames, 1, 1, 2)),
        visibility=np.full((num_frames, 1, 1), visible, dtype=np.int8),
        file_sizes=np.full((num_frames, 1, 2), 8),
        boxes=None,
        cameras=(None,) * num_frames,
        crop_to_full=np.tile(np.eye(2, 3), (num_frames, 1, 1, 1)),
    )


def split(sessions: tuple[str, ...], kind: Any = "random", **training: Any) -> Split:
    config = Config(data=DataConfig(split=kind), training=TrainingConfig(**training))
    return split_frames(project_of(sessions), config)


def attempt(sessions: tuple[str, ...], kind: str, **training: Any) -> Split | None:
    """Return the split, or None where one of its parts would be empty."""
    try:
        return split(sessions, kind, **training)
    except InputError as error:
        code = error.code
    assert code in ("empty-split", "too-few-sessions")
    return None


def assign_splits(split: Split) -> list[np.ndarray]:
    return [getattr(split, name) for name in SPLIT_NAMES]


@given(
    sessions=SESSIONS,
    kind=st.sampled_from(["random", "block", "session"]),
    fractions=FRACTIONS,
    seed=st.integers(0, 5),
    train_frames=st.sampled_from([1, 0.3, 2, 5, 1000]),
)
@settings(max_examples=100, deadline=None)
def test_every_frame_in_exactly_one_set(
    sessions: tuple[str, ...], kind: str, fractions: tuple[float, float], seed: int, train_frames: float
) -> None:
    arguments = {"train_prob": fractions[0], "val_prob": fractions[1], "rng_seed_data_pt": seed}
    result = attempt(sessions, kind, train_frames=train_frames, **arguments)
    if result is None:
        assert kind != "random" or len(sessions) < 4
        return
    rows = np.concatenate(assign_splits(result))
    assert sorted(rows) == list(range(len(sessions)))
    for part in assign_splits(result):
        assert (np.diff(part) > 0).all()
        assert part.dtype == np.int64
    for name in SPLIT_NAMES:
        np.testing.assert_array_equal(np.flatnonzero(result.names() == name), getattr(result, name))
    again = split(sessions, kind, train_frames=train_frames, **arguments)
    for part, same in zip(assign_splits(result), assign_splits(again), strict=True):
        np.testing.assert_array_equal(part, same)
    whole = split(sessions, kind, **arguments)
    np.testing.assert_array_equal(result.validation, whole.validation)
    np.testing.assert_array_equal(result.test, whole.test)
    assert len(result.validation) > 0 or fractions[1] == 0
    assert len(result.test) > 0 or sum(fractions) > 1 - 1e-6


@given(num_frames=st.integers(20, 300), fractions=FRACTIONS, seed=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_random_sizes(num_frames: int, fractions: tuple[float, float], seed: int) -> None:
    result = split(("s",) * num_frames, train_prob=fractions[0], val_prob=fractions[1], rng_seed_data_pt=seed)
    assert abs(len(result.train) - fractions[0] * num_frames) <= 2
    assert abs(len(result.validation) - fractions[1] * num_frames) < 1
    assert len(result.unused) == 0


@given(sessions=SESSIONS, fractions=FRACTIONS)
@settings(max_examples=50, deadline=None)
def test_blocks_are_in_order_within_each_session(sessions: tuple[str, ...], fractions: tuple[float, float]) -> None:
    """Also where the rows of the sessions are interleaved in the table."""
    order = np.random.default_rng(0).permutation(len(sessions))
    mixed = tuple(sessions[i] for i in order)
    result = attempt(mixed, "block", train_prob=fractions[0], val_prob=fractions[1])
    if result is None:
        return
    number = np.array([SPLIT_NAMES.index(name) for name in result.names()])
    for session in set(sessions):
        rows = number[np.asarray(mixed) == session]
        assert (np.diff(rows) >= 0).all()
        assert abs((rows == 0).sum() - fractions[0] * len(rows)) <= 0.5 + 1e-9


@given(sessions=SESSIONS, fractions=FRACTIONS, seed=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_sessions_stay_whole(sessions: tuple[str, ...], fractions: tuple[float, float], seed: int) -> None:
    result = attempt(sessions, "session", train_prob=fractions[0], val_prob=fractions[1], rng_seed_data_pt=seed)
    if result is None:
        assert len(set(sessions)) < 3
        return
    names = result.names()
    for session in set(sessions):
        assert len(set(names[np.asarray(sessions) == session])) == 1


def test_seed_changes_the_random_split() -> None:
    one, other = (split(("s",) * 50, rng_seed_data_pt=seed, train_prob=0.5, val_prob=0.5) for seed in (0, 1))
    assert one.train.tolist() != other.train.tolist()


@pytest.mark.parametrize(("train_frames", "kept"), [(1, 80), (0.5, 40), (0.001, 1), (10, 10), (80, 80), (500, 80)])
def test_train_frames(train_frames: float, kept: int) -> None:
    result = split(("s",) * 100, train_prob=0.8, val_prob=0.1, train_frames=train_frames)
    assert (len(result.train), len(result.unused)) == (kept, 80 - kept)
    assert (len(result.validation), len(result.test)) == (10, 10)


def test_fractions_that_add_up_to_one_leave_no_test_frames() -> None:
    for train, validation in ((0.9, 0.1), (0.95, 0.05), (0.7, 0.3)):
        assert len(split(("s",) * 37, train_prob=train, val_prob=validation).test) == 0


@pytest.mark.parametrize(
    ("sessions", "kind", "fractions", "code", "facts"),
    [
        (("s",), "random", (0.95, 0.05), "empty-split", {"split": "train", "key": "training.train_prob", "found": 1}),
        (("s", "s"), "random", (0.5, 0.25), "empty-split", {"split": "train", "found": 2}),
        (
            ("s",) * 4,
            "block",
            (0.95, 0.05),
            "empty-split",
            {"split": "validation", "key": "training.val_prob", "found": 4},
        ),
        (("s",) * 4, "block", (0.95, 0.0), "empty-split", {"split": "test", "found": 4}),
        (
            ("a", "b"),
            "session",
            (0.5, 0.25),
            "too-few-sessions",
            {"key": "data.split", "found": 2, "expected": 3},
        ),
        (("a",), "session", (0.5, 0.5), "too-few-sessions", {"key": "data.split", "found": 1, "expected": 2}),
    ],
)
def test_splits_that_would_be_empty(
    sessions: tuple[str, ...], kind: str, fractions: tuple[float, float], code: str, facts: dict[str, Any]
) -> None:
    with raises_input(code, **facts):
        split(sessions, kind, train_prob=fractions[0], val_prob=fractions[1])


@pytest.mark.parametrize("num_frames", [1, 2])
def test_the_advice_for_few_frames_leaves_no_split_empty(num_frames: int) -> None:
    sessions = ("s",) * num_frames
    with raises_input("empty-split") as caught:
        split(sessions, train_prob=0.7, val_prob=0.2)
    advised = {key: float(value) for key, value in re.findall(r"training\.(\w+): (\d)", str(caught.value))}
    assert len(split(sessions, **advised).train) == num_frames


def test_training_frames_without_labels() -> None:
    with raises_input("no-labels", key="training.train_prob"):
        split_frames(project_of(("s",) * 100, visible=1), Config())


def write_run(folder: Path, project: Project, config: Config, *, ended: bool = True, old: bool = False) -> Path:
    """Files of a run that tell its split: as now, or as runs wrote it before; return its checkpoint."""
    run = folder / f"run{len(list(folder.glob('run*')))}"
    (run / "checkpoints" / "best").mkdir(parents=True)
    (run / "run.yaml").write_text("[]")
    (run / "config.yaml").write_text(f"data: {{data_dir: {project.root}}}\n")
    names = split_frames(project, config).names()
    if not old:
        write_split(run, project, names)
    if ended:
        rows = [f"{images[0]},1,1,1,{name}\n" for images, name in zip(project.image_names, names, strict=True)]
        head = "scorer,m,m,m,m\nbodyparts,k,k,k,set\ncoords,x,y,likelihood,\n"
        (run / "predictions_a.csv").write_text(head + "".join(rows))
    return run / "checkpoints" / "best"


def after(checkpoint: Path, config: Config) -> Config:
    return replace(config, model=ModelConfig(checkpoint=checkpoint))


def test_frames_are_known_whatever_the_suffix_of_their_images_unless_two_differ_in_that_alone(tmp_path: Path) -> None:
    project = project_of(("s",) * 3)

    def with_images(*names: str) -> Project:
        return replace(project, image_names=tuple((f"labeled-data/s_a/{name}",) for name in names))

    write_split(tmp_path, with_images("img1.jpg", "img2.jpg", "img2.png"), ["train", "train", "test"])
    assert read_split(tmp_path, with_images("img1.png", "img2.png", "img2.bmp")) == ["train", "test", None]


KINDS = st.sampled_from(["random", "block", "session"])


@given(
    sessions=SESSIONS,
    more=SESSIONS,
    kind=KINDS,
    kinds=KINDS,
    fractions=FRACTIONS,
    others=FRACTIONS,
    seeds=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    old=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_a_run_that_goes_on_tests_and_trains_on_what_the_first_one_did(
    sessions: tuple[str, ...],
    more: tuple[str, ...],
    kind: Any,
    kinds: Any,
    fractions: tuple[float, float],
    others: tuple[float, float],
    seeds: tuple[int, int],
    old: bool,
) -> None:
    """Whatever is added, and even with another seed, kind and other fractions; or else a warning says so."""

    def config(kind: Any, fractions: tuple[float, float], seed: int) -> Config:
        training = TrainingConfig(train_prob=fractions[0], val_prob=fractions[1], rng_seed_data_pt=seed)
        return Config(data=DataConfig(split=kind), training=training)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        root.mkdir()
        first, second = config(kind, fractions, seeds[0]), config(kinds, others, seeds[1])
        before, now = project_of(sessions, root=root), project_of((*sessions, *more), root=root)
        if attempt(sessions, kind, train_prob=fractions[0], val_prob=fractions[1]) is None:
            return
        if attempt((*sessions, *more), kinds, train_prob=others[0], val_prob=others[1]) is None:
            return
        checkpoint = write_run(Path(folder), before, first, old=old)
        names = split_frames(before, first).names()
        result = split_frames(now, after(checkpoint, second))
        assert sorted(np.concatenate(assign_splits(result))) == list(range(len(now)))
        if result.warnings:
            assert result.kept_from is None
            wanted = {"validation": others[1] > 0, "test": sum(others) < 1 - 1e-6}
            assert any(wanted.get(name, True) and not (names == name).any() for name in SPLIT_NAMES[:3])
            return
        assert result.names()[: len(sessions)].tolist() == names.tolist()
        assert result.kept_from == checkpoint.parent.parent
        # And a third run keeps what the second had.
        third = write_run(Path(folder), now, after(checkpoint, second))
        again = split_frames(project_of((*sessions, *more, *more), root=root), after(third, first))
        if not again.warnings:
            assert again.names()[: len(now)].tolist() == result.names().tolist()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", ["random", "block", "session"])
def test_the_same_project_has_the_same_split_as_without_the_first_run(tmp_path: Path, kind: Any, old: bool) -> None:
    sessions = tuple(f"s{i % 4}" for i in range(60))
    training = TrainingConfig(train_prob=0.6, val_prob=0.2, train_frames=0.5)
    config = Config(data=DataConfig(split=kind), training=training)
    project = project_of(sessions, root=tmp_path)
    checkpoint = write_run(tmp_path, project, config, old=old)
    alone, result = split_frames(project, config), split_frames(project, after(checkpoint, config))
    for part, same in zip(assign_splits(alone), assign_splits(result), strict=True):
        np.testing.assert_array_equal(part, same)


def test_new_frames_fill_the_splits_that_lack_most(tmp_path: Path) -> None:
    config = Config(training=TrainingConfig(train_prob=0.8, val_prob=0.1))
    checkpoint = write_run(tmp_path, project_of(("s",) * 20, root=tmp_path), config)
    result = split_frames(project_of(("s",) * 100, root=tmp_path), after(checkpoint, config))
    assert [len(part) for part in assign_splits(result)] == [80, 10, 10, 0]


def test_neighbors_of_test_frames_in_time_are_not_trained_on(tmp_path: Path) -> None:
    """By blocks, frames that are added between others belong to the block of their neighbors."""
    config = Config(data=DataConfig(split="block"), training=TrainingConfig(train_prob=0.6, val_prob=0.2))
    numbers = [*range(0, 100, 10), *range(5, 100, 10)]
    names = tuple((f"s_a/img{number}.png",) for number in numbers)
    before = replace(project_of(("s",) * 10, root=tmp_path), image_names=names[:10])
    now = replace(project_of(("s",) * 20, root=tmp_path), image_names=names)
    result = split_frames(now, after(write_run(tmp_path, before, config), config)).names()
    in_time = [SPLIT_NAMES.index(name) for name in result[np.argsort(numbers)]]
    assert in_time == sorted(in_time)


def test_a_run_of_another_project_changes_nothing(tmp_path: Path) -> None:
    config = Config(training=TrainingConfig(train_prob=0.6, val_prob=0.2))
    other = tmp_path / "other"
    other.mkdir()
    project = project_of(("s",) * 30, root=tmp_path)
    seeded = replace(config, training=replace(config.training, rng_seed_data_pt=5))
    checkpoint = write_run(tmp_path, project_of(("s",) * 30, root=other), seeded)
    expected = split_frames(project, config).names().tolist()
    assert split_frames(project, after(checkpoint, config)).names().tolist() == expected
    other.rmdir()  # the project was moved: its frames are known by their names
    kept = split_frames(project, after(checkpoint, config))
    assert kept.names().tolist() == split_frames(project, seeded).names().tolist() != expected


def test_split_from_keeps_the_test_frames_of_a_run_for_one_that_starts_anew(tmp_path: Path) -> None:
    config = Config(training=TrainingConfig(train_prob=0.6, val_prob=0.2))
    project, more = project_of(("s",) * 30, root=tmp_path), project_of(("s",) * 50, root=tmp_path)
    run = write_run(tmp_path, project, config).parent.parent
    from_run = replace(config, data=DataConfig(split_from=run))
    names = split_frames(more, from_run).names()
    assert names[:30].tolist() == split_frames(project, config).names().tolist()
    with raises_input("not-a-run"):
        split_frames(project, replace(config, data=DataConfig(split_from=tmp_path / "nothing")))
    (run / "split.csv").unlink()
    (run / "predictions_a.csv").unlink()
    with raises_input("missing-file", key="data.split_from"):
        split_frames(project, from_run)
    (run / "split.csv").write_text("image,set\nlabeled-data/s/1.png,exam\n")
    with raises_input("damaged-file", value="exam"):
        split_frames(project, from_run)
    (run / "split.csv").write_text("image,set\nlabeled-data/t/1.png,test\n")
    with raises_input("frames-differ", key="data.split_from"):
        split_frames(project, from_run)
