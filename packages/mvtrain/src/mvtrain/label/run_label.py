"""The command `mvtrain label`: opens a project, serves its page on this machine alone, and saves at the end."""

from __future__ import annotations

import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from mvgeom.errors import InputError
from mvgeom.wording import counted
from mvtrain.config import Config, load_config
from mvtrain.label.journal import JOURNAL_FOLDER
from mvtrain.label.service import LabelOptions, LabelService
from mvtrain.label.store import LabelStore, open_store
from mvtrain.runtime.imports import need
from mvtrain.runtime.messages import command

_HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 2


def label_project(
    project: Path, options: LabelOptions, console: Console, *, port: int = 0, open_browser: bool = True
) -> None:
    """Serve the page until Ctrl-C or SIGTERM, and save.

    Args:
        project: Project folder or its config file.
        options: Options of the page.
        console: Console for the address and the summary.
        port: Port of the server; 0 takes a free one.
        open_browser: Open the page in the browser.

    Raises:
        InputError: A library is missing (`missing-library`), the project cannot be opened, or the port is in use
            (`busy-port`).
    """
    need("uvicorn", "mvtrain label", "label")
    need("starlette", "mvtrain label", "label")
    config = project_config(project)
    with open_store(config) as store:
        service = LabelService(config, store, options)
        _print_opened(console, store, service)
        with _bound_socket(port) as sock:
            secret = secrets.token_urlsafe(32)
            server, address = create_server(service, sock, secret)
            console.print(f"open {address}\nCtrl-C saves and ends", soft_wrap=True)
            if open_browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            _serve(server, sock)
        try:
            store.save()
        except InputError as error:
            raise error.prefixed(
                f"labels of {counted(len(store.unsaved_frames()), 'frame')} are in {JOURNAL_FOLDER} of the project, "
                "not in its tables. Run the command again to save them: "
            ) from error
        _print_saved(console, store, project)


def project_config(project: Path) -> Config:
    """Load the config of a project folder, its `config.yaml` or another config file; a folder needs none.

    Raises:
        InputError: There is no such project (`missing-file`, `not-a-project`), or the config is not valid.
    """
    if project.is_dir():
        file = project / "config.yaml"
        config = load_config(file) if file.is_file() else Config()
        if config.data.data_dir is None:
            config = replace(config, data=replace(config.data, data_dir=project.resolve()))
    elif project.is_file():
        config = load_config(project)
    else:
        raise InputError(
            f"{project}: no such file or folder. Give a project folder or its config.yaml",
            code="missing-file",
            path=project,
        )
    root = config.data.data_dir
    if root is None or not root.is_dir():
        raise InputError(
            f"{project}: not a project, data.data_dir is {root}, expected a folder with label tables. Give a project "
            "folder",
            code="not-a-project",
            path=project,
        )
    return config


def create_server(service: LabelService, sock: socket.socket, secret: str) -> tuple[Any, str]:
    """Create uvicorn's server for a bound socket; return it with the page's address.

    Args:
        service: Answers to the page.
        sock: Socket that is bound to 127.0.0.1.
        secret: Secret of the address.
    """
    import uvicorn

    from mvtrain.label.server import create_app

    port = sock.getsockname()[1]
    app = create_app(service, port=port, secret=secret)
    settings = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(settings), f"http://{_HOST}:{port}/#{secret}"


@contextmanager
def _bound_socket(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((_HOST, port))
            sock.listen()  # from now on the address can be opened
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used: {error.strerror}. Give another with --port, or none",
                code="busy-port",
                port=port,
            ) from error
        yield sock


def _serve(server: Any, sock: socket.socket) -> None:
    """Run until SIGINT or SIGTERM; uvicorn raises it again after it has ended, which is the usual end here."""
    in_main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main else None
    try:
        with suppress(KeyboardInterrupt):
            server.run(sockets=[sock])
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _print_opened(console: Console, store: LabelStore, service: LabelService) -> None:
    state = service.project()
    frames = state["frames"]
    done = sum(frame["work"] == 0 for frame in frames)
    console.print(
        f"{store.project.root}: {counted(len(frames), 'frame')}, {counted(len(state['views']), 'view')}, "
        f"{counted(len(state['keypoints']), 'keypoint')}; nothing is left to do in {counted(done, 'frame')}",
        soft_wrap=True,
    )
    if store.num_recovered:
        console.print(f"recovered {counted(store.num_recovered, 'label')} that had not been saved", soft_wrap=True)
    for text in (*state["conflicts"], *store.project.warnings):
        console.print(f"warning: {text}", soft_wrap=True)


def _print_saved(console: Console, store: LabelStore, project: Path) -> None:
    config = project if project.is_file() else project / "config.yaml"
    tables = ", ".join(f"CollectedData_{view}.csv" for view in store.project.view_names)
    if store.saved:
        console.print(f"saved {counted(len(store.saved), 'frame')} in {tables} of {store.project.root}", soft_wrap=True)
        console.print(f"next: {command('mvtrain', 'check', config)}", soft_wrap=True)
    else:
        console.print("nothing was changed", soft_wrap=True)
