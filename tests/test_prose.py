"""The repository's prose: short lines of pages, one word for a time step, docstrings that name the thing."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LENGTH = 120
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "packages").glob("*/README.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
CODE = sorted(path for folder in ("packages", "tests", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py"))
TEXTS = [
    *PAGES,
    *CODE,
    *(
        path
        for folder, suffixes in {
            "packages": ("*.js", "*.html", "*.j2", "*.css", "*.toml"),
            "examples": ("*.py", "*.yaml"),
            ".github": ("*.yml", "*.md"),
        }.items()
        for suffix in suffixes
        for path in sorted((ROOT / folder).rglob(suffix))
    ),
]
"""Pages, code, tests, the pages that browsers show, examples and workflows."""
OTHER_WORDS = re.compile(
    r"(?i)(?<![a-z])(moment|instants?|pictures?|beliefs?|believ(e|es|ed|ing)|trust(s|ed|ing)?|(un)?seal(s|ed|ing)?)(?![a-z])"
)
"""Words with another one in the table of CONTRIBUTING.md. `moments` stays: those of a distribution and of Adam."""
OTHER_VERBS = re.compile(r"(^|_)(says?|said|tells?|told|looked(?!_(at|for|from|up))|judge[sd]?|judging|judgement)(_|$)")
"""Verbs that name nothing: functions, arguments and variables load, read, write, report, search, assess."""
NAMED_BY_AN_ISSUE = {"test_a_blob_lands_where_the_map_says", "test_the_image_is_where_the_map_says"}
RIDDLE = re.compile(r"(What|How|Whether|Where|Which|Why|When)\b")
PREDICATE = re.compile(r"(True|False) (if|where|when)\b|Return whether\b|(Test|Check|Tell) whether\b")
ARGUMENT = re.compile(r" {4}(\w+): (\S.*)")
NAMED = re.compile(r"[A-Z0-9(`\"'\[]")
FENCE = re.compile(r" *(`{3,})")
CANNOT_BE_BROKEN = re.compile(r"\s*(\||!\[|\[[^\]]+\]: )")  # tables, images, link definitions


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines outside code blocks."""
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        found = FENCE.match(line)
        if found and not fence:
            fence = found[1]
        elif found and found[1].startswith(fence):
            fence = ""
        elif not fence:
            yield number, line


def too_long(text: str) -> list[int]:
    """Return the numbers of the lines that could be broken and are longer than the limit."""
    return [number for number, line in prose(text) if len(line) > MAX_LENGTH and not CANNOT_BE_BROKEN.match(line)]


def time_steps(text: str) -> list[int]:
    """Return the numbers of the lines that call a frame a moment, outside code."""
    return [number for number, line in prose(text) if re.search(r"(?i)\bmoments?\b", re.sub(r"`[^`]*`", "", line))]


def other_words(text: str) -> list[str]:
    """Return the words of a text for which there is another one; tables name both."""
    lines = (line for line in text.splitlines() if not line.startswith("|"))
    return [found[0] for line in lines for found in OTHER_WORDS.finditer(line)]


def other_verbs(source: str) -> list[str]:
    """Return the names of functions, classes, arguments and variables that have a verb for which there is another."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return sorted(name for name in names - NAMED_BY_AN_ISSUE if OTHER_VERBS.search(name.lower()))


@cache
def docstrings(source: str) -> tuple[list[tuple[int, str]], list[tuple[str, str]]]:
    """Return line and text of all docstrings, those of attributes too, and name and docstring of what is defined.

    Sources are parsed once for all tests. Texts alone are kept: a million nodes would slow down the whole process.
    """
    texts, definitions = [], []
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            definitions.append((node.name, ast.get_docstring(node) or ""))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            texts.append((node.value.lineno, node.value.value))
    return texts, definitions


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Walk the statements within a node, not their expressions, which are nine of ten nodes."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, field, ()):
            yield child
            yield from statements(child)


def riddles(source: str) -> list[int]:
    """Return the lines of docstrings, those of attributes too, that begin with a clause and not with the thing."""
    return [line for line, text in docstrings(source)[0] if RIDDLE.match(text.lstrip())]


def vague_arguments(source: str) -> list[str]:
    """Return the arguments and attributes that docstrings describe by an addition to their name: "of the run"."""
    found = []
    for name, docstring in docstrings(source)[1]:
        listed = False
        for line in docstring.splitlines():
            if line[:1].strip():
                listed = line in ("Args:", "Attributes:")
            described = ARGUMENT.fullmatch(line)
            if listed and described and not NAMED.match(described[2]):
                found.append(f"{name}: {described[1]}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_pages_are_short(page: Path) -> None:
    assert not too_long(page.read_text(encoding="utf-8")), f"lines of {page} longer than {MAX_LENGTH} characters"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_time_step_is_a_frame(page: Path) -> None:
    assert not time_steps(page.read_text(encoding="utf-8")), f"lines of {page} that say moment: write frame"


def test_every_text_has_the_words_of_the_table() -> None:
    found = {
        str(path.relative_to(ROOT)): words
        for path in TEXTS
        if path != Path(__file__) and (words := other_words(path.read_text(encoding="utf-8")))
    }
    assert not found
    assert other_words("this moment\nsecond moments\n| `picture` |\na_picture of Trust") == [
        "moment",
        "picture",
        "Trust",
    ]


def test_names_have_the_verbs_of_the_table() -> None:
    found = {str(path.relative_to(ROOT)): names for path in CODE if (names := other_verbs(path.read_text("utf-8")))}
    assert not found
    assert other_verbs("def judge(told, lookup):\n    say, essay = told, lookup\n") == ["judge", "say", "told"]


def test_predicates_return_true_if() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in CODE
        if (names := [name for name, text in docstrings(path.read_text("utf-8"))[1] if PREDICATE.match(text)])
    }
    assert not found
    assert PREDICATE.match("True if it is.")
    assert not PREDICATE.match("Return True if it is.")


def test_docstrings_name_the_thing() -> None:
    found = {str(path.relative_to(ROOT)): lines for path in CODE if (lines := riddles(path.read_text("utf-8")))}
    assert not found
    assert riddles('"""What it is."""\nx = 1\n"""Where x is."""\ndef f():\n    """Do it."""\n') == [1, 3]


def test_arguments_are_described_by_their_names() -> None:
    found = {str(path.relative_to(ROOT)): names for path in CODE if (names := vague_arguments(path.read_text("utf-8")))}
    assert not found
    lines = ["Do it.", "", "Args:", "    seed: of the run.", "    size: Width in px,", "        of it: one number.", ""]
    body = "\n    ".join([*lines, "Returns:", "    it: of all."])
    assert vague_arguments(f'def f(seed, size):\n    """{body}\n    """\n') == ["f: seed"]


def test_what_counts_as_prose() -> None:
    long = "word " * 30
    exempt = f"| {long} |\n![{long}](a.png)\n[a]: {long}\n```text\n{long}\na moment\n```\n"
    text = f"{long}\n{exempt}- {long}\nMoments, `moment`\n"
    assert too_long(text) == [1, 9]
    assert time_steps(text) == [10]
    assert time_steps("`the moment`\n| two moments |\n") == [2]
