"""The reference's log-probabilities: computed once, found again by what decides them, never half written."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from repo.policy import reference
from repo.policy.loading import Policy
from repo.policy.logprobs import ResponseLogps
from repo.policy.reference import reference_logps
from repo.policy.scoring import Scorer
from repo.policy.tokenization import EncodedComparisons
from repo.policy.training import train
from repo.settings import Settings
from tests.policy.architectures import PACKED, comparisons, policy

CPU = torch.device("cpu")
LENGTHS = [(5, 6, 4), (3, 10, 8), (12, 2, 2), (1, 1, 1)]


class Counting(Scorer):
    """Notes how many comparisons it was asked for."""

    asked: list[int]

    def score_all(self, encoded: EncodedComparisons) -> ResponseLogps:
        self.asked.append(len(encoded))
        return super().score_all(encoded)


def counting(of: Policy, unpacked: str = "") -> Counting:
    scorer = Counting(of, CPU, 4096, unpacked)
    object.__setattr__(scorer, "asked", [])
    return scorer


def same(one: ResponseLogps, other: ResponseLogps) -> bool:
    return torch.equal(one.a, other.a) and torch.equal(one.b, other.b)


@pytest.fixture
def llama() -> Policy:
    return policy(PACKED["llama"])


def test_what_was_computed_is_found_again_in_any_order_and_beside_new_ones(llama: Policy, tmp_path: Path) -> None:
    encoded = comparisons(LENGTHS)
    scorer = counting(llama)
    first = reference_logps(scorer, encoded[:3], tmp_path)
    assert same(reference_logps(scorer, encoded[:3], tmp_path), first)
    order = torch.tensor([3, 1, 0, 2, 1]).numpy()
    mixed = reference_logps(scorer, encoded[order], tmp_path)
    assert scorer.asked == [3, 1]
    assert torch.equal(mixed.a[[2, 1, 3]], first.a)
    assert torch.equal(mixed.b[[2, 4, 3]], first.b)
    assert same(reference_logps(counting(llama), encoded[order], tmp_path), mixed)


def test_without_a_folder_everything_is_computed(llama: Policy) -> None:
    scorer = counting(llama)
    reference_logps(scorer, comparisons(LENGTHS))
    reference_logps(scorer, comparisons(LENGTHS))
    assert scorer.asked == [4, 4]


def other_weights(of: Policy) -> Counting:
    with torch.no_grad():
        next(of.model.parameters())[0, 0] += 0.5
    return counting(of)


def other_configuration(of: Policy) -> Counting:
    of.model.config.rms_norm_eps = 1e-3
    return counting(of)


def padded(of: Policy) -> Counting:
    return counting(of, "asked for")


@pytest.mark.parametrize("change", [other_weights, other_configuration, padded])
def test_another_reference_misses(change: Callable[[Policy], Counting], llama: Policy, tmp_path: Path) -> None:
    reference_logps(counting(llama), comparisons(LENGTHS), tmp_path)
    scorer = change(llama)
    reference_logps(scorer, comparisons(LENGTHS), tmp_path)
    assert scorer.asked == [4]


def test_another_precision_misses(llama: Policy, tmp_path: Path) -> None:
    scorer = counting(llama)
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            reference_logps(scorer, comparisons(LENGTHS), tmp_path)
    assert scorer.asked == [4, 4]


def test_other_tokens_and_other_boundaries_miss(llama: Policy, tmp_path: Path) -> None:
    scorer = counting(llama)
    reference_logps(scorer, comparisons([(5, 6, 4)], seed=0), tmp_path)
    reference_logps(scorer, comparisons([(5, 6, 4)], seed=1), tmp_path)
    reference_logps(scorer, comparisons([(6, 5, 4)], seed=0), tmp_path)
    assert scorer.asked == [1, 1, 1]


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_a_damaged_file_is_said_and_computed_anew(
    damage: Callable[[bytes], bytes], llama: Policy, tmp_path: Path
) -> None:
    scorer = counting(llama)
    first = reference_logps(scorer, comparisons(LENGTHS), tmp_path)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match="damaged and computed anew"):
        assert same(reference_logps(scorer, comparisons(LENGTHS), tmp_path), first)
    assert same(reference_logps(scorer, comparisons(LENGTHS), tmp_path), first)
    assert scorer.asked == [4, 4]


def test_half_a_file_is_never_read(llama: Policy, tmp_path: Path) -> None:
    scorer = counting(llama)
    reference_logps(scorer, comparisons(LENGTHS), tmp_path)
    (file,) = tmp_path.rglob("*.safetensors")
    file.rename(file.with_suffix(".77.partial"))
    reference_logps(scorer, comparisons(LENGTHS), tmp_path)
    assert scorer.asked == [4, 4]


def test_a_folder_that_cannot_be_written_costs_the_next_training_time_and_this_one_nothing(
    llama: Policy, tmp_path: Path
) -> None:
    (tmp_path / "full").write_text("no folder")
    with pytest.warns(UserWarning, match="could not be kept"):
        found = reference_logps(counting(llama), comparisons(LENGTHS), tmp_path / "full")
    assert same(found, counting(llama).score_all(comparisons(LENGTHS)))


def test_references_used_long_ago_are_forgotten(llama: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "KEPT_REFERENCES", 2)
    for _ in range(4):
        reference_logps(other_weights(llama), comparisons(LENGTHS), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_second_training_reads_the_first_ones_reference(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    plain = Scorer.score_all

    def noting(self: Scorer, encoded: EncodedComparisons) -> ResponseLogps:
        asked.append(len(encoded))
        return plain(self, encoded)

    monkeypatch.setattr(Scorer, "score_all", noting)
    results = [train(annotations, small_settings, tmp_path / name, checkpoints=tmp_path / "kept") for name in "ab"]
    assert max(asked[: len(asked) // 2]) == results[0].summary["comparisons"]
    assert max(asked[-(len(asked) // 2) :]) < results[0].summary["comparisons"]
    assert results[0].reliability == results[1].reliability
