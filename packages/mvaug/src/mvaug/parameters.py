"""What a config may say about a transform's strength: a number, a range or a choice, and how it is drawn.

The notation is that of imgaug as existing configs write it in YAML: `k: 5` is a constant, `angle: [-90, 90]` a uniform
range, `k: [3, 5, 7]` (three or more) a choice, and `k: [[0, 2]]` (a list in a list) a choice of two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Values:
    """One parameter's distribution: hashable, so that a whole pipeline is."""

    kind: Literal["constant", "uniform", "choice"]
    values: tuple[Any, ...]

    @property
    def low(self) -> Any:
        """The smallest value that can be drawn."""
        return min(self.values)

    @property
    def high(self) -> Any:
        """The largest value that can be drawn."""
        return max(self.values)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What a transform expects under one name.

    Attributes:
        default: in the notation of configs; None: the parameter is optional and absent.
        low: smallest value allowed.
        high: largest value allowed.
        integer: whole numbers only; a range then means every whole number in it, ends included.
        flag: true, false, or the probability of true.
        axes: also accepted as {x: ..., y: ...}, which draws the two axes apart.
    """

    default: Any = None
    low: float = -np.inf
    high: float = np.inf
    integer: bool = False
    flag: bool = False
    axes: bool = False


class Draws:
    """Draws one transform's parameters from the generator it was handed, in the order the transform asks."""

    def __init__(self, parameters: Mapping[str, Values], generator: np.random.Generator):
        self._parameters = parameters
        self.generator = generator

    def __contains__(self, name: str) -> bool:
        """Whether the parameter was given or has a default."""
        return name in self._parameters

    def number(self, name: str) -> float:
        """A draw of a real parameter."""
        values = self._parameters[name]
        if values.kind == "constant":
            return float(values.values[0])
        if values.kind == "uniform":
            return float(self.generator.uniform(*values.values))
        return float(values.values[int(self.generator.integers(len(values.values)))])

    def integer(self, name: str) -> int:
        """A draw of a whole-number parameter; ranges include both ends."""
        values = self._parameters[name]
        if values.kind == "uniform":
            return int(self.generator.integers(int(values.low), int(values.high) + 1))
        return int(self.number(name))

    def flag(self, name: str) -> bool:
        """A draw of a yes/no parameter, whose value is the probability of yes."""
        return bool(self.generator.random() < self.number(name))

    def pair(self, name: str) -> tuple[float, float]:
        """Draws for x and y: one for both, or one each where the config gave {x: ..., y: ...}."""
        if name in self._parameters:
            both = self.number(name)
            return both, both
        return self.number(f"{name}.x"), self.number(f"{name}.y")

    def has_pair(self, name: str) -> bool:
        """Whether `pair` can be drawn."""
        return name in self._parameters or f"{name}.x" in self._parameters


@dataclass(frozen=True, kw_only=True)
class Transform:
    """One step of a pipeline as a config asks for it.

    Attributes:
        name: imgaug's, a key of `GEOMETRIC` or `PHOTOMETRIC`.
        p: probability that a view goes through it.
        parameters: name to distribution, checked and with defaults filled in.
    """

    name: str
    p: float
    parameters: tuple[tuple[str, Values], ...]

    def draws(self, generator: np.random.Generator) -> Draws:
        """The parameters, ready to be drawn."""
        return Draws(dict(self.parameters), generator)


def parse_parameters(
    given: Mapping[str, Any], specification: Mapping[str, Parameter], where: str
) -> tuple[tuple[str, Values], ...]:
    """Checked distributions of a transform's parameters, defaults filled in.

    Args:
        given: parameter name to number, list, or {x: ..., y: ...}.
        specification: what the transform expects.
        where: for messages, such as "imgaug.MotionBlur".

    Raises:
        ValueError: for a name the transform does not have (the message lists those it has) and for values of the wrong
            type or out of range.
    """
    unknown = [name for name in given if name not in specification]
    if unknown:
        raise ValueError(
            f"{where} has no parameter {', '.join(map(repr, unknown))}; it has {', '.join(specification) or 'none'}"
        )
    parsed: list[tuple[str, Values]] = []
    for name, parameter in specification.items():
        value = given.get(name, parameter.default)
        if value is None:
            continue
        if isinstance(value, Mapping):
            if not parameter.axes or set(value) - {"x", "y"} or not value:
                axes = "numbers or lists under x and y" if parameter.axes else "a number or a list"
                raise ValueError(f"{where}.{name} takes {axes}, got {dict(value)}")
            neutral = 1.0 if name == "scale" else 0.0
            for axis in ("x", "y"):
                values = parse_values(value.get(axis, neutral), parameter, f"{where}.{name}.{axis}")
                parsed.append((f"{name}.{axis}", values))
        else:
            parsed.append((name, parse_values(value, parameter, f"{where}.{name}")))
    return tuple(parsed)


def parse_values(value: Any, parameter: Parameter, where: str) -> Values:
    """One distribution from the notation of configs.

    Raises:
        ValueError: for anything that is not a finite number or a list of them, or lies outside the allowed range.
    """
    entries: Sequence[Any]
    if isinstance(value, Sequence) and not isinstance(value, str):
        nested = len(value) == 1
        entries = value[0] if nested and isinstance(value[0], Sequence) and not isinstance(value[0], str) else value
        kind: Literal["constant", "uniform", "choice"] = "uniform" if len(entries) == 2 and not nested else "choice"
        if len(entries) == 1:
            kind = "constant"
    else:
        entries, kind = (value,), "constant"
    if len(entries) == 0:
        raise ValueError(f"{where} is an empty list; give a number, [low, high] or three or more values to choose from")
    for entry in entries:
        if isinstance(entry, bool) and not parameter.flag:
            raise ValueError(f"{where} takes numbers, got {value!r}")
        if not isinstance(entry, int | float | np.number) or not np.isfinite(entry):
            raise ValueError(f"{where} takes numbers, [low, high] or a list to choose from, got {value!r}")
        if parameter.integer and int(entry) != entry:
            raise ValueError(f"{where} takes whole numbers, got {value!r}")
        low, high = (0.0, 1.0) if parameter.flag else (parameter.low, parameter.high)
        if not low <= entry <= high:
            raise ValueError(f"{where} must lie in [{low:g}, {high:g}], got {value!r}")
    numbers = tuple(int(entry) if parameter.integer else float(entry) for entry in entries)
    if kind == "uniform" and numbers[0] > numbers[1]:
        raise ValueError(f"{where} is the range {value!r}, whose low end exceeds its high end")
    return Values(kind=kind, values=numbers)
