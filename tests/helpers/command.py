"""The commands, run as a user runs them but inside the test's process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"
"""Real data that lies beside the checkout on the project's own machines."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of a command: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


def run_mvtrain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Outcome:
    """`mvtrain ARGUMENTS`, on a terminal wide enough that no line is wrapped."""
    from mvtrain.cli.app import main

    monkeypatch.setattr("sys.argv", ["mvtrain", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "400")
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        main()
    captured = capsys.readouterr()
    status = exit_info.value.code
    return Outcome(status=status if isinstance(status, int) else 0, out=captured.out, err=captured.err)


def prepare_by_mvtrain(*arguments: object) -> None:
    """`mvtrain ARGUMENTS`, which must succeed, for fixtures that several tests share: these cannot ask for `capsys`."""
    from mvtrain.cli.app import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["mvtrain", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
