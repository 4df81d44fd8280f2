"""Every setting with its meaning; settings files and overrides; which settings are parameters of the pipeline."""

from repo.settings.files import build_settings, load_settings, parse_yaml, settings_from_json, to_commented_yaml
from repo.settings.parameters import PIPELINE_PARAMETERS, from_parameters, to_parameters
from repo.settings.sections import (
    DataSettings,
    EvaluationSettings,
    GateSettings,
    InboxSettings,
    LoraSettings,
    PolicySettings,
    RegistrySettings,
    ReliabilitySettings,
    RetrainSettings,
    Section,
    Settings,
    SimulationSettings,
    TinySettings,
    TrainSettings,
    ValidationSettings,
    leaves,
)

__all__ = [
    "PIPELINE_PARAMETERS",
    "DataSettings",
    "EvaluationSettings",
    "GateSettings",
    "InboxSettings",
    "LoraSettings",
    "PolicySettings",
    "RegistrySettings",
    "ReliabilitySettings",
    "RetrainSettings",
    "Section",
    "Settings",
    "SimulationSettings",
    "TinySettings",
    "TrainSettings",
    "ValidationSettings",
    "build_settings",
    "from_parameters",
    "leaves",
    "load_settings",
    "parse_yaml",
    "settings_from_json",
    "to_commented_yaml",
    "to_parameters",
]
