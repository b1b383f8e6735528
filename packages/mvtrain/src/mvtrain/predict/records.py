"""A prediction on its way: one fixed-size record per moment in a file that grows, so that a killed one goes on.

The folder `.partial/<session>` of the output holds the records and a manifest of what they were made with. Records are
kept in whole batches, because what a batch is made of may change the last bits of a prediction. Whoever predicts holds
a lock, which goes with the process however it ends.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mvgeom.files import write_text
from mvtrain.runtime.process import locked_folder

PARTIAL = ".partial"
_BLOCK = 4096


class Records:
    """The moments of one session that have been predicted so far.

    Args:
        folder: of this session's unfinished prediction.
        num_views: V.
        num_keypoints: K.
        extra: further fields of a record, as NumPy describes them.

    Attributes:
        folder: as given; files in it disappear with it.
        dtype: of a record: `keypoints` (V, K, 3) x, y in frame px and confidence, NaN where there is none; `status`
            (V,), see `moments.Status`; `count` of records with this one. After a power cut the end of a file may be
            zeros: a record that is not whole has another count.
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
        """Keep what there is in whole batches if it was made with the same; otherwise start with nothing.

        Args:
            identity: plain values that determine every byte of the records.
            batch_size: moments per batch.

        Returns:
            The number of moments that are done.
        """
        text = json.dumps(identity, indent=1)
        if not (self._manifest.is_file() and self._manifest.read_text(encoding="utf-8") == text):
            self._path.unlink(missing_ok=True)
            write_text(self._manifest, text)
        done = self._num_whole() // batch_size * batch_size
        with self._path.open("ab") as file:
            file.truncate(done * self.dtype.itemsize)
        return done

    @contextmanager
    def appending(self) -> Iterator[BinaryIO]:
        """The file to write further records to with `append`."""
        with self._path.open("ab") as file:
            yield file

    def append(self, file: BinaryIO, row: int, fields: Mapping[str, np.ndarray]) -> None:
        """Add a batch.

        Args:
            file: from `appending`.
            row: its first moment.
            fields: (B, ...) arrays, one for each field of a record but the count.
        """
        records = np.empty(len(fields["keypoints"]), dtype=self.dtype)
        for name in records.dtype.names or ():
            if name != "count":
                records[name] = fields[name]
        records["count"] = np.arange(row, row + len(records)) + 1
        file.write(records.tobytes())
        file.flush()

    def read(self, start: int, stop: int) -> np.ndarray:
        """(stop - start,) records."""
        size = self.dtype.itemsize
        return np.fromfile(self._path, dtype=self.dtype, count=max(stop - start, 0), offset=start * size)

    def blocks(self) -> Iterator[np.ndarray]:
        """All records in consecutive parts; one is in memory at a time."""
        total = len(self)
        for start in range(0, total, _BLOCK):
            yield self.read(start, min(start + _BLOCK, total))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def _num_whole(self) -> int:
        """How many records are as they should be, up to the first that is not."""
        number = 0
        for block in self.blocks():
            right = block["count"] == np.arange(number, number + len(block)) + 1
            if not right.all():
                return number + int(np.argmin(right))
            number += len(block)
        return number


@contextmanager
def unfinished_folder(out_dir: Path, session: str) -> Iterator[Path]:
    """The folder of a session's unfinished prediction, for one process at a time.

    Raises:
        ValueError: the output folder cannot be written to, or another process predicts the session into it.
    """
    folder = out_dir / PARTIAL / session
    busy = f"another process is predicting session {session!r} into {out_dir}"
    lock_file = folder.with_name(f"{session}.lock")
    try:
        with locked_folder(folder, lock_file, what=f"the output folder {out_dir}", busy=busy):
            try:
                yield folder
            finally:
                with suppress(OSError):  # records to go on from may be in it
                    folder.rmdir()
    finally:
        with suppress(OSError):  # other sessions may be in it
            folder.parent.rmdir()
