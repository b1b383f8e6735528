"""DANNCE and Label3D MAT files: `params`, a cell array with one struct per camera, and `camnames`.

Convention: MATLAB's row vectors, x = [X' 1] [r; t] K: `K` and `r` are the transposes of OpenCV's, `t` is a row, in mm;
K may have skew. `RDistort` is k1 k2 (k3), `TDistort` p1 p2. MATLAB's first pixel is (1, 1), so principal points are one
pixel larger than OpenCV's (`one_based=False` for files whose writer left that out). No image sizes. Read are a
`*_dannce.mat` or Label3D file with all cameras, a file `*_params.mat` of one camera, and a folder of such files, where
every MAT file with the variables of a camera (K, t) is one, whatever its name.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mvgeom.cameras import CameraGroup
from mvgeom.errors import InputError
from mvgeom.files import head, list_files, replace_file
from mvgeom.formats import camera_fields, records
from mvgeom.formats.mat_files import MatFileError, is_version_5, read_variables

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""Begin of HDF5 files, in MATLAB's after 512 bytes of a header of its own."""

__all__ = ["DESCRIPTION", "NAME", "SUFFIXES", "load", "matches", "save"]

NAME = "dannce"
DESCRIPTION = "DANNCE or Label3D MAT (.mat, or a folder with *_params.mat)"
SUFFIXES = (".mat",)
UNIT = "mm"


def matches(path: Path) -> bool:
    """Return True if the path is a MAT file, or a folder with files `*_params.mat`."""
    if path.is_dir():
        return bool(list_files(path, "*_params.mat"))
    return path.is_file() and (path.suffix.lower() == ".mat" or head(path, 19).startswith("MATLAB "))


def load(path: Path, *, sizes: camera_fields.Sizes | None = None, one_based: bool = True) -> CameraGroup:
    """Load the cameras, named by `camnames`, else by the file names without `hires_` and `_params`, else Camera1, ...

    Args:
        path: Path of the file or the folder.
        sizes: Image width and height in px, for all cameras or by name; required.
        one_based: True if the first pixel is (1, 1), as in MATLAB.

    Raises:
        InputError: `invalid-syntax`, if the file is not MAT; `unsupported-file`, if it was saved with -v7.3;
            `missing-field`, `bad-field` or `wrong-count`, if fields are missing or wrong; `missing-size`, if an image
            size is missing; `unknown-choice`, if `one_based` is not a truth value.
    """
    camera_fields.check_truth(one_based, "one_based")
    if path.is_dir():
        files = sorted((file for file in list_files(path, "*.mat") if _is_camera(file)), key=_natural)
        return records.assemble([_camera(_read(file), _name(file), sizes, one_based, file) for file in files], path)
    document = _read(path)
    if "params" not in document:
        if {"K", "t"} <= document.keys():
            return records.assemble([_camera(document, _name(path), sizes, one_based, path)], path)
        found = ", ".join(key for key in document if not key.startswith("__")) or "nothing"
        raise InputError(
            f"{path}: no variable params (a cell array of cameras), found only {found}",
            code="missing-field",
            path=path,
            field="params",
        )
    structs = list(np.atleast_1d(np.asarray(document["params"], dtype=object)).ravel())
    names = [str(name) for name in np.atleast_1d(document.get("camnames", [])).ravel()]
    names = names or [f"Camera{number}" for number in range(1, len(structs) + 1)]
    if len(names) != len(structs):
        raise InputError(
            f"{path}: camnames: wrong number of names, found {len(names)}, expected {len(structs)} as in params",
            code="wrong-count",
            path=path,
            found=len(names),
            expected=len(structs),
        )
    return records.assemble(
        [_camera(struct, name, sizes, one_based, path) for struct, name in zip(structs, names, strict=True)], path
    )


def save(cameras: CameraGroup, path: Path, *, one_based: bool = True) -> None:
    """Save `params` and `camnames`; translations must already be in mm.

    Raises:
        InputError: `unsupported-camera`, if a camera is fisheye or has more than 5 distortion coefficients;
            `bad-name`, if a name ends with a space, which MATLAB's texts are filled up with, or has a NUL;
            `unknown-choice`, if `one_based` is not a truth value; `unwritable-file`, if the file that is replaced has
            further variables, such as Label3D's labels, which would be lost.
    """
    from scipy.io import savemat

    camera_fields.check_truth(one_based, "one_based")
    further = _further_variables(path)
    if further:
        raise InputError(
            f"{path}: has more than cameras, which would be lost, found {', '.join(further)}. Give another path to "
            "write.",
            code="unwritable-file",
            path=path,
            found=further,
        )
    params = np.empty((len(cameras), 1), dtype=object)
    names = np.empty((1, len(cameras)), dtype=object)
    for row, record in enumerate(records.records_of(cameras)):
        records.reject_fisheye(record, "DANNCE MAT")
        if record.name != record.name.rstrip() or "\0" in record.name:
            raise InputError(
                f"camera name {record.name!r}: ends with a space or has a NUL, which MAT files cannot hold. Rename the "
                "camera.",
                code="bad-name",
                view=record.name,
            )
        k1, k2, p1, p2, k3 = records.fit_distortion(record, 5, "DANNCE MAT").tolist()
        params[row, 0] = {
            "K": (_shift(1.0 if one_based else 0.0) @ record.matrix).T,
            "RDistort": np.array([[k1, k2, k3] if k3 else [k1, k2]]),
            "TDistort": np.array([[p1, p2]]),
            "r": record.rotation.T,
            "t": record.translation[None],
        }
        names[0, row] = record.name
    replace_file(path, lambda temporary: savemat(temporary, {"params": params, "camnames": names}))


