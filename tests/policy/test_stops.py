"""Trainings that cannot go on or are killed: what is said and kept, and that the same call comes to the same end."""

import multiprocessing
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
from torch import Tensor

from repo.errors import UserError
from repo.policy.losses import DPO, PairLogps
from repo.policy.trainer import Metrics, Trainer
from repo.policy.training import TrainingResult, train
from repo.settings import Settings, build_settings

KILLS = 20


def changed(settings: Settings, **sections: dict[str, object]) -> Settings:
    values = settings.model_dump()
    for section, change in sections.items():
        values[section] |= change
    return build_settings(values, "test")


@pytest.fixture(scope="module")
def often_kept(small_settings: Settings) -> Settings:
    return changed(small_settings, train={"checkpoint_every": 2, "epochs": 2})


@dataclass(frozen=True)
class Breaking(DPO):
    """DPO that gives no number for one comparison of a batch, from a given evaluation on."""

    calls: ClassVar[int] = 0
    healthy: ClassVar[int] = 0

    def __call__(self, pair: PairLogps) -> Tensor:
        Breaking.calls += 1
        loss = super().__call__(pair)
        if Breaking.calls <= Breaking.healthy:
            return loss
        return loss * torch.where(torch.arange(len(loss)) == 1, torch.nan, 1.0)


def test_a_step_that_is_not_finite_changes_no_weight_and_names_its_comparisons(
    annotations: pd.DataFrame, often_kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Breaking.calls, Breaking.healthy = 0, 2 * 4  # both orientations of four steps
    finite: list[bool] = []
    check = Trainer._check_finite

    def noting(self: Trainer, step: int, *given: Any) -> None:
        finite.append(all(bool(torch.isfinite(p).all()) for p in self.policy.model.parameters()))
        check(self, step, *given)

    monkeypatch.setattr(Trainer, "_check_finite", noting)
    with pytest.raises(UserError, match=r"diverged at step 5 of 12: .*loss.* not finite") as caught:
        train(annotations, often_kept, tmp_path, loss=Breaking())
    assert all(finite)
    assert len(finite) == 5
    named = caught.value.problem.rsplit("with the comparisons ", 1)[1].split(", ")
    assert len(named) == 1
    assert named[0] in set(annotations["comparison_id"])
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-2", "step-4"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let writing fail in earnest, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_finds_no_room_is_said_and_the_older_one_goes_on(
    annotations: pd.DataFrame, often_kept: Settings, tmp_path: Path
) -> None:
    limits: list[Any] = []

    def fill(record: Metrics) -> None:
        if record["step"] == 6:
            limit = files_of_at_most(1000)
            limits.append(limit)
            limit.__enter__()

    try:
        with pytest.raises(UserError, match="checkpoint of step 6 cannot be written") as caught:
            train(annotations, often_kept, tmp_path / "broken", on_log=fill)
    finally:
        for limit in limits:
            limit.__exit__(None, None, None)
    assert "goes on from step 4" in caught.value.remedy
    steps: list[float] = []
    resumed = train(annotations, often_kept, tmp_path / "broken", on_log=lambda record: steps.append(record["step"]))
    assert steps == [6, 8, 10, 12]
    same_end(resumed, train(annotations, often_kept, tmp_path / "whole"))


def same_end(one: TrainingResult, other: TrainingResult) -> None:
    assert one.reliability == other.reliability
    assert (one.policy / "model.safetensors").read_bytes() == (other.policy / "model.safetensors").read_bytes()


def _train_until_killed(annotations: pd.DataFrame, settings: Settings, output: Path, left: int) -> None:
    """Train, and die when so many moments have passed: before a step, or inside the writing of a checkpoint."""
    moments = left

    def moment() -> None:
        nonlocal moments
        moments -= 1
        if moments == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(owner: Any, name: str) -> None:
        plain: Callable[..., Any] = getattr(owner, name)

        def with_moment(*given: Any, **options: Any) -> Any:
            moment()
            return plain(*given, **options)

        setattr(owner, name, with_moment)

    import safetensors.torch

    from repo.policy import checkpoints

    before(Trainer, "_step")
    before(safetensors.torch, "save_file")
    before(checkpoints, "write_json")
    before(Path, "rename")
    torch.set_num_threads(1)
    train(annotations, settings, output)


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_comes_to_the_same_weights_and_reliabilities(
    annotations: pd.DataFrame, often_kept: Settings, tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.policy.test_stops"])
    draw = random.Random(0)
    output, kills = tmp_path / "killed", 0
    for _ in range(KILLS):
        # Moments lie close enough together that all of them are hit, far enough apart that it gets anywhere.
        left = draw.randint(1, 14)
        child = processes.Process(target=_train_until_killed, args=(annotations, often_kept, output, left))
        child.start()
        child.join()
        if child.exitcode == 0:
            output = tmp_path / f"killed-{kills}"
            continue
        assert child.exitcode == -signal.SIGKILL
        kills += 1
    whole = train(annotations, often_kept, tmp_path / "whole")
    same_end(train(annotations, often_kept, output), whole)
    for finished in tmp_path.glob("killed*"):
        assert (finished / "policy/model.safetensors").read_bytes() == (whole.policy / "model.safetensors").read_bytes()
    assert kills >= KILLS // 2
