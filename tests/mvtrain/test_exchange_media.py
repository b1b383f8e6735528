"""Images of imported labels: copied, decoded, or from videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from helpers.errors import raises_input
from helpers.videos import damage_frames, moving_dot, write_video
from mvtrain.exchange.foreign_labels import DecodedImage, ImageFile, ImageSource, VideoFrame
from mvtrain.exchange.media import write_images


def write(folder: Path, *images: ImageSource) -> list[np.ndarray]:
    """Write the images and read them back as (H, W, 3) BGR."""
    done: list[None] = []
    targets = {folder / "out" / f"img{number}.png": image for number, image in enumerate(images)}
    write_images(targets, lambda: done.append(None))
    assert len(done) == len(images)
    return [cv2.imread(str(target)) for target in targets]


def test_png_is_copied_and_other_images_are_encoded_without_loss(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), moving_dot(1))
    cv2.imwrite(str(tmp_path / "b.jpg"), moving_dot(2))
    first, second, third = write(
        tmp_path,
        ImageFile(path=tmp_path / "a.png"),
        ImageFile(path=tmp_path / "b.jpg"),
        DecodedImage(name="c", read=lambda: moving_dot(3)[..., ::-1]),
    )
    np.testing.assert_array_equal(first, moving_dot(1))
    assert (tmp_path / "out" / "img0.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(second, cv2.imread(str(tmp_path / "b.jpg")))
    np.testing.assert_array_equal(third, moving_dot(3))


def test_frames_of_videos_are_the_requested_ones(tmp_path: Path) -> None:
    videos = [
        write_video(tmp_path / f"{view}.avi", [moving_dot(number, view) for number in range(9)]) for view in range(2)
    ]
    wanted = [(0, 7), (1, 0), (0, 2), (1, 8), (0, 7)]
    images = write(tmp_path, *(VideoFrame(path=videos[view], number=number) for view, number in wanted))
    for image, (view, number) in zip(images, wanted, strict=True):
        errors = [np.abs(image.astype(int) - moving_dot(other, view)).mean() for other in range(9)]
        assert int(np.argmin(errors)) == number
        assert errors[number] < 3


def test_errors(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", [moving_dot(number) for number in range(5)])
    damage_frames(video, [3])
    (tmp_path / "text.png").write_text("no image")

    def unreadable() -> np.ndarray:
        raise OSError("gone")

    none, text = tmp_path / "none.jpg", tmp_path / "text.png"
    inside = "labels.slp, frame 3"
    for image, code, facts in (
        (VideoFrame(path=video, number=9), "missing-frame", {"path": video, "frame": 9, "num_frames": 5}),
        (VideoFrame(path=video, number=3), "damaged-file", {"path": video, "frame": 3}),
        (VideoFrame(path=tmp_path / "b.avi", number=0), "missing-file", {"path": tmp_path / "b.avi"}),
        (ImageFile(path=text), "damaged-file", {"path": text}),
        (ImageFile(path=none), "missing-file", {"path": none}),
        (
            DecodedImage(name=inside, read=unreadable),
            "unreadable-file",
            {"image": inside},
        ),
    ):
        with raises_input(code, **facts):
            write(tmp_path, image)
