"""Expectations of `InputError`: its code and its facts, not its prose."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from mvgeom.errors import InputError


class Expectation:
    """A context manager that wants an `InputError` with this code and these facts; it can be entered again."""

    def __init__(self, code: str, facts: dict[str, Any]) -> None:
        self.code = code
        self.facts = facts

    def __repr__(self) -> str:
        return " ".join([self.code, *(f"{name}={value}" for name, value in self.facts.items())])

    def __enter__(self) -> pytest.ExceptionInfo[InputError]:
        self._raises = pytest.raises(InputError)
        self._caught = self._raises.__enter__()
        return self._caught

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        handled = self._raises.__exit__(kind, error, trace)
        if handled:
            check_error(self._caught.value, self.code, **self.facts)
        return handled


def raises_input(code: str, **facts: Any) -> Expectation:
    """Expect an `InputError` with this code, whose facts include the given ones; a path compares by name with a text.

    Also as a parameter of a test: `pytest.param(..., raises_input("wrong-shape"))`, then `with expected:`.
    """
    return Expectation(code, facts)


def check_error(error: BaseException | None, code: str, **facts: Any) -> None:
    """Assert that an error is an `InputError` with this code and these facts."""
    assert isinstance(error, InputError), repr(error)
    assert error.code == code, f"{error.code}: {error}"
    for name, value in facts.items():
        found = error.facts.get(name)
        found = found.name if isinstance(found, Path) and isinstance(value, str) else found
        assert found == value, f"{name} is {found!r}: {error}"
