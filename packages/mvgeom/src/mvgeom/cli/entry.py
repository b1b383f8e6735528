"""Entry point of the command line programs: global options, one-line errors, tracebacks for bugs."""

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from mvgeom.cli.output import print_problem
from mvgeom.errors import InputError

__all__ = ["Explain", "create_app", "run_program"]

Explain = Callable[[Exception], str | None]
"""Returns the line to print for an exception caused by the user's input, None for any other."""

USER_ERROR, BUG, INTERRUPTED = 2, 1, 130

_DEBUG = "--debug"


def create_app(package: str, description: str) -> typer.Typer:
    """Create the Typer application of a program, with the global options --version, --debug, -h and completion.

    Args:
        package: Name of the installed package whose version `--version` prints.
        description: First paragraph of `--help`.
    """
    app = typer.Typer(
        help=description,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def print_version(value: bool) -> None:
        if value:
            typer.echo(f"{package} {_version(package)}")
            raise typer.Exit

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
        ] = False,
        debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of every error; valid anywhere.")] = False,
    ) -> None:
        pass

    return app


def run_program(
    app: typer.Typer,
    program: str,
    *,
    explain: Sequence[Explain] = (),
    short_warnings: bool = False,
    arguments: Sequence[str] | None = None,
) -> NoReturn:
    """Run a program and exit: status 0 on success, 2 with one line for an input error, 1 with a traceback for a bug.

    Input errors are an `InputError`, an `OSError`, a wrong command line, and the exceptions that `explain` recognizes.
    `--debug` among the arguments shows their traceback too.

    Args:
        app: Application from `create_app`.
        program: Name of the program and of its package.
        explain: Functions that recognize further exceptions.
        short_warnings: True to print Python warnings as one line each, without the source line.
        arguments: Command line without the program's name; None means that of the process.
    """
    # Read by OpenCV when it is imported and with its first video, which is later: lines of its own and of FFmpeg about
    # damaged files would stand beside the error that names the file.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    given, debug = _take_debug(list(sys.argv[1:] if arguments is None else arguments))
    command = _command(app)
    try:
        with _short_warnings() if short_warnings else warnings.catch_warnings():
            status = command.main(args=given, prog_name=program, standalone_mode=False)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - last handler: every error is reported to the user here
        if _is_help(error):
            typer.echo(error.format_message(), err=True)  # type: ignore[attr-defined]
            sys.exit(USER_ERROR)
        line = _line(error, explain)
        if debug or line is None:
            traceback.print_exception(error)
        if line is None:
            print_problem("bug", "bold red", _report(program))
            sys.exit(BUG)
        print_problem("error", "bold red", line)
        sys.exit(USER_ERROR)
    sys.exit(status if isinstance(status, int) else 0)


@functools.cache
def _command(app: typer.Typer) -> Any:
    """Return the command of an application. Building it takes 0.1 s, longer than most errors of a command line."""
    return typer.main.get_command(app)


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Return the arguments without --debug, and True if it was among them before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [each for each in arguments[:end] if each != _DEBUG]
    return kept + arguments[end:], len(kept) < end


def _line(error: Exception, explain: Sequence[Explain]) -> str | None:
    """Return the line for an exception caused by the user's input, None for a bug."""
    for each in explain:
        line = each(error)
        if line is not None:
            return line
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    if _is_usage(error):
        context: Any = getattr(error, "ctx", None)
        hint = f" See {context.command_path} --help." if context is not None else ""
        return f"{error.format_message()}{hint}"  # type: ignore[attr-defined]
    return None


def _is_usage(error: Exception) -> bool:
    """Return True for a wrong command line; the class belongs to Click or to Typer's copy, depending on the version."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _is_help(error: Exception) -> bool:
    """Return True for the exception with which a command group without arguments prints its help."""
    return _is_usage(error) and type(error).__name__ == "NoArgsIsHelpError"


def _report(program: str) -> str:
    return (
        f"{program} {_version(program)} failed because of a bug, not of your input. Report it with the traceback above."
    )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Print warnings as one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print_problem("warning", "yellow", message)
        yield
