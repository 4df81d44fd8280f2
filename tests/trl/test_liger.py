"""Liger's head beside ours, in its form for devices without a kernel of its own. make test-trl has it installed."""

from pathlib import Path

import pytest
import torch

from benchmarks.speed.base import make_base
from benchmarks.speed.ours import settings_for
from benchmarks.speed.worlds import Lengths, World
from repo import train
from repo.policy import hopper, training
from repo.policy.head import Head

CPU = torch.device("cpu")


@pytest.mark.parametrize("scale", [1.0, 0.25, 3.0])
@pytest.mark.parametrize("tokens", [1, 7, 1030])
def test_one_number_a_token_and_its_gradients_are_ours(tokens: int, scale: float) -> None:
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, 16, generator=random)
    weight = torch.randn(50, 16, generator=random)
    targets = torch.randint(50, (tokens,), generator=random)
    upstream = torch.randn(tokens, generator=random)
    ours, theirs = ([x.clone().requires_grad_() for x in (hidden, weight)] for _ in range(2))
    expected = Head(ours[1], None, scale).token_logps(ours[0], targets)
    found = hopper.liger_token_logps(*theirs, targets, scale)
    found.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(theirs, ours, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scoring", [False, True])
def test_what_is_tried_before_the_kernel_is_used_passes_where_it_computes_rightly(scoring: bool) -> None:
    with torch.set_grad_enabled(not scoring), torch.autocast("cpu", torch.bfloat16, enabled=scoring):
        assert 0 < hopper.difference(CPU) <= hopper.TOLERANCE


def test_the_trial_tells_a_wrong_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    right = hopper.liger_token_logps
    monkeypatch.setattr(hopper, "liger_token_logps", lambda h, w, targets, scale: right(h, w, targets, 1 / scale))
    assert hopper.difference(CPU) > hopper.TOLERANCE


def test_a_kernel_that_cannot_run_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hopper, "is_hopper", lambda device: True)
    assert "CUDA" in hopper.unusable.__wrapped__(torch.device("cuda"))


@pytest.mark.parametrize("rank", [0, 2])
def test_a_training_by_the_kernel_is_the_training_by_chunks(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Lengths(8, 9, 20)
    world = World(words, words, max_length=64, max_prompt_length=32, vocabulary=80)
    base = make_base(tmp_path / "base", vocabulary=80, positions=64)
    adapters = (f"policy.lora.rank={rank}",) if rank else ()
    others = ("policy.precision=bfloat16", "train.log_every=1", "train.learning_rate=1e-3", *adapters)
    settings = settings_for(base, world, *others)
    trained = {}
    for name, because in (("chunks", "not a Hopper card"), ("kernel", "")):
        monkeypatch.setattr(hopper, "is_hopper", lambda device, name=name: name == "kernel")
        hopper.unusable.cache_clear()
        notes: list[str] = []
        trained[name] = train(world.comparisons(16), settings, tmp_path / name, on_note=notes.append)
        assert not any("Liger" in note for note in notes)
        assert trained[name].summary["head_kernel"] == {"used": not because, "unused_because": because}
    hopper.unusable.cache_clear()
    losses = ([record["loss"] for record in one.history] for one in trained.values())
    assert next(losses) == pytest.approx(next(losses), abs=5e-3)


def test_a_kernel_that_fails_on_its_card_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = Lengths(8, 9, 20)
    world = World(words, words, max_length=64, max_prompt_length=32, vocabulary=80)
    base = make_base(tmp_path / "base", vocabulary=80, positions=64)
    monkeypatch.setattr(training, "is_hopper", lambda device: True)
    monkeypatch.setattr(hopper, "is_hopper", lambda device: True)
    monkeypatch.setattr(hopper, "difference", lambda device: 0.5)
    hopper.unusable.cache_clear()
    notes: list[str] = []
    settings = settings_for(base, world, "policy.precision=bfloat16")
    train(world.comparisons(4), settings, tmp_path / "trained", on_note=notes.append)
    hopper.unusable.cache_clear()
    assert "the head is computed in chunks, not by Liger's kernel: its results are 0.5 off" in notes
