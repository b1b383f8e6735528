"""Presets of 2D augmentation, and parsing of presets and mappings of transforms into checked pipelines.

The presets have the numbers that existing multi-view projects train with (Lightning Pose's, which are DeepLabCut's).
Those in px, such as a kernel's length, count model px here, so that strengths do not depend on the size of the stored
images; there they count px of the stored images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mvaug.geometric import GEOMETRIC
from mvaug.parameters import Parameter, Transform, expected_names, invalid_value, parse_parameters
from mvaug.photometric import MAX_ELASTIC_DISPLACEMENT, PHOTOMETRIC, elastic_displacement
from mvgeom.errors import InputError
from mvgeom.wording import counted

_ROTATION = {"Affine": {"p": 0.4, "kwargs": {"rotate": [-25, 25]}}}
_OCCLUSION_AND_BLUR = {
    "MotionBlur": {"p": 0.5, "kwargs": {"k": 5, "angle": [-90, 90]}},
    "CoarseDropout": {"p": 0.5, "kwargs": {"p": 0.02, "size_percent": 0.3, "per_channel": 0.5}},
    "CoarseSalt": {"p": 0.5, "kwargs": {"p": 0.01, "size_percent": [0.05, 0.1]}},
    "CoarsePepper": {"p": 0.5, "kwargs": {"p": 0.01, "size_percent": [0.05, 0.1]}},
}
_ELASTIC = {"ElasticTransformation": {"p": 0.5, "kwargs": {"alpha": [0, 10], "sigma": 5}}}
_CONTRAST = {
    "AllChannelsHistogramEqualization": {"p": 0.1},
    "AllChannelsCLAHE": {"p": 0.1},
    "Emboss": {"p": 0.1, "kwargs": {"alpha": [0, 0.5], "strength": [0.5, 1.5]}},
}
_CROP = {"CropAndPad": {"p": 0.4, "kwargs": {"percent": [-0.15, 0.15], "keep_size": False}}}
_DLC = {**_ROTATION, **_OCCLUSION_AND_BLUR, **_ELASTIC, **_CONTRAST, **_CROP}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "none": {},
    "dlc": _DLC,
    "dlc-lr": {"Rot90": {"p": 1.0, "kwargs": {"k": [[0, 2]]}}, **_DLC},
    "dlc-top-down": {"Rot90": {"p": 1.0, "kwargs": {"k": [0, 1, 2, 3]}}, **_DLC},
    "dlc-mv": {**_OCCLUSION_AND_BLUR, **_CONTRAST},
}
"""Mappings of transforms by preset name."""

DEFAULT_PROBABILITY = 0.5
"""Probability of a transform whose mapping has no `p`."""

_EITHER_OR = (("px", "percent"), ("size_px", "size_percent"), ("translate_px", "translate_percent"))


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """2D augmentation of one view: first one affine from all geometric transforms, then the photometric ones."""

    geometric: tuple[Transform, ...] = ()
    photometric: tuple[Transform, ...] = ()

    @property
    def mirrors(self) -> bool:
        """Return True if left may become right."""
        return any(GEOMETRIC[transform.name].mirrors for transform in self.geometric)


def parse_imgaug(imgaug: str | Mapping[str, Any] | None) -> Pipeline:
    """Parse 2D augmentation into a checked pipeline.

    Args:
        imgaug: Preset's name, mapping {transform: {p, args, kwargs}}, or None for no augmentation. `args` are
            positional in imgaug's order. The order of the mapping is kept among geometric and among photometric
            transforms, and the geometric ones come first because images are warped only once. A preset's name as a
            key, with nothing under it, stands for the preset's transforms; a transform named again replaces its own.

    Raises:
        InputError: A preset, transform or parameter is unknown, or a value has the wrong type or is out of range.
    """
    if imgaug is None:
        return Pipeline()
    if isinstance(imgaug, str):
        if imgaug not in PRESETS:
            raise InputError(
                f"imgaug: unknown preset, found {imgaug!r}, expected {', '.join(PRESETS)}, or a mapping of transforms.",
                code="unknown-choice",
                argument="imgaug",
                name=imgaug,
            )
        imgaug = PRESETS[imgaug]
    if not isinstance(imgaug, Mapping):
        raise invalid_value("imgaug", imgaug, "a preset's name or a mapping of transforms")
    geometric: list[Transform] = []
    photometric: list[Transform] = []
    for name, options in _with_presets_expanded(imgaug).items():
        (geometric if name in GEOMETRIC else photometric).append(_parse_transform(name, options))
    return Pipeline(geometric=tuple(geometric), photometric=tuple(photometric))


def _with_presets_expanded(imgaug: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the presets that a mapping names by their transforms."""
    expanded: dict[str, Any] = {}
    for name, options in imgaug.items():
        if name not in PRESETS:
            expanded[str(name)] = options
        elif options is None or options == {}:
            expanded |= PRESETS[name]
        else:
            raise invalid_value(f"imgaug.{name}", options, "nothing under a preset's name")
    return expanded


