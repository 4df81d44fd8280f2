"""Which settings are parameters of the pipeline, and how the others travel with them."""

from typing import Any

import yaml

from repo.errors import UserError
from repo.settings.files import build_settings, parse_yaml, put_value, value_at
from repo.settings.sections import Settings, leaves

PIPELINE_PARAMETERS = {
    "experiment": "registry.experiment",
    "model": "registry.model",
    "policy": "policy.base",
    "loss": "train.loss",
    "m_step": "train.m_step",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "seed": "train.seed",
    "estimator": "reliability.estimator",
    "initial_reliability": "reliability.initial",
    "step_size": "reliability.step_size",
}
"""The settings that are pipeline parameters of their own, for the Kubeflow UI: parameter → setting."""


def to_parameters(settings: Settings) -> dict[str, Any]:
    """Return pipeline parameters: the main settings by name, every other one that is no default as YAML in `config`."""
    values = dict(leaves(settings))
    defaults = dict(leaves(Settings()))
    parameters = {name: values[path] for name, path in PIPELINE_PARAMETERS.items()}
    rest: dict[str, Any] = {}
    for path, value in values.items():
        if path not in PIPELINE_PARAMETERS.values() and value != defaults.get(path):
            put_value(rest, path.split("."), value)
    parameters["learning_rate"] = str(parameters["learning_rate"])
    return {**parameters, "config": yaml.safe_dump(rest, allow_unicode=True, sort_keys=False) if rest else ""}


def from_parameters(parameters: dict[str, Any], config: str) -> Settings:
    """Undo to_parameters.

    Raises:
        UserError: `config` is no valid YAML, sets what is a parameter of its own, or a value is out of its bounds.
    """
    values = parse_yaml(config, "the pipeline parameter config")
    for name, path in PIPELINE_PARAMETERS.items():
        if value_at(values, path.split(".")) is not None:
            raise UserError(f"the pipeline parameter config sets {path}", f"set the pipeline parameter {name} instead")
        put_value(values, path.split("."), parameters[name])
    return build_settings(values, "the pipeline's parameters")
