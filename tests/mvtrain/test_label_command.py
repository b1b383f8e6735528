"""`mvtrain label` as a process: it prints the address, survives kill -9, and ends with what was saved."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.command import run_mvtrain
from helpers.errors import raises_input
from helpers.labeling import make_project, tables
from mvtrain.label.run_label import project_config
from mvtrain.label.store import open_store
from mvtrain.project.label_tables import read_labels

CLICK = [[0, 0, [10.0, 20.0, 2, "click"]]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@contextmanager
def running(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address that it printed."""
    command = [sys.executable, "-m", "mvtrain", "label", str(root), "--no-browser", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            found = re.match(r"open (http://\S+)", line)
            if found:
                yield process, found[1]
                return
        pytest.fail("".join(lines))
    finally:
        process.kill()
        process.wait()


def edit(address: str, labels: list) -> dict[str, Any]:
    url, secret = address.split("#")
    body = {"client": "test", "first": 0, "generation": 1, "edits": [[0, labels]]}
    request = urllib.request.Request(
        f"{url}api/edits", json.dumps(body).encode(), {"x-mvtrain-secret": secret, "content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_states_what_to_do_next(root: Path, number: signal.Signals) -> None:
    with running(root) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#[\w-]{40,}", address)
        edit(address, CLICK)
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "saved 1 frame in" in rest
    assert f"next: mvtrain check {root}" in rest
    assert read_labels(root / "CollectedData_view0.csv").points[0, 0].tolist() == [10.0, 20.0]
    assert not (root / ".mvtrain-label" / "lock").exists()


def test_a_killed_server_has_kept_every_edit_that_it_answered(root: Path) -> None:
    before = tables(root)
    with running(root) as (process, address):
        edit(address, CLICK)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert tables(root) == before
    with open_store(project_config(root)) as store:
        assert store.num_recovered == 1
        assert store.label(0, 0, 0)[:2] == (10.0, 20.0)
        store.save()
    assert read_labels(root / "CollectedData_view0.csv").points[0, 0].tolist() == [10.0, 20.0]


def test_a_second_server_of_the_project_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(project_config(root)):
        outcome = run_mvtrain(capsys, monkeypatch, "label", root, "--no-browser")
    assert outcome.status == 2
    assert "is being labeled by another mvtrain label" in outcome.err


def test_a_port_in_use_is_named(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        outcome = run_mvtrain(capsys, monkeypatch, "label", root, "--no-browser", "--port", port)
    assert outcome.status == 2
    assert f"port {port} cannot be used" in outcome.err


def test_without_the_extra_the_message_has_the_line_that_installs_it(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    outcome = run_mvtrain(capsys, monkeypatch, "label", root, "--no-browser")
    assert outcome.status == 2
    assert 'pip install "mvtrain[label]"' in outcome.err
    assert not (root / ".mvtrain-label").exists()


def test_what_is_not_a_project_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with raises_input("missing-file"), open_store(project_config(tmp_path / "empty")):
        pass
    assert list((tmp_path / "empty").iterdir()) == []
    with raises_input("missing-file"):
        project_config(tmp_path / "nothing")
    (tmp_path / "config.yaml").write_text("data: {data_dir: nowhere}")
    with raises_input("not-a-project"):
        project_config(tmp_path / "config.yaml")