def _parse_transform(name: str, options: Any) -> Transform:
    where = f"imgaug.{name}"
    specification = GEOMETRIC.get(name) or PHOTOMETRIC.get(name)
    if specification is None:
        raise InputError(
            f"{where}: unknown transform, found {name!r}, expected one of {', '.join(GEOMETRIC)} (geometric), "
            f"{', '.join(PHOTOMETRIC)} (photometric).",
            code="unknown-choice",
            argument=where,
            name=name,
        )
    parameters = specification.parameters
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise invalid_value(where, options, "a mapping with p, args and kwargs")
    unknown = [str(key) for key in options if key not in ("p", "args", "kwargs")]
    if unknown:
        raise InputError(
            f"{where}: unknown key, found {', '.join(map(repr, unknown))}, expected p, args and kwargs. The "
            f"transform's own parameters ({expected_names(parameters)}) go under kwargs.",
            code="bad-key",
            argument=where,
            unknown=unknown,
        )
    p = options.get("p", DEFAULT_PROBABILITY)
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        raise invalid_value(f"{where}.p", p, "a probability in [0, 1]")
    named = _named(options, parameters, where)
    if not named and name in GEOMETRIC:
        named = dict(GEOMETRIC[name].bare)
    transform = Transform(name=name, p=float(p), parameters=parse_parameters(named, parameters, where))
    _check_elastic(transform, where)
    return transform


def _named(options: Mapping[str, Any], parameters: Mapping[str, Parameter], where: str) -> dict[str, Any]:
    """Merge `args` and `kwargs` into one mapping by name."""
    args, kwargs = options.get("args") or (), options.get("kwargs") or {}
    if not isinstance(args, Sequence) or isinstance(args, str):
        raise invalid_value(f"{where}.args", args, "a list")
    if not isinstance(kwargs, Mapping):
        raise invalid_value(f"{where}.kwargs", kwargs, "a mapping of parameters")
    if len(args) > len(parameters):
        raise InputError(
            f"{where}.args: found {counted(len(args), 'entry', 'entries')}, expected at most {len(parameters)} "
            f"({expected_names(parameters)}).",
            code="wrong-count",
            argument=f"{where}.args",
            found=len(args),
            expected=len(parameters),
        )
    named = dict(zip(parameters, args, strict=False))
    for key in kwargs:
        if key in named:
            raise InputError(
                f"{where}: found {key!r} in args and in kwargs, expected it once. Remove one of them.",
                code="duplicate-name",
                argument=where,
                name=key,
            )
    named |= {str(key): value for key, value in kwargs.items()}
    for pair in _EITHER_OR:
        if all(named.get(key) is not None for key in pair):
            raise InputError(
                f"{where}: found both {pair[0]} and {pair[1]}, expected one of them. Remove the other.",
                code="excluded-options",
                argument=where,
                names=pair,
            )
    return named


def _check_elastic(transform: Transform, where: str) -> None:
    """Check that an elastic transform keeps pixels near their labels, which do not follow it."""
    if transform.name != "ElasticTransformation":
        return
    parameters = dict(transform.parameters)
    displacement = elastic_displacement(parameters["alpha"].high, parameters["sigma"].low)
    if displacement > MAX_ELASTIC_DISPLACEMENT:
        raise InputError(
            f"{where}: labels do not follow the displacement of pixels, found {displacement:.2f} px (root mean "
            f"square, at the largest alpha and smallest sigma), expected at most {MAX_ELASTIC_DISPLACEMENT} px. "
            f"Lower alpha or raise sigma.",
            code="out-of-range",
            argument=where,
            displacement=displacement,
        )
