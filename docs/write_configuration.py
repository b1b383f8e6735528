"""Write docs/configuration.md from the dataclasses of the config: `uv run python docs/write_configuration.py`.

The page lies in the repository, so that it can be read there too; tests/mvtrain/test_config_reference.py compares.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from mvaug.move import MoveRanges
from mvtrain.config import LOSS_NAMES, Config, LossConfig
from mvtrain.config.keys import FOREIGN_KEYS, expected_at
from mvtrain.config.load import OF_PROJECT, PATH_KEYS
from mvtrain.model.backbone import BACKBONES
from mvtrain.synth import SyntheticSpec

PAGE = Path(__file__).parent / "configuration.md"


def _keys(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


INTRODUCTION = f"""# Configuration: every key

<!-- written by docs/write_configuration.py from the config's dataclasses; edit those -->

Look up the type, default and meaning of a key. A config is a YAML file. Every key may be left out unless it is
required. `mvtrain fit` and `mvtrain check` take changes on the command line, such as
`training.max_epochs=50`. [training](training.md) explains what keys do together, [moving](moving.md)
what differs from Lightning Pose.

| rule | |
|---|---|
| paths | relative to the config file; those on the command line, to the current folder: {_keys(PATH_KEYS)} |
| {_keys(OF_PROJECT)} with nothing there | relative to `data.data_dir` |
| `data.data_dir` and these, with nothing there | relative to the current folder, as in Lightning Pose |
| `${{section.key}}` | the value of another key |
| `???` | a value that the command line has to give |
| lengths | in epochs or in optimizer steps; a config that mixes the two is refused |
| an unknown key | an error that names the nearest known one |
| a key of another system | [named and ignored](#known-and-ignored) |
"""

LOSSES = f"""## `losses.<name>`

`<name>` is one of
{", ".join(f"`{name}`{' (3D)' if needs_cameras else ''}" for name, needs_cameras in LOSS_NAMES.items())}, or of a
[plugin](extending.md). The heatmap loss is always on. Any other is on when its section exists, and off again with
`log_weight: null`.
"""

IGNORED = """## Known and ignored

These keys have no counterpart in mvtrain. `mvtrain fit` names those that it finds in one line. A section stands for all
of its keys.
"""


def render_page() -> str:
    """Return the whole page as Markdown."""
    foreign = ", ".join(f"`{key}`" for key in sorted(FOREIGN_KEYS, key=lambda key: ("." in key, key)))
    return "\n".join(
        [
            INTRODUCTION,
            *[
                f"## `{dotted}`\n\n{inspect.getdoc(cls)}\n\n{_render_table(cls, dotted)}"
                for dotted, cls in sections_of(Config)
            ],
            LOSSES,
            _render_table(LossConfig, f"losses.{next(iter(LOSS_NAMES))}"),
            "## `training.imgaug_3d` as a mapping\n",
            _render_table(MoveRanges),
            "## `data.synthetic`\n",
            _render_table(SyntheticSpec),
            "## Backbones\n",
            "`model.backbone` is one of these names, or timm's own name of any plain vision transformer.\n",
            _table_rows(("name", "in timm"), [(f"`{name}`", f"`{in_timm}`") for name, in_timm in BACKBONES.items()]),
            IGNORED,
            textwrap.fill(foreign, 120, break_long_words=False, break_on_hyphens=False),
            "",
        ]
    )


def sections_of(cls: type, prefix: str = "") -> Iterator[tuple[str, type]]:
    """Dotted name and dataclass of every section that has keys of its own, but `losses`, in the order of the fields."""
    for field, hint in typing.get_type_hints(cls).items():
        for option in typing.get_args(hint) or (hint,):
            if field != "losses" and isinstance(option, type) and dataclasses.is_dataclass(option):
                if _plain_fields(option):
                    yield f"{prefix}{field}", option
                yield from sections_of(option, f"{prefix}{field}.")


def descriptions(cls: type) -> dict[str, str]:
    """Collect the description of each field: the text under it, or its entry under `Attributes:` of the class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    texts = dict(_texts_under_fields(tree))
    _, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    for name, text in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", attributes, re.MULTILINE):
        texts.setdefault(name, text)
    return {name: " ".join(text.split()) for name, text in texts.items()}


def _texts_under_fields(tree: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield statement.target.id, text.value


def yaml_value(value: object) -> str:
    """Format a default as in a config."""
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def default_of(field: dataclasses.Field[object]) -> str:
    """Return the default of a field in YAML, or `required`."""
    if field.default_factory is not dataclasses.MISSING:
        return f"`{yaml_value(field.default_factory())}`"
    return "required" if field.default is dataclasses.MISSING else f"`{yaml_value(field.default)}`"


def _render_table(cls: type, dotted: str | None = None) -> str:
    """Render a row per field; the type of a value comes from the schema, at `dotted` in a config."""
    texts = descriptions(cls)
    rows = []
    for field in _plain_fields(cls):
        expected = () if dotted is None else (expected_at(f"{dotted}.{field.name}"),)
        rows.append((f"`{field.name}`", *expected, default_of(field), _for_readers(texts[field.name])))
    return _table_rows(("key", *(() if dotted is None else ("type",)), "default", "meaning"), rows)


def _plain_fields(cls: type) -> list[dataclasses.Field[object]]:
    """Return the fields that are not sections, which have tables of their own."""
    return [field for field in dataclasses.fields(cls) if not dataclasses.is_dataclass(field.default_factory)]


def _table_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _for_readers(text: str) -> str:
    """Convert a docstring to Markdown, with YAML's words for Python's."""
    for python, in_yaml in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{python}\b", f"`{in_yaml}`", text)
    parts = text.split("`")  # every other one is code, where a backslash would show
    parts[::2] = [part.replace("<", "\\<") for part in parts[::2]]
    return text[0].upper() + "`".join(parts)[1:]


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
