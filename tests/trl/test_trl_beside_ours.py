"""The same votes in the same order: RE-PO inside TRL takes the steps of our own trainer. make test-trl."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from datasets import Dataset
from test_trl import base, config, logged, trainer, votes  # noqa: F401
from torch.utils.data import Sampler

from repo.integrations.trl import REPOTrainer
from repo.policy.batches import epoch_batches
from repo.policy.loading import load_policy
from repo.policy.losses import LOSSES
from repo.policy.training import TrainingResult, train
from repo.settings import ReliabilitySettings, build_settings

# float32: packed and padded sums round differently, and AdamW amplifies it: 1.6e-4 was seen within 24 steps.
TOLERANCE = 5e-4
ROWS, BATCH, EPOCHS, RATE = 96, 8, 2, 3e-4


class OurOrder(Sampler[int]):
    """The order of our own trainer, epoch by epoch."""

    def __init__(self) -> None:
        self.epoch = 0

    def __len__(self) -> int:
        return ROWS

    def __iter__(self) -> Iterator[int]:
        for batch in epoch_batches(ROWS, BATCH, 0, self.epoch):
            yield from batch.tolist()
        self.epoch += 1


class InOurOrder(REPOTrainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> OurOrder:
        return OurOrder()


def by_our_trainer(base: Path, folder: Path, loss: str, estimator: str) -> TrainingResult:  # noqa: F811
    rows = [
        {
            "comparison_id": f"{number:03}",
            "prompt": vote["prompt"],
            "response_a": vote["rejected" if number % 3 else "chosen"],
            "response_b": vote["chosen" if number % 3 else "rejected"],
            "preference": "b" if number % 3 else "a",
            "annotator_id": vote["annotator_id"],
            "messages": False,
            "gold": "",
            "shown_first": "",
            "weight": 1.0,
        }
        for number, vote in enumerate(votes(ROWS))
    ]
    sections = {
        "policy": {"base": str(base), "precision": "float32", "max_length": 32, "max_prompt_length": 16},
        "train": {
            "loss": loss,
            "loss_options": {"beta": 0.5},
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "learning_rate": RATE,
            "warmup": 0,
            "log_every": 1,
            "checkpoint_every": 0,
        },
        "reliability": {"estimator": estimator},
    }
    return train(pd.DataFrame(rows), build_settings(sections, "test"), folder)


@pytest.mark.parametrize("estimator", ["paper", "incremental"])
@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo"])
def test_every_step_is_our_own_trainer_s(base: Path, tmp_path: Path, loss: str, estimator: str) -> None:  # noqa: F811
    ours = by_our_trainer(base, tmp_path / "ours", loss, estimator)
    inside = trainer(
        base,
        config(tmp_path / "trl", learning_rate=RATE, num_train_epochs=EPOCHS, optim="adamw_torch_fused"),
        InOurOrder,
        train_dataset=Dataset.from_list(votes(ROWS)),
        loss=LOSSES[loss](beta=0.5),
        reliability=ReliabilitySettings(estimator=estimator),
    )
    inside.train()
    for name in ("loss", "grad_norm", "reliability/mean", "reliability/min", "reliability/posterior_mean"):
        assert logged(inside, name) == pytest.approx([record[name] for record in ours.history], rel=TOLERANCE), name
    expected = load_policy(ours.policy).model.state_dict()
    for name, tensor in inside.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=TOLERANCE, atol=1e-4)
    found, known = (
        {row["annotator_id"]: row["reliability"] for row in record["annotators"]}
        for record in (inside.reliabilities().record, ours.reliability)
    )
    assert found == pytest.approx(known, rel=TOLERANCE)
