"""RE-PO: align a language model on noisy preferences and learn which annotators can be believed.

The names below are the library's face; each is imported when it is first used, so that `import repo` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repo.annotations.reading.reader import read_annotations
    from repo.annotations.splitting import split_annotations
    from repo.annotations.validation.suite import validate
    from repo.errors import UserError
    from repo.evaluation.evaluation import PolicySource, evaluate
    from repo.evaluation.exam import Exam
    from repo.policy.losses import LOSSES, PairLogps, PreferenceLoss
    from repo.policy.training import train
    from repo.reliability.estimator import AnnotatorReliability
    from repo.settings import Settings, load_settings

__all__ = [
    "LOSSES",
    "AnnotatorReliability",
    "Exam",
    "PairLogps",
    "PolicySource",
    "PreferenceLoss",
    "Settings",
    "UserError",
    "evaluate",
    "load_settings",
    "read_annotations",
    "split_annotations",
    "train",
    "validate",
]

_HOMES = {
    "AnnotatorReliability": "repo.reliability.estimator",
    "Exam": "repo.evaluation.exam",
    "LOSSES": "repo.policy.losses",
    "PairLogps": "repo.policy.losses",
    "PolicySource": "repo.evaluation.evaluation",
    "PreferenceLoss": "repo.policy.losses",
    "Settings": "repo.settings",
    "UserError": "repo.errors",
    "evaluate": "repo.evaluation.evaluation",
    "load_settings": "repo.settings",
    "read_annotations": "repo.annotations.reading.reader",
    "split_annotations": "repo.annotations.splitting",
    "train": "repo.policy.training",
    "validate": "repo.annotations.validation.suite",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'repo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
