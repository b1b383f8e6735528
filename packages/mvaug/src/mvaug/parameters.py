"""Parameters of transforms: constants, ranges and choices, their notation, and drawing from them.

The notation is imgaug's, as existing configs write it in YAML: `k: 5` is a constant, `angle: [-90, 90]` a uniform
range, `k: [3, 5, 7]` (three or more) a choice, and `k: [[0, 2]]` (a list in a list) a choice of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mvgeom.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Values:
    """Distribution of one parameter; hashable, so that a whole pipeline is."""

    kind: Literal["constant", "uniform", "choice"]
    values: tuple[Any, ...]

    @property
    def low(self) -> Any:
        """Smallest value that can be drawn."""
        return min(self.values)

    @property
    def high(self) -> Any:
        """Largest value that can be drawn."""
        return max(self.values)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Allowed values of one parameter of a transform.

    Attributes:
        default: Value when none is given, in the notation of configs; None: the parameter is optional and absent.
        low: Smallest value allowed.
        high: Largest value allowed.
        integer: Whole numbers only; a range then means every whole number in it, ends included.
        flag: True, false, or the probability of true.
        axes: Also accepted as {x: ..., y: ...}, which draws the two axes apart.
    """

    default: Any = None
    low: float = -np.inf
    high: float = np.inf
    integer: bool = False
    flag: bool = False
    axes: bool = False


class Draws:
    """Random values of one transform's parameters, drawn in the order in which the transform asks for them.

    Attributes:
        generator: Source of all randomness, for what a transform draws beside its parameters.
    """

    def __init__(self, parameters: Mapping[str, Values], generator: np.random.Generator):
        self._parameters = parameters
        self.generator = generator

    def __contains__(self, name: str) -> bool:
        """Return True if the parameter was given or has a default."""
        return name in self._parameters

    def number(self, name: str) -> float:
        """Draw a real parameter."""
        values = self._parameters[name]
        if values.kind == "constant":
            return float(values.values[0])
        if values.kind == "uniform":
            return float(self.generator.uniform(*values.values))
        return float(values.values[int(self.generator.integers(len(values.values)))])

    def integer(self, name: str) -> int:
        """Draw a whole-number parameter; ranges include both ends."""
        values = self._parameters[name]
        if values.kind == "uniform":
            return int(self.generator.integers(int(values.low), int(values.high) + 1))
        return int(self.number(name))

    def flag(self, name: str) -> bool:
        """Draw a yes/no parameter, whose value is the probability of yes."""
        return bool(self.generator.random() < self.number(name))

    def pair(self, name: str) -> tuple[float, float]:
        """Draw values for x and y: one for both, or one each where the config gave {x: ..., y: ...}."""
        if name in self._parameters:
            both = self.number(name)
            return both, both
        return self.number(f"{name}.x"), self.number(f"{name}.y")

    def has_pair(self, name: str) -> bool:
        """Return True if `pair` can be drawn."""
        return name in self._parameters or f"{name}.x" in self._parameters


@dataclass(frozen=True, kw_only=True)
class Transform:
    """One step of a pipeline.

    Attributes:
        name: Name of the transform, a key of `GEOMETRIC` or `PHOTOMETRIC`.
        p: Probability that a view goes through it.
        parameters: Names and distributions of its parameters, checked and with defaults filled in.
    """

    name: str
    p: float
    parameters: tuple[tuple[str, Values], ...]

    def draws(self, generator: np.random.Generator) -> Draws:
        """Return the parameters, ready to be drawn."""
        return Draws(dict(self.parameters), generator)


def parse_parameters(
    given: Mapping[str, Any], specification: Mapping[str, Parameter], where: str
) -> tuple[tuple[str, Values], ...]:
    """Parse a transform's parameters: check them, and fill in defaults.

    Args:
        given: Numbers, lists, or {x: ..., y: ...}, by parameter name.
        specification: Allowed parameters by name.
        where: Place of the parameters for messages, such as "imgaug.MotionBlur".

    Raises:
        InputError: The transform has no parameter of that name, or a value has the wrong type or is out of range.
    """
    unknown = [str(name) for name in given if name not in specification]
    if unknown:
        raise InputError(
            f"{where}: unknown parameter, found {', '.join(map(repr, unknown))}, expected "
            f"{expected_names(specification)}.",
            code="bad-key",
            argument=where,
            unknown=unknown,
        )
    parsed: list[tuple[str, Values]] = []
    for name, parameter in specification.items():
        value = given.get(name, parameter.default)
        if value is None:
            continue
        if isinstance(value, Mapping):
            if not parameter.axes or set(value) - {"x", "y"} or not value:
                axes = "numbers or lists under x and y" if parameter.axes else "a number or a list"
                raise invalid_value(f"{where}.{name}", dict(value), axes)
            neutral = 1.0 if name == "scale" else 0.0
            for axis in ("x", "y"):
                values = parse_values(value.get(axis, neutral), parameter, f"{where}.{name}.{axis}")
                parsed.append((f"{name}.{axis}", values))
        else:
            parsed.append((name, parse_values(value, parameter, f"{where}.{name}")))
    return tuple(parsed)


def parse_values(value: Any, parameter: Parameter, where: str) -> Values:
    """Parse one distribution from the notation of configs.

    Args:
        value: Number, or list of numbers.
        parameter: Allowed values.
        where: Place of the value for messages, such as "imgaug.MotionBlur.k".

    Raises:
        InputError: The value is no finite number and no list of them, or lies outside the allowed range.
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
        raise invalid_value(where, value, "a number, [low, high] or three or more values to choose from")
    for entry in entries:
        if isinstance(entry, bool) and not parameter.flag:
            raise invalid_value(where, value, "numbers")
        if not isinstance(entry, int | float | np.number) or not np.isfinite(entry):
            raise invalid_value(where, value, "a number, [low, high] or a list to choose from")
        if parameter.integer and int(entry) != entry:
            raise invalid_value(where, value, "whole numbers")
        low, high = (0.0, 1.0) if parameter.flag else (parameter.low, parameter.high)
        if not low <= entry <= high:
            raise out_of_range(where, value, f"values in [{low:g}, {high:g}]")
    numbers = tuple(int(entry) if parameter.integer else float(entry) for entry in entries)
    if kind == "uniform" and numbers[0] > numbers[1]:
        raise out_of_range(where, value, "a range [low, high] with low <= high")
    return Values(kind=kind, values=numbers)


def invalid_value(where: str, found: Any, expected: str) -> InputError:
    """Make the error of a value that is not allowed."""
    return InputError(f"{where}: found {found!r}, expected {expected}.", code="bad-value", argument=where)


def out_of_range(where: str, found: Any, expected: str) -> InputError:
    """Make the error of a number that is too small or too large."""
    return InputError(f"{where}: found {found!r}, expected {expected}.", code="out-of-range", argument=where)


def expected_names(names: Iterable[str]) -> str:
    """Format names that a message lists as expected."""
    return ", ".join(names) or "none"
