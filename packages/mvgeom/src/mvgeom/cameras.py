"""`CameraGroup`: a rig of named cameras, the argument of most functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, is_numpy_array

from mvgeom._arrays import Array, as_array, as_float64, check_broadcast
from mvgeom._quarter_turns import quarter_turn
from mvgeom.errors import InputError
from mvgeom.files import composed
from mvgeom.lens_range import PreparedLens, prepare_lenses
from mvgeom.wording import counted

__all__ = ["DISTORTION_LENGTHS", "CameraGroup"]

DISTORTION_LENGTHS = (0, 4, 5, 8, 12, 14)
"""Numbers of coefficients of OpenCV's Brown-Conrady model; padding to a longer one with zeros is exact."""

_NUM_TRAILING = {"sizes": 2, "matrix": 3, "distortion": 2, "rotation": 3, "translation": 2}
_ARRAY_FIELDS = tuple(_NUM_TRAILING)
_CAMERA_TESTS: tuple[tuple[str, Callable[[Any], Any], str], ...] = (
    ("sizes", lambda sizes: (sizes <= 0).any(-1), "width and height must be positive px"),
    (
        "matrix",
        lambda matrix: (np.abs(matrix[..., [1, 2, 2, 2], [0, 0, 1, 2]] - [0, 0, 0, 1]) > 1e-6).any(-1),
        "its rows must be (fx, skew, cx), (0, fy, cy), (0, 0, 1); MATLAB's are transposed",
    ),
    (
        "matrix",
        lambda matrix: (matrix[..., 0, 0] <= 0) | (matrix[..., 1, 1] <= 0),
        "focal lengths must be positive px",
    ),
)
"""Fields, what is True of wrong values, and what must hold."""
_ROTATION_TESTS: tuple[tuple[Callable[[Any], Any], str], ...] = (
    (
        lambda rotation: np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max((-2, -1)) > 1e-3,
        "its rows are not orthonormal",
    ),
    (
        lambda rotation: np.linalg.det(rotation) <= 0,
        "is a reflection (determinant below 0). Exchange no axes, and flip no sign",
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraGroup:
    """Named cameras in OpenCV's conventions: `x_cam = R X + t`; pixel (0, 0) is the center of the top-left pixel.

    All arrays share one library (NumPy or torch), floating dtype and device; integers are converted to the dtype of the
    other arrays, to float64 if all are integers. Leading batch dimensions `...` are allowed, for rigs that differ
    between samples; names and lens models are then common to the batch.

    Attributes:
        names: V distinct camera names.
        sizes: (..., V, 2) image width and height in px.
        matrix: (..., V, 3, 3) camera matrices (intrinsics) K in px; skew is allowed.
        distortion: (..., V, n) coefficients in OpenCV's order, n one of 0, 4, 5, 8, 12, 14 (k1 k2 p1 p2 k3 ...). A list
            of V rows of different lengths is padded with zeros. Fisheye cameras use the first four; the others are
            zero.
        rotation: (..., V, 3, 3) rotations from world to camera.
        translation: (..., V, 3) translations from world to camera, in the world's unit.
        fisheye: V booleans, true if the lens follows the Kannala-Brandt model, false for Brown-Conrady.

    Raises:
        InputError: `wrong-shape`, if shapes are inconsistent; `bad-number`, if a field is not numeric;
            `duplicate-name`, if names repeat; `too-few-views`, if there is no camera; `not-finite`, if a NumPy array
            contains NaN or infinity; `not-a-camera`, if an image size or a focal length is not positive, or a camera
            matrix has another form than (fx, skew, cx), (0, fy, cy), (0, 0, 1); `not-a-rotation`, if a rotation is a
            reflection or not orthonormal to 0.001. (Values on a device are not inspected, because this would wait for
            the device.)
    """

    names: tuple[str, ...]
    sizes: Array
    matrix: Array
    distortion: Array
    rotation: Array
    translation: Array
    fisheye: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(self.names)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "fisheye", tuple(bool(f) for f in self.fisheye) or (False,) * len(names))
        for field in _ARRAY_FIELDS:
            value = getattr(self, field)
            if field == "distortion" and isinstance(value, list | tuple):
                value = _pad_rows(value)
            object.__setattr__(self, field, as_array(value, field))
        self._make_floating()
        self._check()

    def _make_floating(self) -> None:
        """Convert integers, in whose dtype results would lose their fractions."""
        arrays = [getattr(self, field) for field in _ARRAY_FIELDS]
        if all(is_numpy_array(array) and array.dtype.kind == "f" for array in arrays):
            return
        integral = [array_namespace(array).isdtype(array.dtype, ("bool", "integral")) for array in arrays]
        floating = [array.dtype for array, whole in zip(arrays, integral, strict=True) if not whole]
        for field, array, whole in zip(_ARRAY_FIELDS, arrays, integral, strict=True):
            if whole:
                xp = array_namespace(array)
                object.__setattr__(self, field, xp.astype(array, floating[0] if floating else xp.float64))

    def _check(self) -> None:
        num_views = len(self.names)
        if num_views == 0:
            raise InputError("cameras: none found, expected at least one", code="too-few-views", found=0, expected=1)
        if len(set(self.names)) != num_views:
            raise InputError(
                f"names: must be distinct, found {list(self.names)}", code="duplicate-name", argument="names"
            )
        if len(self.fisheye) != num_views:
            raise InputError(
                f"fisheye: wrong number of entries, found {len(self.fisheye)}, expected {num_views} for "
                f"{list(self.names)}",
                code="wrong-shape",
                argument="fisheye",
                found=(len(self.fisheye),),
            )
        tails = {"sizes": (2,), "matrix": (3, 3), "rotation": (3, 3), "translation": (3,)}
        for field, tail in tails.items():
            shape = tuple(getattr(self, field).shape)
            if shape[-1 - len(tail) :] != (num_views, *tail):
                raise InputError(
                    f"{field}: wrong shape, found {shape}, expected "
                    f"(..., {num_views}, {', '.join(map(str, tail))}) for the cameras {list(self.names)}",
                    code="wrong-shape",
                    argument=field,
                    found=shape,
                )
        shape = tuple(self.distortion.shape)
        if len(shape) < 2 or shape[-2] != num_views or shape[-1] not in DISTORTION_LENGTHS:
            raise InputError(
                f"distortion: wrong shape, found {shape}, expected (..., {num_views}, n), n in {DISTORTION_LENGTHS}",
                code="wrong-shape",
                argument="distortion",
                found=shape,
            )
        try:
            object.__setattr__(self, "_batch_shape", np.broadcast_shapes(*self._leading_shapes()))
        except ValueError:
            shapes = {field: tuple(getattr(self, field).shape) for field in _ARRAY_FIELDS}
            raise InputError(
                f"cameras: the batch dimensions of the arrays do not broadcast, found {shapes}",
                code="wrong-shape",
                argument="batch",
            ) from None
        for field in _ARRAY_FIELDS:
            value = getattr(self, field)
            if is_numpy_array(value) and not np.isfinite(value).all():
                bad = np.argwhere(~np.isfinite(value))[0]
                view = self.names[int(bad[value.ndim - _NUM_TRAILING[field]])]
                raise InputError(
                    f"{field}: camera {view!r} has values that are not finite, found {value.tolist()}",
                    code="not-finite",
                    argument=field,
                    view=view,
                )

        self._check_values()

    def _check_values(self) -> None:
        """Check that the numbers are those of cameras; only NumPy arrays, because values on a device are not read."""
        for field, test, text in _CAMERA_TESTS:
            found = self._first(field, test)
            if found is not None:
                view, value = found
                raise InputError(
                    f"{field}: camera {view!r} is not a camera: {text}, found {value}",
                    code="not-a-camera",
                    argument=field,
                    view=view,
                )
        for test, text in _ROTATION_TESTS:
            found = self._first("rotation", test)
            if found is not None:
                view, value = found
                raise InputError(
                    f"rotation: camera {view!r} is not a camera: must be a rotation, and {text}, found {value}",
                    code="not-a-rotation",
                    argument="rotation",
                    view=view,
                )

    def _first(self, field: str, test: Callable[[Any], Any]) -> tuple[str, list[Any]] | None:
        """Return name and value of the first camera for which the test of a field is True; None if there is none."""
        value = getattr(self, field)
        if not is_numpy_array(value):
            return None
        wrong = test(np.asarray(value, dtype=np.float64))
        if not wrong.any():
            return None
        bad = np.argwhere(wrong)[0]
        return self.names[int(bad[-1])], value[tuple(bad)].tolist()

    def __repr__(self) -> str:
        """Return one line per camera: name, image size, focal lengths, lens model, position."""
        batch = self.batch_shape
        note = f", batch {batch}, the first rig" if batch else ""
        width = max(len(name) for name in self.names)
        return "\n".join(
            [
                f"CameraGroup of {counted(len(self), 'camera')}{note}:",
                *(f"  {name:<{width}}  {self._describe(view)}" for view, name in enumerate(self.names)),
            ]
        )

    def _describe(self, view: int) -> str:
        """Return a one-line description of one camera."""
        size, matrix, coefficients, center = (
            _first_rig(array, tail)[view]
            for array, tail in ((self.sizes, 2), (self.matrix, 3), (self.distortion, 2), (self.centers, 2))
        )
        used = np.flatnonzero(coefficients)
        model = "fisheye" if self.fisheye[view] else "Brown-Conrady"
        distortion = f"with {counted(int(used[-1]) + 1, 'coefficient')}" if len(used) else "without distortion"
        focal = " ".join(dict.fromkeys(f"{matrix[axis, axis]:.1f}" for axis in (0, 1)))
        position = " ".join(f"{value:.4g}" for value in center + 0.0)
        return f"{size[0]:g}x{size[1]:g} px, focal length {focal} px, {model} {distortion}, at {position}"

    def __len__(self) -> int:
        return len(self.names)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Broadcast leading dimensions of the arrays; () for a single rig."""
        # Functions look at it with every call, so that it is kept from the check of the group.
        kept: tuple[int, ...] | None = self.__dict__.get("_batch_shape")
        return np.broadcast_shapes(*self._leading_shapes()) if kept is None else kept

    def _leading_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(getattr(self, field).shape)[:-tail] for field, tail in _NUM_TRAILING.items()]

    @property
    def centers(self) -> Array:
        """(..., V, 3) positions of the cameras in the world, -R'T."""
        xp = array_namespace(self.rotation)
        rotation_transposed = xp.matrix_transpose(self.rotation)
        return -(rotation_transposed @ self.translation[..., None])[..., 0]

    @property
    def lenses(self) -> tuple[PreparedLens, ...]:
        """Lens models in use, one entry each, with their invertible range; computed once per group."""
        # Not functools.cached_property: it holds a lock, which torch.compile does not support.
        prepared = self.__dict__.get("_lenses")
        if prepared is None:
            prepared = prepare_lenses(self.distortion, self.fisheye)
            object.__setattr__(self, "_lenses", prepared)
        return prepared

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced; the copy is validated like a new group."""
        return dataclasses.replace(self, **changes)

    def _unchecked(self, **changes: Array) -> Self:
        """Return a copy with arrays of the same shapes and kinds in some fields, not validated: for iterations."""
        copy = object.__new__(type(self))
        copy.__dict__.update({**self.__dict__, **changes})
        copy.__dict__.pop("_lenses", None)
        return copy

    def index(self, names: Iterable[str]) -> list[int]:
        """Return the indices of the named cameras.

        Raises:
            InputError: `missing-view`, if a name is not in the group; the message lists the group's names.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        own = [composed(name) for name in self.names]
        unknown = [name for name in wanted if composed(name) not in own]
        if unknown:
            raise InputError(
                f"names: unknown camera {', '.join(map(repr, unknown))}, expected names from {list(self.names)}",
                code="missing-view",
                view=unknown[0],
                found=self.names,
            )
        return [own.index(composed(name)) for name in wanted]

    def select(self, names: Iterable[str]) -> Self:
        """Return the named cameras in the requested order.

        Raises:
            InputError: `missing-view`, if a name is not in the group; the message lists the group's names.
        """
        rows = self.index(names)
        picked = {
            "sizes": self.sizes[..., rows, :],
            "matrix": self.matrix[..., rows, :, :],
            "distortion": self.distortion[..., rows, :],
            "rotation": self.rotation[..., rows, :, :],
            "translation": self.translation[..., rows, :],
        }
        return self.replace(
            names=tuple(self.names[r] for r in rows), fisheye=tuple(self.fisheye[r] for r in rows), **picked
        )

    def crop(self, offset: Array) -> Self:
        """Return cameras for images cropped at full-image px `offset` (..., V, 2), the new (0, 0); sizes are kept.

        Raises:
            InputError: `wrong-shape`, `wrong-array` or `bad-number`, if the offset is not such an array.
        """
        xp = array_namespace(self.matrix)
        shift = xp.zeros_like(self.matrix) + xp.eye(3, dtype=self.matrix.dtype, device=self.matrix.device)
        shift = _set_last_column(shift, -self._pairs(offset, "offset"))
        return self.replace(matrix=shift @ self.matrix)

    def resize(self, sizes: Array) -> Self:
        """Return cameras for images resized to width and height (..., V, 2) in px; x becomes (x + 0.5) s - 0.5.

        Raises:
            InputError: `wrong-shape`, `wrong-array` or `bad-number`, if the sizes are not such an array;
                `not-a-camera`, if a size is not positive.
        """
        xp = array_namespace(self.matrix)
        sizes = xp.zeros_like(self.sizes) + self._pairs(sizes, "sizes")
        scale = sizes / self.sizes
        eye = xp.eye(3, dtype=self.matrix.dtype, device=self.matrix.device)
        one = xp.ones_like(scale[..., :1])
        scaling = eye * xp.concat([scale, one], axis=-1)[..., None]
        scaling = _set_last_column(scaling, 0.5 * scale - 0.5)
        return self.replace(matrix=scaling @ self.matrix, sizes=sizes)

    def turn(self, clockwise: Mapping[str, int]) -> Self:
        """Return cameras for images that were turned clockwise; (0, 0) is then the turned image's top-left pixel.

        Args:
            clockwise: Degrees by camera name, multiples of 90; other cameras stay as they are.

        Raises:
            InputError: `missing-view`, if a name is not in the group; `out-of-range`, if an angle is not a multiple of
                90; `unsupported-camera`, if a camera with skew or a tilted sensor is turned by 90 or 270 degrees.
        """
        quarters = [0] * len(self)
        for view, (name, degrees) in zip(self.index(clockwise), clockwise.items(), strict=True):
            if degrees % 90:
                raise InputError(
                    f"camera {name!r}: its turn must be a multiple of 90 degrees, found {degrees}",
                    code="out-of-range",
                    view=name,
                    found=degrees,
                )
            quarters[view] = int(degrees // 90) % 4
        fields = {field: getattr(self, field) for field in _ARRAY_FIELDS}
        return self.replace(**quarter_turn(self.names, quarters, **fields, fisheye=self.fisheye))

    def to(self, *, like: Array = None, dtype: Any = None, device: Any = None) -> Self:
        """Convert the cameras to another library, dtype or device.

        Args:
            like: Array whose library, dtype and device are used; `dtype` and `device` take precedence.
            dtype: Dtype of the target library; None keeps that of `like`, or the current one.
            device: Device of the target library; None keeps that of `like`, or the current one.
        """
        like = None if like is None else as_array(like, "like")
        return self.replace(**{field: _convert(getattr(self, field), like, dtype, device) for field in _ARRAY_FIELDS})

    def _pairs(self, value: Any, argument: str) -> Array:
        """Return two numbers per camera (..., V, 2), or for all, in the library and dtype of the cameras."""
        value = as_float64(value, argument) if is_numpy_array(self.matrix) else as_array(value, argument)
        shape = tuple(value.shape)
        if shape[-1:] != (2,) or shape[-2:-1] not in ((), (1,), (len(self),)):
            raise InputError(
                f"{argument}: wrong shape, found {shape}, expected (..., {len(self)}, 2) for {list(self.names)}",
                code="wrong-shape",
                argument=argument,
                found=shape,
            )
        check_broadcast(argument, shape[:-2], self.batch_shape, "the cameras")
        return _convert(value, self.matrix, None, None)

    @classmethod
    def stack(cls, groups: Sequence[CameraGroup]) -> CameraGroup:
        """Stack B groups with the same names and lens models into one batched group (B, V, ...).

        Raises:
            InputError: `too-few-views`, if there is no group; `cameras-differ`, if the groups differ in names or lens
                models.
        """
        if not groups:
            raise InputError(
                "groups: cannot stack an empty sequence, expected at least one group",
                code="too-few-views",
                argument="groups",
                found=0,
                expected=1,
            )
        first = groups[0]
        for group in groups[1:]:
            if group.names != first.names or group.fisheye != first.fisheye:
                raise InputError(
                    f"groups: cannot stack different cameras, found {list(group.names)} (fisheye {group.fisheye}), "
                    f"expected {list(first.names)} (fisheye {first.fisheye})",
                    code="cameras-differ",
                )
        xp = array_namespace(first.matrix)
        longest = max(int(group.distortion.shape[-1]) for group in groups)
        stacked = {
            field: xp.stack([getattr(group, field) for group in groups])
            for field in _ARRAY_FIELDS
            if field != "distortion"
        }
        stacked["distortion"] = xp.stack([_pad_last(group.distortion, longest) for group in groups])
        return cls(names=first.names, fisheye=first.fisheye, **stacked)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> CameraGroup:
        """Load a calibration file in any supported format; see `mvgeom.formats.load`."""
        from mvgeom import formats

        return formats.load(path, **options)

    def save(self, path: str | Path, **options: Any) -> None:
        """Save a calibration file in the format of the suffix; see `mvgeom.formats.save`."""
        from mvgeom import formats

        formats.save(self, path, **options)


def _first_rig(array: Array, trailing: int) -> npt.NDArray[np.float64]:
    """Return the array of the first rig of a batch as NumPy."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    return np.asarray(np.asarray(array, dtype=np.float64).reshape(-1, *array.shape[-trailing:])[0])


def _pad_rows(rows: Sequence[Any]) -> Array:
    """Pad V rows of different lengths to (V, n) float64, n the next length that OpenCV supports."""
    arrays = [np.asarray(as_array(row, "distortion"), dtype=np.float64).reshape(-1) for row in rows]
    longest = max((len(row) for row in arrays), default=0)
    length = next((n for n in DISTORTION_LENGTHS if n >= longest), longest)
    return np.stack([np.pad(row, (0, length - len(row))) for row in arrays]) if arrays else np.zeros((0, 0))


def _pad_last(array: Array, length: int) -> Array:
    xp = array_namespace(array)
    missing = length - int(array.shape[-1])
    if missing == 0:
        return array
    zeros = xp.zeros((*array.shape[:-1], missing), dtype=array.dtype, device=array.device)
    return xp.concat([array, zeros], axis=-1)


def _set_last_column(matrix: Array, column: Array) -> Array:
    """Return 3x3 matrices with the first two entries of the last column replaced."""
    xp = array_namespace(matrix)
    one = xp.ones_like(column[..., :1])
    full = xp.concat([column, one], axis=-1)[..., None]
    left, full = xp.broadcast_arrays(matrix[..., :2], full)
    return xp.concat([left, full[..., :1]], axis=-1)


def _convert(value: Array, like: Array, dtype: Any, device: Any) -> Array:
    if like is not None:
        xp = array_namespace(like)
        dtype = like.dtype if dtype is None else dtype
        device = like.device if device is None else device
    else:
        xp = array_namespace(value)
        dtype = value.dtype if dtype is None else dtype
        device = value.device if device is None else device
    if is_numpy_array(value) and xp is array_namespace(value):
        return xp.asarray(value, dtype=dtype)
    return xp.asarray(value, dtype=dtype, device=device)
