"""What `training.imgaug` may say: the name of a preset, or a mapping of transforms, read into checked pipelines.

The presets have the strengths that existing multi-view projects train with (Lightning Pose's, which are DeepLabCut's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mvaug.geometric import GEOMETRIC
from mvaug.parameters import Transform, parse_parameters
from mvaug.photometric import MAX_ELASTIC_DISPLACEMENT, PHOTOMETRIC, elastic_displacement

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
"""Preset name to the mapping it stands for."""

DEFAULT_PROBABILITY = 0.5
"""Of a transform whose mapping has no `p`."""

_EITHER_OR = (("px", "percent"), ("size_px", "size_percent"), ("translate_px", "translate_percent"))


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """2D augmentation of one view: first one affine from all geometric transforms, then the photometric ones."""

    geometric: tuple[Transform, ...] = ()
    photometric: tuple[Transform, ...] = ()

    @property
    def mirrors(self) -> bool:
        """Whether left may become right."""
        return any(GEOMETRIC[transform.name].mirrors for transform in self.geometric)


def parse_imgaug(imgaug: str | Mapping[str, Any] | None) -> Pipeline:
    """The pipeline that `training.imgaug` asks for.

    Args:
        imgaug: a preset's name, a mapping {transform: {p, args, kwargs}}, or None for no augmentation. `args` are
            positional in imgaug's order; the order of the mapping is kept among geometric and among photometric
            transforms, and the geometric ones come first because images are warped only once.

    Raises:
        ValueError: for an unknown preset, transform or parameter (the message lists the known ones) and for values of
            the wrong type or out of range.
    """
    if imgaug is None:
        return Pipeline()
    if isinstance(imgaug, str):
        if imgaug not in PRESETS:
            raise ValueError(
                f"training.imgaug is {imgaug!r}; known presets are {', '.join(PRESETS)}; or give a mapping"
            )
        imgaug = PRESETS[imgaug]
    if not isinstance(imgaug, Mapping):
        raise ValueError(f"training.imgaug takes a preset's name or a mapping of transforms, got {imgaug!r}")
    geometric: list[Transform] = []
    photometric: list[Transform] = []
    for name, options in imgaug.items():
        (geometric if name in GEOMETRIC else photometric).append(_parse_transform(str(name), options))
    return Pipeline(geometric=tuple(geometric), photometric=tuple(photometric))


def _parse_transform(name: str, options: Any) -> Transform:
    where = f"training.imgaug.{name}"
    specification = GEOMETRIC[name].parameters if name in GEOMETRIC else None
    if specification is None:
        if name not in PHOTOMETRIC:
            raise ValueError(
                f"{where} is not a known transform; known are {', '.join(GEOMETRIC)} (geometric) and "
                f"{', '.join(PHOTOMETRIC)} (photometric)"
            )
        specification = PHOTOMETRIC[name].parameters
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise ValueError(f"{where} takes a mapping with p, args and kwargs, got {options!r}")
    unknown = [key for key in options if key not in ("p", "args", "kwargs")]
    if unknown:
        raise ValueError(
            f"{where} has {', '.join(map(repr, unknown))}; it takes p, args and kwargs, and the transform's own "
            f"parameters ({', '.join(specification) or 'none'}) go under kwargs"
        )
    p = options.get("p", DEFAULT_PROBABILITY)
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        raise ValueError(f"{where}.p is a probability in [0, 1], got {p!r}")
    named = _named(options, specification, where)
    if not named and name in GEOMETRIC:
        named = dict(GEOMETRIC[name].bare)
    transform = Transform(name=name, p=float(p), parameters=parse_parameters(named, specification, where))
    _check_elastic(transform, where)
    return transform


def _named(options: Mapping[str, Any], specification: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`args` and `kwargs` as one mapping by name."""
    args, kwargs = options.get("args") or (), options.get("kwargs") or {}
    if not isinstance(args, Sequence) or isinstance(args, str):
        raise ValueError(f"{where}.args takes a list, got {args!r}")
    if not isinstance(kwargs, Mapping):
        raise ValueError(f"{where}.kwargs takes a mapping of parameters, got {kwargs!r}")
    if len(args) > len(specification):
        raise ValueError(f"{where}.args has {len(args)} entries; it takes {', '.join(specification) or 'none'}")
    named = dict(zip(specification, args, strict=False))
    twice = [key for key in kwargs if key in named]
    if twice:
        raise ValueError(f"{where} has {', '.join(map(repr, twice))} both in args and in kwargs")
    named |= {str(key): value for key, value in kwargs.items()}
    for pair in _EITHER_OR:
        if all(named.get(key) is not None for key in pair):
            raise ValueError(f"{where} has both {pair[0]} and {pair[1]}; give one of them")
    return named


def _check_elastic(transform: Transform, where: str) -> None:
    if transform.name != "ElasticTransformation":
        return
    parameters = dict(transform.parameters)
    displacement = elastic_displacement(parameters["alpha"].high, parameters["sigma"].low)
    if displacement > MAX_ELASTIC_DISPLACEMENT:
        raise ValueError(
            f"{where} moves pixels by {displacement:.2f} px (root mean square, at the largest alpha and smallest "
            f"sigma), and labels do not follow; at most {MAX_ELASTIC_DISPLACEMENT} px are allowed: lower alpha "
            f"or raise sigma"
        )
