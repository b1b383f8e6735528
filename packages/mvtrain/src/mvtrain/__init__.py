"""Trainer of a multi-view transformer for 2D and 3D keypoints."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mvtrain.predict.predictor import Keypoints, Predictor, load

__all__ = ["Keypoints", "Predictor", "load"]


def __getattr__(name: str) -> Any:
    # On demand, because they bring torch along, and `mvtrain --help` has to answer at once.
    if name in __all__:
        from mvtrain.predict import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'mvtrain' has no attribute {name!r}")
