"""Train a multi-view transformer for 2D and 3D keypoints, and predict with it.

config = mvtrain.load_config("config.yaml", ["training.max_epochs=50"])
run = mvtrain.train(config, "runs/first")
evaluation = mvtrain.evaluate(run)
keypoints = mvtrain.load_predictor("runs/first").predict(images, cameras)
"""

import gc
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# As mvgeom does, before OpenCV can be imported; mvgeom itself would bring NumPy along.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "178956970")

if TYPE_CHECKING:
    from mvtrain.api import evaluate, train
    from mvtrain.config import Config, load_config
    from mvtrain.evaluation.evaluation import Evaluation
    from mvtrain.model.run_folder import Run, load_run
    from mvtrain.predict.predictor import Keypoints, Predictor, load_predictor

    __version__: str

__all__ = [
    "Config",
    "Evaluation",
    "Keypoints",
    "Predictor",
    "Run",
    "__version__",
    "evaluate",
    "load_config",
    "load_predictor",
    "load_run",
    "train",
]

_MODULES = {
    "Config": "mvtrain.config",
    "Evaluation": "mvtrain.evaluation.evaluation",
    "Keypoints": "mvtrain.predict.predictor",
    "Predictor": "mvtrain.predict.predictor",
    "Run": "mvtrain.model.run_folder",
    "evaluate": "mvtrain.api",
    "load_config": "mvtrain.config",
    "load_predictor": "mvtrain.predict.predictor",
    "load_run": "mvtrain.model.run_folder",
    "train": "mvtrain.api",
}


def __getattr__(name: str) -> Any:
    # On demand, because most bring torch along, and `mvtrain --help` has to answer at once.
    if name == "__version__":
        from importlib.metadata import version

        return version("mvtrain")
    if name == "load":  # the name of `load_predictor` in version 0.1.0
        name = "load_predictor"
    if name in _MODULES:
        # As `quick_imports` of the commands does, whose module brings NumPy along; the user's own objects stay as they
        # are.
        enabled = gc.isenabled()
        gc.disable()
        try:
            return getattr(import_module(_MODULES[name]), name)
        finally:
            if enabled:
                gc.enable()
    raise AttributeError(f"module 'mvtrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
