"""Training for real on a tiny policy: it learns, it is deterministic, it resumes exactly, it stops when it diverges."""

import copy
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from annotation_examples import canonical
from torch import Tensor

from repo.annotations.simulation import simulate
from repo.errors import UserError
from repo.files import read_json
from repo.policy import training
from repo.policy.loading import Policy, add_lora, checkpoint_gradients, load_policy
from repo.policy.logprobs import ResponseLogps
from repo.policy.losses import LOSSES, PairLogps, PreferenceLoss
from repo.policy.reference import reference_logps
from repo.policy.scoring import Scorer
from repo.policy.tokenization import EncodedComparisons
from repo.policy.trainer import Metrics
from repo.policy.training import REFERENCES, TrainingResult, learning_rate, train
from repo.settings import LoraSettings, PolicySettings, Settings, SimulationSettings, build_settings
from tests.policy.architectures import PACKED, comparisons
from tests.policy.architectures import policy as policy_of


def changed(settings: Settings, **sections: dict[str, object]) -> Settings:
    values = settings.model_dump()
    for section, change in sections.items():
        values[section] |= change
    return build_settings(values, "test")


def weights(result: TrainingResult) -> dict[str, Tensor]:
    return load_policy(result.policy).model.state_dict()


@pytest.fixture(scope="module")
def trained(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> TrainingResult:
    return train(annotations, small_settings, tmp_path_factory.mktemp("trained"))


def test_training_leaves_everything_the_next_steps_need(trained: TrainingResult, annotations: pd.DataFrame) -> None:
    reliability = read_json(trained.record / "reliability.json")
    assert reliability == trained.reliability
    assert {row["annotator_id"] for row in reliability["annotators"]} == set(annotations["annotator_id"])
    assert sum(row["annotations"] for row in reliability["annotators"]) == len(annotations)
    assert all(0 < row["reliability"] < 1 for row in reliability["annotators"])
    posteriors = pd.read_parquet(trained.record / "posteriors.parquet")
    assert len(posteriors) == len(annotations)
    assert posteriors["posterior"].between(0, 1).all()
    assert trained.history[-1]["step"] == trained.summary["steps"] == 6
    assert {"loss", "rewards/accuracies", "logps/chosen", "reliability/mean", "learning_rate"} <= set(
        trained.history[0]
    )


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"dpo"}))
def test_every_loss_trains(loss: str, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path) -> None:
    result = train(annotations, changed(small_settings, train={"loss": loss, "loss_options": {}}), tmp_path)
    assert result.history[-1]["reliability/min"] > 0


