"""Videos are local files that are videos themselves: no address is opened, and no other file by a playlist."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from helpers.errors import raises_input
from helpers.videos import cut_off, damage_frames, moving_dot, write_video
from mvgeom.decoder import open_capture
from mvgeom.videos import check_video, open_video


@pytest.fixture
def server() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this computer, and what was sent to it."""
    received: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.1)
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            with connection:
                received.append(b"connected")

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()[1], received
    stopped.set()
    thread.join()
    listening.close()


SCHEMES = ("http", "https", "rtsp", "rtmp", "tcp", "udp", "ftp", "hls+http", "mmsh", "srt", "cache:http", "async:http")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_address_is_opened(
    scheme: str, server: tuple[int, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    port, received = server
    for path in (Path(f"{scheme}://127.0.0.1:{port}/a.mp4"), Path(f"{scheme}:127.0.0.1:{port}")):
        with raises_input("missing-file"):
            open_video(path)
    # A file whose path is an address to FFmpeg.
    local = tmp_path / f"{scheme}:" / f"127.0.0.1:{port}" / "a.avi"
    local.parent.mkdir(parents=True)
    write_video(local, [moving_dot(number) for number in range(3)])
    assert open_video(local.relative_to(tmp_path)).num_frames == 3
    assert received == []


def playlists(port: int, neighbor: Path) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}/a.ts"
    return {
        "hls of an address": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n",
        "hls of a neighbor": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{neighbor.name}\n#EXT-X-ENDLIST\n",
        "list of files": f"ffconcat version 1.0\nfile {neighbor.name}\n",
        "list of addresses": f"ffconcat version 1.0\nfile {address}\n",
        "dash": '<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><Representation id="1">'
        f"<BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "description of a stream": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\n"
        f"m=video {port} RTP/AVP 96\n",
        "address": address,
    }


@pytest.mark.parametrize("kind", playlists(0, Path("x")))
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".m3u8"])
def test_a_playlist_is_not_a_video(kind: str, suffix: str, server: tuple[int, list[bytes]], tmp_path: Path) -> None:
    port, received = server
    neighbor = write_video(tmp_path / "neighbor.ts.avi", [moving_dot(number) for number in range(3)])
    path = tmp_path / f"mouse_top{suffix}"
    path.write_text(playlists(port, neighbor)[kind])
    with raises_input("unreadable-file", path=path):
        check_video(path)
    assert received == []


def test_pipes_and_folders_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    for path in (tmp_path / "a.mp4", tmp_path, Path(os.devnull)):
        with raises_input("unreadable-file"):
            check_video(path)


def test_options_of_the_user_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.avi", [moving_dot(number) for number in range(3)])
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    monkeypatch.delenv(name, raising=False)
    open_capture(path).release()
    assert name not in os.environ
    monkeypatch.setenv(name, "threads;1|protocol_whitelist;file,http,tcp")
    open_capture(path).release()
    assert os.environ[name] == "threads;1|protocol_whitelist;file,http,tcp"


def damaged_media(folder: Path) -> dict[str, Path]:
    """Write damaged media about which OpenCV and FFmpeg print lines of their own, a folder each."""
    folders = {name: folder / name for name in ("cut", "zeros", "png", "jpg")}
    for each in folders.values():
        each.mkdir()
    videos = [write_video(folders[name] / "a.mp4", [moving_dot(number) for number in range(30)], codec="mp4v")
              for name in ("cut", "zeros")]  # fmt: skip
    cut_off(videos[0], 0.5)
    damage_frames(videos[1], range(5, 25))
    for name in ("png", "jpg"):
        image = folders[name] / f"a.{name}"
        assert cv2.imwrite(str(image), moving_dot(3, size=(400, 300)))
        content = image.read_bytes()
        image.write_bytes(content[: len(content) // 2] + bytes(len(content) // 4))
    return folders


@pytest.mark.parametrize("kind", ["cut", "zeros", "png", "jpg"])
def test_no_line_of_a_decoder_stands_beside_the_message(kind: str, tmp_path: Path) -> None:
    folder = damaged_media(tmp_path)[kind]
    media = next(folder.iterdir())
    source = media if media.suffix == ".mp4" else folder
    arguments = [f"a={source}", "--chessboard", "6x5", "--square", "1", "--lenses-only", "-o", tmp_path / "rig.toml"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV_")}
    command = [sys.executable, "-m", "mvgeom", "calibrate", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment | {"COLUMNS": "999"}, check=False)
    assert done.returncode == 2
    assert done.stdout == f"reading {source} ...\n"
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith(("error: ", "warning: ", "note: ")) for line in lines), done.stderr
