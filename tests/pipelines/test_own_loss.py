"""A loss of one's own from the command line: through every step, as a champion, and its mistakes before anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pipeline_runs import SMALL, Run, options

from repo.errors import UserError
from repo.tracking.policies import champion_source
from repo.tracking.registry import champion
from repo.tracking.store import Store

# What a user is likely to write: annotations kept as text, and options that are no float.
HINGE = """
from __future__ import annotations

from dataclasses import dataclass

import torch

from repo import PairLogps, PreferenceLoss


@dataclass(frozen=True)
class Hinge(PreferenceLoss):
    beta: float = 0.1
    power: int = 1
    halved: bool = False
    margin: float | None = None

    def __call__(self, pair: PairLogps) -> torch.Tensor:
        h = (pair.first - pair.reference_first) - (pair.second - pair.reference_second)
        loss = torch.relu((self.margin or 1.0) - self.beta * h) ** self.power
        return loss / 2 if self.halved else loss


class Bare(PreferenceLoss):
    def __call__(self, pair: PairLogps) -> torch.Tensor:
        return pair.first


NoLoss = dict
"""
OWN = (
    *SMALL,
    "train.epochs=1",
    "train.loss=my_losses:Hinge",
    "train.loss_options={beta: 1e-1, power: 2, halved: true, margin: 2}",
)


@pytest.mark.slow
def test_a_loss_of_ones_own_goes_through_the_pipeline_and_is_made_again_for_the_champion(
    repo_pipeline: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, store = tmp_path / "home", tmp_path / "store"
    home.mkdir()
    (home / "my_losses.py").write_text(HINGE)
    first = repo_pipeline("run", "--data", "simulated", "--store", store, *options(OWN), cwd=home)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "verdict: promote" in first.stdout
    given = {"beta": 0.1, "power": 2, "halved": True, "margin": 2.0}
    record = json.loads(next(store.glob("artifacts/**/training.json")).read_text())
    assert (record["loss"], record["loss_options"]) == ("my_losses:Hinge", given)
    assert record["loss_importable"]
    metadata = yaml.safe_load(next(store.glob("artifacts/**/MLmodel")).read_text())["metadata"]
    assert (metadata["loss"], json.loads(metadata["loss_options"])) == ("my_losses:Hinge", given)

    # The champion is scored by its own loss, whatever the candidate was trained with.
    plain = options((*SMALL, "train.epochs=1", "gate.min_gain_over_champion=1"))
    second = repo_pipeline("run", "--data", "simulated", "--store", store, *plain, cwd=home)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "gain in accuracy over the champion" in second.stdout

    # This process stands elsewhere, where there is no my_losses.
    for name, value in Store(store).environment().items():
        monkeypatch.setenv(name, value)
    current = champion("repo-policy")
    assert current is not None
    with pytest.raises(UserError, match=r"champion \(version 1\).*my_losses:Hinge") as caught:
        champion_source(current)
    assert "start in the directory that holds my_losses" in caught.value.remedy


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("my_losses:NoLoss", "no PreferenceLoss"),
        ("my_losses:Bare", "@dataclass"),
        ("my_losses:Hing", "no class 'Hing'"),
        ("my_loses:Hinge", "No module named 'my_loses'"),
    ],
)
def test_a_loss_that_cannot_be_used_is_told_before_anything_is_made(tmp_path: Path, loss: str, words: str) -> None:
    (tmp_path / "my_losses.py").write_text(HINGE)
    # The installed command, unlike python -m, does not put the working directory on Python's path.
    command = [Path(sys.executable).with_name("repo-pipeline"), "run", "--data", "simulated", "--store", "store"]
    done = subprocess.run(
        [*command, "--set", f"train.loss={loss}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")},
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "→" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "store").exists()
