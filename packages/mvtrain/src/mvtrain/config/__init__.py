"""The config: its sections and their checks (`schema`), read from a file and command line overrides (`load`)."""

from mvtrain.config.load import load_config, save_config
from mvtrain.config.schema import (
    LOSS_NAMES,
    Config,
    DataConfig,
    EvalConfig,
    ImageSizeConfig,
    LossConfig,
    ModelConfig,
    MultiStepConfig,
    OptimizerParamsConfig,
    PatchMaskConfig,
    SchedulerParamsConfig,
    TrainingConfig,
)

__all__ = [
    "LOSS_NAMES",
    "Config",
    "DataConfig",
    "EvalConfig",
    "ImageSizeConfig",
    "LossConfig",
    "ModelConfig",
    "MultiStepConfig",
    "OptimizerParamsConfig",
    "PatchMaskConfig",
    "SchedulerParamsConfig",
    "TrainingConfig",
    "load_config",
    "save_config",
]