def _further_variables(file: Path) -> tuple[str, ...]:
    """Return the variables of a file that are not those of `save`; what cannot be read as a MAT file has none."""
    if not file.is_file():
        return ()
    try:
        names = _read(file, lambda _: False).keys()
    except InputError as error:
        return ("variables of -v7.3",) if error.code == "unsupported-file" else ()
    return tuple(name for name in names if not name.startswith("__") and name not in ("params", "camnames"))


def _read(file: Path, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read: {error.strerror or error}", code="unreadable-file", path=file
        ) from error
    if content[:10] == b"MATLAB 7.3" or _HDF5_SIGNATURE in (content[:8], content[512:520]):
        raise InputError(
            f"{file}: saved with -v7.3 (HDF5), which is not supported. Load it in MATLAB and save it with -v7.",
            code="unsupported-file",
            path=file,
        )
    try:
        return read_variables(content, wanted) if is_version_5(content) else _read_version_4(content)
    except MatFileError as error:
        raise InputError(f"{file}: not a MAT file of -v6 or -v7: {error}", code="invalid-syntax", path=file) from error


def _read_version_4(content: bytes) -> dict[str, Any]:
    """Read the arrays of a file of version 4 (`save -v4`), which has no structs; SciPy reads it without native code."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if 0 not in content[:4]:
        raise MatFileError("it has the header of no version")
    try:
        return dict(loadmat(io.BytesIO(content), simplify_cells=True))  # type: ignore[arg-type]
    except (
        *(MatReadError, TypeError, ValueError, EOFError),
        *(OverflowError, MemoryError, IndexError, NotImplementedError),
    ) as error:
        raise MatFileError(str(error)) from error


def _is_camera(file: Path) -> bool:
    """Return True for a file of one camera, by its name or by its variables; warn where these cannot be read."""
    if file.name.endswith("_params.mat"):
        return True
    try:
        return {"K", "t"} <= _read(file, lambda _: False).keys()
    except InputError:
        warnings.warn(f"{file}: left out, its variables cannot be read", stacklevel=3)
        return False


def _camera(
    struct: Any, name: str, sizes: camera_fields.Sizes | None, one_based: bool, file: Path
) -> records.CameraRecord:
    where = f"{file}: camera {name!r}: "
    if not isinstance(struct, dict):
        raise InputError(
            f"{where}must be a struct with K, r, t, RDistort, TDistort, found {type(struct).__name__}",
            code="bad-field",
            path=file,
            view=name,
        )
    fields = {"r" if key == "R" and "r" not in struct else key: value for key, value in struct.items()}
    missing = [key for key in ("K", "r", "t", "RDistort", "TDistort") if key not in fields]
    if missing:
        raise InputError(
            f"{where}no field {', '.join(missing)}", code="missing-field", path=file, view=name, field=missing[0]
        )
    stored = camera_fields.intrinsics(
        camera_fields.numbers(fields["K"], (3, 3), f"{where}K").T, f"{where}K, transposed,"
    )
    radial = camera_fields.numbers(fields["RDistort"], None, f"{where}RDistort")
    k1, k2, k3 = np.append(radial, 0.0)[:3] if len(radial) in (2, 3) else _wrong(f"{where}RDistort", "2 or 3", radial)
    p1, p2 = camera_fields.numbers(fields["TDistort"], (2,), f"{where}TDistort", reshape=True)
    matrix = _shift(-1.0 if one_based else 0.0) @ stored
    return records.CameraRecord(
        name=name,
        size=camera_fields.size_or_given(None, sizes, name, matrix, where),
        matrix=matrix,
        distortion=np.array([k1, k2, p1, p2, k3]),
        rotation=camera_fields.rotation_matrix(camera_fields.numbers(fields["r"], (3, 3), f"{where}r").T, f"{where}r"),
        translation=camera_fields.numbers(fields["t"], (3,), f"{where}t", reshape=True),
    )


def _wrong(where: str, expected: str, found: camera_fields.Floats) -> Any:
    raise InputError(
        f"{where} must have {expected} coefficients, found {len(found)}", code="wrong-count", found=len(found)
    )


def _shift(pixels: float) -> camera_fields.Floats:
    return np.array([[1.0, 0.0, pixels], [0.0, 1.0, pixels], [0.0, 0.0, 1.0]])


def _name(file: Path) -> str:
    return file.stem.removesuffix("_params").removeprefix("hires_")


def _natural(file: Path) -> list[Any]:
    """Return a sort key that puts cam2 before cam10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
