"""docs/configuration.md: every key of the config with its default and a description."""

import dataclasses
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from mvtrain.config import Config, LossConfig, PatchMaskConfig
from mvtrain.config.keys import FOREIGN_KEYS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def writer() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "write_configuration.py"))


def rows_of_the_page() -> dict[str, list[str]]:
    """Return the cells after the key, by the dotted key."""
    rows, section = {}, ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            section = line.split("`")[1] if "`" in line else ""
        elif line.startswith("| `"):
            # Between pipes that are not escaped, as a type with alternatives has them.
            key, *cells = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            rows[f"{section}.{key.strip('`')}"] = cells
    return rows


def leaves(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        is_section = isinstance(value, dict) and key != "backbone_args"
        found |= leaves(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
    return found


def defaults() -> dict[str, Any]:
    """Return every key's default as OmegaConf reads it from the dataclasses; `???` where there is none."""
    sections = {field.name: field.default_factory for field in dataclasses.fields(Config)}
    del sections["losses"], sections["ignored"]
    sections |= {"training.patch_mask": PatchMaskConfig, "losses.<name>": LossConfig}
    found: dict[str, Any] = {}
    for name, cls in sections.items():
        values = OmegaConf.to_container(OmegaConf.structured(cls))
        assert isinstance(values, dict)
        found |= leaves(values, f"{name}.")  # type: ignore[arg-type]
    return found


def test_the_page_is_that_of_the_dataclasses(writer: dict[str, Any]) -> None:
    assert writer["render_page"]() == PAGE, "run: uv run python docs/write_configuration.py"


def test_every_key_is_there_with_its_default_and_a_description() -> None:
    rows, expected = rows_of_the_page(), defaults()
    for key, default in expected.items():
        assert key in rows, key
        kind, shown, meaning = rows[key]
        in_yaml = list(default) if isinstance(default, tuple) else default
        assert shown == "required" if default == "???" else yaml.safe_load(shown.strip("`")) == in_yaml, key
        assert kind, key
        assert meaning.endswith("."), key
        first = re.split(r"[:, ]", meaning)[0]  # has a capital letter, which a value or a name in Python must not get
        assert not re.search(r"\w[._]\w", first) or first.startswith("`"), key
        assert first.lower() not in kind.removeprefix("one of ").split(", "), key


def test_every_key_that_is_known_and_ignored_is_there() -> None:
    listed = PAGE.split("## Known and ignored")[1]
    assert {key for key in re.findall(r"`([\w.]+)`", listed) if key != "mvtrain"} == set(FOREIGN_KEYS)


def test_a_field_without_a_description_is_an_error(writer: dict[str, Any]) -> None:
    with pytest.raises(KeyError, match="silent"):
        writer["_render_table"](Undescribed)


@dataclasses.dataclass
class Undescribed:
    """One of its fields says nothing."""

    telling: int = 1
    """A number."""
    silent: int = 2
