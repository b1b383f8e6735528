"""The exception for input errors that the user can correct."""

from __future__ import annotations

from typing import Any

__all__ = ["InputError"]


class InputError(ValueError):
    """An input that the user can correct: a file, an argument, a config key.

    The commands print its message as one line and exit with status 2. Any other exception, a `ValueError` of NumPy
    included, is a bug and shows a traceback.

    Args:
        message: Text of the error in the form `<where>: <what is wrong>, found <value>, expected <value>. <What to
            do.>`.
        code: Short, stable name of the kind of error in kebab case, such as "missing-view". Programs test the code,
            because the message may change.
        **facts: Facts that a caller can use, such as `path`, `view` or `key`; each becomes an attribute of the error.

    Attributes:
        code: Kind of error, as given.
        facts: All facts by name.
    """

    def __init__(self, message: str, *, code: str = "invalid-input", **facts: Any) -> None:
        super().__init__(message)
        self.code = code
        self.facts = facts

    def prefixed(self, prefix: str, **facts: Any) -> InputError:
        """Return the error with the same code, a prefix before its message, and additional facts.

        Args:
            prefix: Text that adds the location, such as "config.yaml: ".
            **facts: Facts to add; they replace facts of the same name.
        """
        return type(self)(f"{prefix}{self}", code=self.code, **{**self.facts, **facts})

    def advised(self, step: str) -> InputError:
        """Return the error with the same code and facts, and the user's next step after its message."""
        return type(self)(f"{str(self).rstrip('.')}. {step}", code=self.code, **self.facts)

    def __getattr__(self, name: str) -> Any:
        """Return the fact with this name."""
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__} has no attribute or fact {name!r}")
