"""One frozen model per stage; a pipeline file is these, nested.

Every default is written here and nowhere else. Unknown keys are refused.
"""

from wsi_specdec.config.augment import AugmentConfig
from wsi_specdec.config.base import Positive, ReaderName, StageConfig
from wsi_specdec.config.calls import (
    AggregateConfig,
    EvaluateConfig,
    ExportConfig,
    Feature,
    PatientRule,
    Pooling,
    ReportConfig,
    ThresholdRule,
)
from wsi_specdec.config.datasets import DatasetConfig, DatasetName
from wsi_specdec.config.loading import (
    differences,
    dump_config,
    full_size,
    load_any,
    load_config,
    make_config,
    override,
)
from wsi_specdec.config.mil import MilConfig
from wsi_specdec.config.packing import PackConfig
from wsi_specdec.config.studies import (
    AnyStudy,
    ImageStudyConfig,
    LinearConfig,
    MarkStrengths,
    MoonsConfig,
    RadiographsConfig,
    RobustnessConfig,
    Shift,
    SpuriousConfig,
    StainPatchesConfig,
    StarvationConfig,
    StudyConfig,
    StudyData,
)
from wsi_specdec.config.tiling import AnnotationConfig, RunnerConfig, TileConfig, TissueConfig
from wsi_specdec.config.training import (
    ScoreConfig,
    SearchConfig,
    SearchedSetting,
    StainConfig,
    StainMethod,
    TrainConfig,
)
from wsi_specdec.config.viewing import ViewConfig
from wsi_specdec.config.whole import (
    AnyConfig,
    ArmConfig,
    CohortConfig,
    DemoConfig,
    PipelineConfig,
    ProcessConfig,
)

__all__ = [
    "AggregateConfig",
    "AnnotationConfig",
    "AnyConfig",
    "AnyStudy",
    "ArmConfig",
    "AugmentConfig",
    "CohortConfig",
    "DatasetConfig",
    "DatasetName",
    "DemoConfig",
    "EvaluateConfig",
    "ExportConfig",
    "Feature",
    "ImageStudyConfig",
    "LinearConfig",
    "MarkStrengths",
    "MilConfig",
    "MoonsConfig",
    "PackConfig",
    "PatientRule",
    "PipelineConfig",
    "Pooling",
    "Positive",
    "ProcessConfig",
    "RadiographsConfig",
    "ReaderName",
    "ReportConfig",
    "RobustnessConfig",
    "RunnerConfig",
    "ScoreConfig",
    "SearchConfig",
    "SearchedSetting",
    "Shift",
    "SpuriousConfig",
    "StageConfig",
    "StainConfig",
    "StainMethod",
    "StainPatchesConfig",
    "StarvationConfig",
    "StudyConfig",
    "StudyData",
    "ThresholdRule",
    "TileConfig",
    "TissueConfig",
    "TrainConfig",
    "ViewConfig",
    "differences",
    "dump_config",
    "full_size",
    "load_any",
    "load_config",
    "make_config",
    "override",
]
