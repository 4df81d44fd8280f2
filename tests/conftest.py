"""Shared fixtures: small simulated annotations in the canonical layout, and settings that train in seconds."""

from pathlib import Path

import pandas as pd
import pytest
from annotation_examples import canonical

from repo.annotations.simulation import simulate
from repo.settings import Settings, SimulationSettings, build_settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def small_settings() -> Settings:
    """Settings that train a tiny policy in about a second."""
    return build_settings(
        {
            "policy": {
                "max_length": 128,
                "max_prompt_length": 48,
                "tiny": {"vocabulary": 400, "hidden": 32, "layers": 1, "heads": 2, "warm_start_steps": 4},
            },
            "train": {"batch_size": 8, "epochs": 1, "learning_rate": 3e-3, "log_every": 2},
        },
        "test",
    )


@pytest.fixture(scope="session")
def annotations() -> pd.DataFrame:
    """144 annotations on 48 comparisons of 24 prompts by ten simulated annotators."""
    return canonical(pd.DataFrame(simulate(SimulationSettings(comparisons=48, prompts=24))))
