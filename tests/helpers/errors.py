"""Assertions about errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mvgeom.errors import InputError


@contextmanager
def raises_input(code: str, **facts: Any) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """Expect an `InputError` of that code with those facts."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert caught.value.code == code, f"{caught.value.code}: {caught.value}"
    for name, value in facts.items():
        assert getattr(caught.value, name) == value