def test_another_precision_in_the_same_process_is_refused_by_name(
    trained: TrainingResult, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    assert trained.summary["precision"] == "no"
    with pytest.raises(UserError, match=r"policy\.precision = bfloat16: this process has already trained") as caught:
        train(annotations, changed(small_settings, policy={"precision": "bfloat16"}), tmp_path)
    assert "a process of its own" in caught.value.remedy


def test_the_same_run_twice_gives_the_same_numbers(
    trained: TrainingResult, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    again = train(annotations, small_settings, tmp_path)
    assert again.reliability == trained.reliability
    for name, tensor in weights(trained).items():
        assert torch.equal(tensor, weights(again)[name]), name


def test_passes_of_few_tokens_change_nothing_but_memory(
    trained: TrainingResult, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    split = train(annotations, changed(small_settings, policy={"tokens_per_pass": 100}), tmp_path)
    for ours, theirs in zip(split.history, trained.history, strict=True):
        # While policy and reference are still the same, a margin is rounding noise, and so is its sign.
        same = [name for name in theirs if name != "rewards/accuracies"]
        assert [ours[n] for n in same] == pytest.approx([theirs[n] for n in same], rel=1e-3, abs=1e-4)


@pytest.fixture(scope="module")
def interruptible(small_settings: Settings) -> Settings:
    return changed(small_settings, train={"checkpoint_every": 2, "epochs": 2, "keep_checkpoints": 2})


def interrupted(annotations: pd.DataFrame, settings: Settings, output: Path, **options: Any) -> None:
    """Train until step 8 of 12."""

    def interrupt(record: Metrics) -> None:
        if record["step"] == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(annotations, settings, output, on_log=interrupt, **options)


@pytest.fixture(scope="module")
def whole(
    annotations: pd.DataFrame, interruptible: Settings, tmp_path_factory: pytest.TempPathFactory
) -> TrainingResult:
    return train(annotations, interruptible, tmp_path_factory.mktemp("whole"))


def assert_same(result: TrainingResult, expected: TrainingResult) -> None:
    assert result.reliability == expected.reliability
    assert result.history == expected.history
    for name, tensor in weights(expected).items():
        assert torch.equal(tensor, weights(result)[name]), name


def steps_resumed(
    annotations: pd.DataFrame, settings: Settings, output: Path, **options: Any
) -> tuple[list[float], TrainingResult]:
    steps: list[float] = []
    result = train(annotations, settings, output, on_log=lambda record: steps.append(record["step"]), **options)
    return steps, result


def test_an_interrupted_run_goes_on_to_the_same_end(
    annotations: pd.DataFrame, interruptible: Settings, whole: TrainingResult, tmp_path: Path
) -> None:
    interrupted(annotations, interruptible, tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-4", "step-6"]
    assert {path.name for path in (tmp_path / "checkpoints/step-6").iterdir()} == {"state.json", "tensors.safetensors"}
    irrelevant = changed(interruptible, gate={"min_accuracy": 0.7}, reliability={"confidence": 0.9})
    steps, resumed = steps_resumed(annotations, irrelevant, tmp_path)
    assert steps == [8, 10, 12]
    assert_same(resumed, whole)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("settings", [{"policy": {"lora": {"rank": 2}}}, {"reliability": {"estimator": "incremental"}}])
def test_adapters_and_running_sums_go_on_too(
    annotations: pd.DataFrame, interruptible: Settings, tmp_path: Path, settings: dict[str, Any]
) -> None:
    chosen = changed(interruptible, **settings)
    interrupted(annotations, chosen, tmp_path / "broken")
    steps, resumed = steps_resumed(annotations, chosen, tmp_path / "broken")
    assert steps == [8, 10, 12]
    assert_same(resumed, train(annotations, chosen, tmp_path / "whole"))


FLIPPED = {"a": "b", "b": "a"}


@pytest.mark.parametrize(
    ("change", "settings", "named"),
    [
        (lambda t: t.assign(preference=t["preference"].map(FLIPPED)), {}, "votes"),
        (lambda t: t.assign(annotator_id=t["annotator_id"] + "x"), {}, "votes"),
        (lambda t: t.assign(response_a=t["response_a"].str.upper()), {}, "tokens"),
        (lambda t: t.assign(weight=0.5), {}, "weights of the votes"),
        (lambda t: t.assign(gold=t["gold"].map(FLIPPED)), {"reliability": {"use_gold": True}}, "gold"),
        (lambda t: t, {"policy": {"tiny": {"layers": 2}}}, "base weights"),
        (lambda t: t, {"reliability": {"initial": 0.7}}, "reliabilities at the start"),
        (lambda t: t, {"train": {"loss": "ipo"}}, "loss"),
        (lambda t: t, {"train": {"warmup": 0.3}}, "train.warmup (0.1 there, 0.3 here)"),
        (lambda t: t, {"train": {"epochs": 3}}, "train.epochs (2 there, 3 here)"),
    ],
    ids=["labels", "people", "texts", "weights", "gold", "base", "start", "loss", "warm-up", "epochs"],
)
def test_a_checkpoint_of_another_run_is_refused_and_what_differs_is_named(
    annotations: pd.DataFrame,
    interruptible: Settings,
    tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    settings: dict[str, Any],
    named: str,
) -> None:
    anchored = changed(interruptible, **({"reliability": {"use_gold": True}} if named == "gold" else {}))
    interrupted(annotations, anchored, tmp_path)
    if named in ("tokens", "base weights"):  # the tiny base is made from the texts: keep it, or not
        (tmp_path / "record/base").rename(tmp_path / "base.kept")
    with pytest.raises(UserError, match="belong to another run") as caught:
        train(change(annotations), changed(anchored, **settings), tmp_path)
    assert named in caught.value.problem
    assert (tmp_path / "checkpoints/step-6").is_dir()


@pytest.mark.parametrize("file", ["tensors.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_passed_over_for_the_older_one(
    annotations: pd.DataFrame, interruptible: Settings, whole: TrainingResult, tmp_path: Path, file: str
) -> None:
    interrupted(annotations, interruptible, tmp_path)
    newest = tmp_path / "checkpoints/step-6" / file
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    with pytest.warns(UserWarning, match="damaged"):
        steps, resumed = steps_resumed(annotations, interruptible, tmp_path)
    assert steps == [6, 8, 10, 12]
    assert_same(resumed, whole)


def test_the_policy_starts_as_its_reference(trained: TrainingResult) -> None:
    assert trained.summary["first_dpo_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert trained.summary["packing"]["used"]
    assert trained.summary["packing"]["largest_difference"] < 1e-3


def test_a_reference_that_is_not_the_policy_is_said(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any) -> ResponseLogps:
        logps = reference_logps(*arguments)
        return ResponseLogps(logps.a - 1.0, logps.b)

    monkeypatch.setattr(training, "reference_logps", wrong)
    notes: list[str] = []
    train(annotations, small_settings, tmp_path, on_note=notes.append)
    assert ["DPO's first loss is 0.6444, not ln 2 = 0.6931" in note for note in notes] == [True]


def test_many_runs_share_a_folder_and_each_goes_on_from_its_own(
    annotations: pd.DataFrame, interruptible: Settings, whole: TrainingResult, tmp_path: Path
) -> None:
    other = changed(interruptible, reliability={"initial": 0.7})
    interrupted(annotations, interruptible, tmp_path / "first", checkpoints=tmp_path / "kept")
    interrupted(annotations, other, tmp_path / "other", checkpoints=tmp_path / "kept")
    assert len([path for path in (tmp_path / "kept").iterdir() if path.name != REFERENCES]) == 2
    notes: list[str] = []
    steps, resumed = steps_resumed(
        annotations, interruptible, tmp_path / "again", checkpoints=tmp_path / "kept", on_note=notes.append
    )
    assert steps == [8, 10, 12]
    assert "from step 6 of 12" in notes[0]
    assert_same(resumed, whole)
    steps, again = steps_resumed(annotations, interruptible, tmp_path / "end", checkpoints=tmp_path / "kept")
    assert steps == []
    assert_same(again, whole)


def test_plain_training_believes_everybody(annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path) -> None:
    result = train(annotations, changed(small_settings, reliability={"estimator": "none"}), tmp_path)
    assert {row["reliability"] for row in result.reliability["annotators"]} == {1.0}
    assert result.summary["m_step"] == "weighted"


def test_a_loss_of_your_own_needs_one_method(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    @dataclass(frozen=True)
    class Hinge(PreferenceLoss):
        beta: float = 0.5

        def __call__(self, pair: PairLogps) -> Tensor:
            log_ratio = (pair.first - pair.reference_first) - (pair.second - pair.reference_second)
            return torch.relu(1 - self.beta * log_ratio)

    plain = changed(small_settings, reliability={"estimator": "none"})
    result = train(annotations, plain, tmp_path, loss=Hinge())
    assert result.history[-1]["rewards/margins"] > result.history[0]["rewards/margins"]
    recorded = read_json(result.record / "training.json")
    assert recorded["loss"].endswith("<locals>.Hinge")
    assert (recorded["loss_options"], recorded["loss_importable"]) == ({"beta": 0.5}, False)


def test_adapters_train_and_are_handed_on_merged(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    result = train(annotations, changed(small_settings, policy={"lora": {"rank": 2}}), tmp_path)
    base = load_policy(tmp_path / "record" / "base").model.state_dict()
    assert set(base) == set(weights(result))
    assert any(not torch.equal(base[name], tensor) for name, tensor in weights(result).items())


def test_adapters_follow_the_seed_and_leave_the_global_generator_alone(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    def adapted(folder: str, seed: int) -> dict[str, Tensor]:
        settings = changed(small_settings, policy={"lora": {"rank": 2}}, train={"seed": seed})
        return weights(train(annotations, settings, tmp_path / folder))

    first = adapted("first", 0)
    torch.manual_seed(7)
    undisturbed = torch.random.get_rng_state()
    again = adapted("again", 0)
    assert torch.equal(torch.random.get_rng_state(), undisturbed)
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
    base = load_policy(tmp_path / "first" / "record" / "base")
    one, other = (add_lora(copy.deepcopy(base), PolicySettings(lora=LoraSettings(rank=2)), seed) for seed in (1, 2))
    names = [name for name, _ in one.model.named_parameters() if "lora_A" in name]
    state = other.model.state_dict()
    assert any(not torch.equal(one.model.state_dict()[name], state[name]) for name in names)


def test_divergence_stops_with_a_remedy(annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path) -> None:
    settings = changed(small_settings, train={"learning_rate": 1e6, "epochs": 4, "max_gradient_norm": 1e9})
    with pytest.raises(UserError, match="learning_rate"):
        train(annotations, settings, tmp_path)
    assert not (tmp_path / "policy").exists()


@pytest.mark.parametrize(
    ("change", "rate"),
    [({}, 1e-3), ({"base": "some/model"}, 1e-6), ({"base": "some/model", "lora": {}}, 1e-5)],
)
def test_the_automatic_learning_rate_depends_on_what_is_trained(change: dict[str, object], rate: float) -> None:
    assert learning_rate(changed(Settings(), policy=change)) == rate


@pytest.mark.parametrize("base", ["./no-such-model", "/no/such/model", "a/b/c"])
def test_a_model_path_that_does_not_exist_is_named(base: str) -> None:
    with pytest.raises(UserError, match=re.escape(base)):
        load_policy(base)


def test_a_base_in_the_home_directory_is_found_there(
    annotations: pd.DataFrame,
    small_settings: Settings,
    gpt2_policy: Policy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    gpt2_policy.save(tmp_path / "gpt2")
    monkeypatch.setenv("HOME", str(tmp_path))
    result = train(annotations, changed(small_settings, policy={"base": "~/gpt2"}), tmp_path / "out")
    assert result.summary["base"] == str(tmp_path / "gpt2")


def test_a_base_with_fewer_positions_than_the_longest_sequence_is_refused(
    annotations: pd.DataFrame, small_settings: Settings, gpt2_policy: Policy, tmp_path: Path
) -> None:
    gpt2_policy.save(tmp_path / "gpt2")  # 256 positions
    long = changed(small_settings, policy={"base": str(tmp_path / "gpt2"), "max_length": 257})
    with pytest.raises(UserError, match=r"at most 256 tokens(.|\n)*policy\.max_length=256"):
        train(annotations, long, tmp_path / "out")
    assert load_policy(tmp_path / "gpt2", max_length=256)


@pytest.mark.parametrize("estimator", ["incremental", "paper"])
def test_every_estimator_trains(
    estimator: str, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    result = train(annotations, changed(small_settings, reliability={"estimator": estimator}), tmp_path)
    assert result.reliability["estimator"] == estimator
    assert result.reliability["calibrated"] == (estimator != "paper")
    assert all(0 < row["reliability"] < 1 for row in result.reliability["annotators"])
    assert len({row["reliability"] for row in result.reliability["annotators"]}) > 1


def test_the_papers_rule_reports_the_moving_average_itself(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    result = train(annotations, changed(small_settings, reliability={"estimator": "paper"}), tmp_path)
    mean = sum(row["reliability"] for row in result.reliability["annotators"]) / len(result.reliability["annotators"])
    assert mean == pytest.approx(result.history[-1]["reliability/mean"], abs=1e-6)


def test_the_final_estimates_stand_on_margins_from_before_each_update(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    result = train(annotations, changed(small_settings, train={"epochs": 2}), tmp_path)
    labels = pd.read_parquet(result.record / "posteriors.parquet")
    assert result.reliability["margins"] in ("first_visit", "last_visit")
    believed = result.reliability["margins"].removesuffix("_visit") + "_margin"
    assert (labels["margin"] == labels[believed]).all()
    assert (labels["first_margin"] != labels["last_margin"]).any()
    # Nothing was learnt before the first batch: there the policy is its own reference.
    first_batch = labels["first_margin"].abs().groupby(labels["comparison_id"]).max().nsmallest(8)
    assert first_batch.max() < 1e-3


@pytest.mark.parametrize(("epochs", "learning_rate", "believed"), [(2, 1e-4, "last_visit"), (20, 5e-3, "first_visit")])
def test_margins_that_repeat_labels_learnt_by_heart_are_not_believed(
    epochs: int, learning_rate: float, believed: str, small_settings: Settings, tmp_path: Path
) -> None:
    # One label a comparison, thrown by a coin: whatever is learnt of it is learnt by heart.
    written = simulate(SimulationSettings(comparisons=160, prompts=80, annotations_per_comparison=1))
    thrown = canonical(pd.DataFrame(written))
    thrown = thrown.assign(preference=np.random.default_rng(0).choice(["a", "b"], len(thrown)))
    train_settings = {"epochs": epochs, "learning_rate": learning_rate}
    settings = changed(small_settings, train=train_settings, reliability={"estimator": "none"})
    found = train(thrown, settings, tmp_path).reliability
    assert found["margins"] == believed
    assert found["memorisation"]["found"] == (believed == "first_visit")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_layers_train_to_the_same_numbers(
    trained: TrainingResult, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    compiled = train(annotations, changed(small_settings, train={"compile": True}), tmp_path)
    assert compiled.summary["packing"]["used"]
    for ours, theirs in zip(compiled.history, trained.history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    assert [name for name in weights(compiled) if "_orig_mod" in name] == []


@pytest.mark.slow
def test_what_keeps_layers_from_being_compiled_is_said(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()  # of what another test has compiled nothing is found again
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    with (
        torch._inductor.utils.fresh_cache(),
        pytest.raises(UserError, match=r"train\.compile(.|\n)*set it to false"),
    ):
        train(annotations, changed(small_settings, train={"compile": True}), tmp_path)


def test_one_epoch_has_one_visit(trained: TrainingResult) -> None:
    labels = pd.read_parquet(trained.record / "posteriors.parquet")
    assert (labels["first_margin"] == labels["last_margin"]).all()


def test_gold_and_pinned_annotators_are_anchors(
    annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    """Everybody lies but one; the pinned one and some gold say so before the policy has learnt anything."""
    flipped = annotations.assign(preference=annotations["gold"].map({"a": "b", "b": "a"}))
    known = flipped["comparison_id"].isin(flipped["comparison_id"].unique()[:12])
    table = flipped.assign(gold=flipped["gold"].where(known, ""))
    anchors = {"use_gold": True, "pinned": {"careful-1": 0.05}}
    result = train(table, changed(small_settings, reliability=anchors), tmp_path)
    found = {row["annotator_id"]: row for row in result.reliability["annotators"]}
    assert found["careful-1"]["reliability"] == 0.05
    assert found["careful-1"]["pinned"]
    assert all(row["reliability"] < 0.2 for row in found.values())
    assert result.reliability["anchors"]["gold_comparisons"] == 12
    labels = pd.read_parquet(result.record / "posteriors.parquet")
    assert (labels["posterior"] < 0.5).all()


def test_the_next_training_starts_from_what_this_one_learnt(
    trained: TrainingResult, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    again = changed(small_settings, reliability={"prior_state": str(trained.state), "forgetting": 0.5})
    result = train(annotations, again, tmp_path)
    assert result.reliability["prior"] == {"annotators": 10, "forgetting": 0.5}
    before = {row["annotator_id"]: row["interval"] for row in trained.reliability["annotators"]}
    assert all(row["known_before"] for row in result.reliability["annotators"])
    narrower = [
        row["interval"][1] - row["interval"][0] < before[row["annotator_id"]][1] - before[row["annotator_id"]][0]
        for row in result.reliability["annotators"]
    ]
    assert sum(narrower) > 5


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), ("{}", "schema version"), ("x", "JSON")])
def test_a_prior_state_that_is_none_is_refused(
    content: str | None, words: str, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=words):
        train(annotations, changed(small_settings, reliability={"prior_state": str(file)}), tmp_path / "out")


def saved_bytes(policy: Policy, encoded: EncodedComparisons) -> tuple[int, Tensor]:
    """Return what a forward pass keeps for the backward pass, and the log-probabilities."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    scorer = Scorer(policy, torch.device("cpu"), 10_000)
    with scorer.attention(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logps = scorer(encoded)
        (logps.a - logps.b).sum().backward()
    return sum(kept.values()), torch.stack([logps.a, logps.b])


@pytest.mark.parametrize("shape", ["llama", "gpt2, with dropout"])
def test_checkpointed_gradients_are_the_same_from_less_memory_and_dropout_stays_off(shape: str) -> None:
    kind = PACKED["llama"] if shape == "llama" else (PACKED["gpt2"][0], {**PACKED["gpt2"][1], "n_layer": 6})
    encoded = comparisons([(100, 80, 60), (40, 120, 10)])
    found = []
    for checkpointed in (False, True):
        policy = policy_of((kind[0], {**kind[1], "num_hidden_layers": 6} if shape == "llama" else kind[1]))
        if checkpointed:
            checkpoint_gradients(policy)
        kept, logps = saved_bytes(policy, encoded)
        gradient = torch.cat([p.grad.reshape(-1) for p in policy.model.parameters() if p.grad is not None])
        found.append((kept, logps, gradient))
    (all_kept, logps, gradient), (few_kept, again, same_gradient) = found
    torch.testing.assert_close(again, logps)
    torch.testing.assert_close(same_gradient, gradient)
    assert few_kept < 0.6 * all_kept


def test_a_training_with_checkpointed_gradients_comes_to_the_same_end(
    trained: TrainingResult, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    again = train(annotations, changed(small_settings, train={"gradient_checkpointing": True}), tmp_path)
    for ours, theirs in zip(again.history, trained.history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert again.reliability["annotators"][0]["reliability"] == pytest.approx(
        trained.reliability["annotators"][0]["reliability"], abs=1e-3
    )
