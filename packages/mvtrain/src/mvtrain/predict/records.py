"""Records of an unfinished prediction: one of fixed size per frame in a growing file, so that it can be resumed.

The folder `.partial/<session>` of the output holds the records and a manifest of the inputs they were made from.
Records are kept in whole batches, because the composition of a batch may change the last bits of a prediction. The
predicting process holds a lock, which is released with the process however it ends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mvgeom.files import file_name, write_text
from mvtrain.model.inference import FramePredictions
from mvtrain.runtime.locks import locked_folder

PARTIAL = ".partial"
_BLOCK_LENGTH = 4096
"""Records that are read at once."""


FUSED = ("own", "evidence")
"""Fields of a record where views are fused, see `prediction_record`."""

STATED = ("covariance",)
"""Field of a record where the network states covariances, see `prediction_record`."""


def view_fields(names: Sequence[str], num_views: int, num_keypoints: int) -> list[tuple[str, Any, tuple[int, ...]]]:
    """Return the types of the fields `FUSED` and `STATED` of a record."""
    return [(name, np.float32, (num_views, num_keypoints, 3)) for name in names]


def prediction_record(predictions: FramePredictions) -> dict[str, np.ndarray]:
    """Return the fields (B, V, K, 3) that a record can have of a prediction.

    They are `keypoints`; where views are fused, `own`, x, y and confidence of each view by itself, and `evidence`, x, y
    and weight; `covariance`, its entries xx, xy and yy, if the network states it.
    """
    fields = {"keypoints": predictions.keypoints}
    if (before := predictions.before_fusion) is not None:
        own = np.concatenate([before.points, before.confidence[..., None]], axis=-1)
        fields |= {"own": own, "evidence": before.evidence}
    if (stated := predictions.own_covariance) is not None:
        fields["covariance"] = to_entries(stated)
    return fields


def stated_covariances(block: np.ndarray) -> np.ndarray | None:
    """Return the covariances (N, V, K, 2, 2) of records; None if they have none."""
    return from_entries(block["covariance"]) if "covariance" in (block.dtype.names or ()) else None


def to_entries(covariances: np.ndarray) -> np.ndarray:
    """Return the entries (..., 3) xx, xy and yy of covariances (..., 2, 2)."""
    return np.stack([covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]], axis=-1)


def from_entries(entries: np.ndarray) -> np.ndarray:
    """Return the covariances (..., 2, 2) of entries (..., 3) in float64."""
    xx, xy, yy = np.moveaxis(entries.astype(np.float64), -1, 0)
    return np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-2)


class Records:
    """Predicted frames of one session, in a file.

    Args:
        folder: Folder of this session's unfinished prediction.
        num_views: Number of views V.
        num_keypoints: Number of keypoints K.
        extra: Further fields of a record, as NumPy describes them.

    Attributes:
        folder: Folder as given; `remove` deletes it with all files in it.
        dtype: Type of a record: `keypoints` (V, K, 3) x, y in full-image px and confidence, NaN where there is none;
            `status` (V,) values of `video_batches.Status`; `count`, the number of records up to this one. After a power
            cut the end of a file may be zeros: a record that is not whole has another count.
    """

    def __init__(
        self, folder: Path, num_views: int, num_keypoints: int, extra: Sequence[tuple[str, Any, tuple[int, ...]]] = ()
    ) -> None:
        self.folder = folder
        self.dtype = np.dtype(
            [
                ("keypoints", np.float32, (num_views, num_keypoints, 3)),
                ("status", np.uint8, (num_views,)),
                *extra,
                ("count", "<i8"),
            ]
        )
        self._path = folder / "records"
        self._manifest = folder / "manifest.json"

    def __len__(self) -> int:
        return self._path.stat().st_size // self.dtype.itemsize if self._path.exists() else 0

    def resume(self, identity: dict[str, Any], batch_size: int) -> int:
        """Keep the records of whole batches if they were made from the same inputs; otherwise start with none.

        Args:
            identity: Plain values that determine every byte of the records.
            batch_size: Frames per batch.

        Returns:
            The number of frames that are done.
        """
        text = json.dumps(identity, indent=1)
        if not (self._manifest.is_file() and self._manifest.read_bytes() == text.encode()):
            self._path.unlink(missing_ok=True)
            write_text(self._manifest, text)
        done = self._count_whole() // batch_size * batch_size
        self.truncate(done)
        return done

    def truncate(self, number: int) -> None:
        """Keep the first records only."""
        with self._path.open("ab") as file:
            file.truncate(number * self.dtype.itemsize)

    @contextmanager
    def appending(self) -> Iterator[BinaryIO]:
        """Open the file to which `append` adds records."""
        with self._path.open("ab") as file:
            yield file

    def append(self, file: BinaryIO, row: int, fields: Mapping[str, np.ndarray]) -> None:
        """Append a batch.

        Args:
            file: File from `appending`.
            row: Number of the batch's first frame.
            fields: (B, ...) arrays, one for each field of a record except the count.
        """
        records = np.empty(len(fields["keypoints"]), dtype=self.dtype)
        for name in records.dtype.names or ():
            if name != "count":
                records[name] = fields[name]
        records["count"] = np.arange(row, row + len(records)) + 1
        file.write(records.tobytes())
        file.flush()

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read the records (stop - start,) of these frames."""
        size = self.dtype.itemsize
        return np.fromfile(self._path, dtype=self.dtype, count=max(stop - start, 0), offset=start * size)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all records in consecutive blocks; one is in memory at a time."""
        total = len(self)
        for start in range(0, total, _BLOCK_LENGTH):
            yield self.read(start, min(start + _BLOCK_LENGTH, total))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def _count_whole(self) -> int:
        """Count the whole records, up to the first that is not whole."""
        number = 0
        for block in self.blocks():
            whole = block["count"] == np.arange(number, number + len(block)) + 1
            if not whole.all():
                return number + int(np.argmin(whole))
            number += len(block)
        return number


class EnsembleRecords:
    """Records of the networks of an ensemble, which predict the same frames in step.

    Args:
        folder: Folder of this session's unfinished prediction.
        num_networks: Number of networks.
        num_views: Number of views V.
        num_keypoints: Number of keypoints K.
        extra: Further fields of the first network's records.
        common: Further fields of all networks' records.

    Attributes:
        folder: Folder as given; `remove` deletes it with all files in it.
        networks: Records of each network; those of a single one lie in the folder itself.
    """

    def __init__(
        self,
        folder: Path,
        num_networks: int,
        num_views: int,
        num_keypoints: int,
        extra: Sequence[tuple[str, Any, tuple[int, ...]]] = (),
        common: Sequence[tuple[str, Any, tuple[int, ...]]] = (),
    ) -> None:
        self.folder = folder
        folders = [folder] if num_networks == 1 else [folder / f"network{n + 1}" for n in range(num_networks)]
        self.networks = tuple(
            Records(each, num_views, num_keypoints, [*(extra if number == 0 else ()), *common])
            for number, each in enumerate(folders)
        )

    def resume(self, identity: dict[str, Any], batch_size: int) -> int:
        """Keep the frames that all networks have predicted, as `Records.resume` does for one."""
        for records in self.networks:
            records.folder.mkdir(exist_ok=True)
        done = min(records.resume(identity, batch_size) for records in self.networks)
        for records in self.networks:
            records.truncate(done)
        return done

    @contextmanager
    def appending(self) -> Iterator[list[BinaryIO]]:
        """Open the files to which `append` adds records."""
        with ExitStack() as stack:
            yield [stack.enter_context(records.appending()) for records in self.networks]

    def append(self, files: Sequence[BinaryIO], row: int, networks: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Append a batch of every network, as `Records.append` does for one."""
        for records, file, fields in zip(self.networks, files, networks, strict=True):
            records.append(file, row, fields)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)


@contextmanager
def unfinished_folder(out_dir: Path, session: str) -> Iterator[Path]:
    """Make and lock the folder of a session's unfinished prediction, for one process at a time.

    Raises:
        InputError: The output folder cannot be written to, or another process is predicting the session into it.
    """
    folder = out_dir / PARTIAL / file_name(session)
    busy = f"another process is predicting session {session!r} into {out_dir}"
    lock_file = folder.with_name(file_name(f"{session}.lock"))
    try:
        with locked_folder(folder, lock_file, what=f"the output folder {out_dir}", busy=busy):
            try:
                yield folder
            finally:
                with suppress(OSError):  # records to resume from may be in it
                    folder.rmdir()
    finally:
        with suppress(OSError):  # other sessions may be in it
            folder.parent.rmdir()
