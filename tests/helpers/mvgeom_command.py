"""The command `mvgeom`, run as a user runs it but inside the test's process."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest

from helpers.errors import check_error
from mvgeom.cli.commands import app
from mvgeom.cli.entry import run_program


@dataclass(frozen=True, kw_only=True)
class Result:
    """End of a command: exit status, both outputs, and the error that ended it."""

    exit_code: int
    stdout: str
    stderr: str
    error: BaseException | None

    @property
    def output(self) -> str:
        """Both outputs, for messages of assertions."""
        return self.stdout + self.stderr


def run(*arguments: object) -> Result:
    """Run `mvgeom ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        run_program(app, "mvgeom", short_warnings=True, arguments=[str(argument) for argument in arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return Result(exit_code=code, stdout=out.getvalue(), stderr=err.getvalue(), error=ended.value.__context__)


def run_next(result: Result) -> Result:
    """Run the command that another one printed as the next one, as a shell splits it."""
    (following,) = re.findall(r"next: mvgeom (.*)", result.stdout)
    return run(*shlex.split(following))


def fails(code: str, *arguments: object, **facts: Any) -> str:
    """Run a command that must end with status 2, without traceback, by this error; return the one line on stderr."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("error: ")
    check_error(result.error, code, **facts)
    return result.stderr
