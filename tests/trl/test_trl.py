"""RE-PO inside TRL's DPOTrainer: TRL's loss where every vote is believed. make test-trl."""

from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from benchmarks.speed.base import make_base, word
from repo.errors import UserError
from repo.integrations.trl import STATE_FILE, REPOTrainer
from repo.policy.losses import IPO
from repo.settings import ReliabilitySettings

ANNOTATORS = ("ann", "bob", "cleo", "mallory")


def votes(rows: int = 96) -> list[dict[str, str]]:
    """A response of low words is better; mallory says the opposite of what is true."""
    random = torch.Generator().manual_seed(0)

    def words(low: int, high: int) -> str:
        return "".join(f" {word(int(number))}" for number in torch.randint(low, high, (4,), generator=random))

    table = []
    for row in range(rows):
        name = ANNOTATORS[row % len(ANNOTATORS)]
        sides = words(10, 40), words(40, 70)
        chosen, rejected = reversed(sides) if name == "mallory" else sides
        table.append({"prompt": words(3, 10).strip(), "chosen": chosen, "rejected": rejected, "annotator_id": name})
    return table


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"), vocabulary=80, positions=32)


def config(folder: Path, **changes: Any) -> DPOConfig:
    options = {
        "output_dir": str(folder),
        "beta": 0.5,
        "learning_rate": 3e-4,
        "per_device_train_batch_size": 8,
        "num_train_epochs": 2,
        "lr_scheduler_type": "cosine",
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return DPOConfig(**options | changes)


def trainer(base: Path, args: DPOConfig, kind: type = REPOTrainer, **options: Any) -> Any:
    return kind(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=args,
        **{"train_dataset": Dataset.from_list(votes())} | options,
        processing_class=AutoTokenizer.from_pretrained(base),
    )


def logged(done: Any, name: str) -> list[float]:
    return [record[name] for record in done.state.log_history if name in record]


@pytest.mark.parametrize("precompute", [False, True])
@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_where_every_vote_is_believed_it_is_trl_s_own_loss(
    base: Path, tmp_path: Path, loss: str, precompute: bool
) -> None:
    args = {"max_steps": 6, "precompute_ref_log_probs": precompute}
    theirs = trainer(base, config(tmp_path / "theirs", loss_type=loss, **args), DPOTrainer)
    ours = trainer(
        base,
        config(tmp_path / "ours", **args),
        loss=IPO(0.5) if loss == "ipo" else None,
        reliability=ReliabilitySettings(estimator="none"),
    )
    theirs.train()
    ours.train()
    for name in ("loss", "rewards/margins", "logps/chosen", "grad_norm"):
        assert logged(ours, name) == pytest.approx(logged(theirs, name), rel=1e-5, abs=1e-6), name
    expected = theirs.model.state_dict()
    for name, tensor in ours.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precompute", [False, True])
def test_adapters_are_trained_as_trl_trains_them(base: Path, tmp_path: Path, precompute: bool) -> None:
    args = {"max_steps": 6, "precompute_ref_log_probs": precompute, "learning_rate": 1e-2}
    done = {}
    for kind, options in ((DPOTrainer, {}), (REPOTrainer, {"reliability": ReliabilitySettings(estimator="none")})):
        torch.manual_seed(0)  # of the adapters' first weights
        adapters = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        done[kind] = trainer(base, config(tmp_path / kind.__name__, **args), kind, peft_config=adapters, **options)
        done[kind].train()
    theirs, ours = done[DPOTrainer], done[REPOTrainer]
    assert logged(ours, "loss")[0] == pytest.approx(log(2), abs=1e-5)
    for name in ("loss", "rewards/margins", "logps/chosen", "grad_norm"):
        assert logged(ours, name) == pytest.approx(logged(theirs, name), rel=1e-5, abs=1e-6), name


def test_an_adversary_costs_less_than_where_every_vote_is_believed(base: Path, tmp_path: Path) -> None:
    honest = [vote for vote in votes(160)[96:] if vote["annotator_id"] != "mallory"]
    margins = {}
    for kind in (DPOTrainer, REPOTrainer):
        args = config(tmp_path / kind.__name__, num_train_epochs=4)
        done = trainer(base, args, kind, eval_dataset=Dataset.from_list(honest))
        done.train()
        margins[kind] = done.evaluate()["eval_rewards/margins"]
    assert margins[REPOTrainer] > 1.5 * margins[DPOTrainer] > 0


@pytest.mark.parametrize("estimator", ["full", "paper", "incremental"])
def test_an_adversary_is_found(base: Path, tmp_path: Path, estimator: str) -> None:
    done = trainer(base, config(tmp_path), reliability=ReliabilitySettings(estimator=estimator))
    done.train()
    found = {row["annotator_id"]: row["reliability"] for row in done.reliabilities().record["annotators"]}
    assert found["mallory"] < 0.5 < min(found[name] for name in ANNOTATORS[:3])
    assert logged(done, "reliability/min")[-1] < logged(done, "reliability/max")[-1]
    assert {"rewards/margins", "logps/rejected", "reliability/mean"} <= set(done.state.log_history[0])


def test_two_micro_batches_are_one_batch(base: Path, tmp_path: Path) -> None:
    whole = trainer(base, config(tmp_path / "whole", max_steps=8))
    halves = trainer(
        base,
        config(tmp_path / "halves", max_steps=8, per_device_train_batch_size=4, gradient_accumulation_steps=2),
    )
    whole.train()
    halves.train()
    for name in ("loss", "reliability/mean", "reliability/min"):
        assert logged(halves, name) == pytest.approx(logged(whole, name), rel=1e-4), name


def test_a_resumed_training_goes_on_with_its_reliabilities_and_margins(base: Path, tmp_path: Path) -> None:
    args = config(tmp_path, save_strategy="steps", save_steps=9)
    whole = trainer(base, args)
    whole.train()
    resumed = trainer(base, args)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert resumed.reliabilities().record == whole.reliabilities().record
    assert logged(resumed, "reliability/min") == logged(whole, "reliability/min")


def test_a_checkpoint_without_reliabilities_or_of_others_is_not_resumed(base: Path, tmp_path: Path) -> None:
    args = config(tmp_path, save_strategy="steps", save_steps=2, max_steps=2)
    trainer(base, args).train()
    other = trainer(base, args, reliability=ReliabilitySettings(initial=0.7))
    with pytest.raises(UserError, match=r"another training: reliability .*0\.9.*0\.7"):
        other.train(resume_from_checkpoint=True)
    (tmp_path / "checkpoint-2" / STATE_FILE).unlink()
    with pytest.raises(UserError, match=r"no repo\.safetensors"):
        trainer(base, args).train(resume_from_checkpoint=True)


def test_evaluation_changes_nothing_and_needs_no_annotators(base: Path, tmp_path: Path) -> None:
    held_out = Dataset.from_list(votes()[:8]).remove_columns("annotator_id")
    done = trainer(base, config(tmp_path, max_steps=2), eval_dataset=held_out)
    done.train()
    before = done.reliabilities().record
    assert "eval_loss" in done.evaluate()
    assert done.reliabilities().record == before


@pytest.mark.parametrize(
    "option",
    [
        {"loss_type": "ipo"},
        {"loss_type": ["sigmoid", "sft"]},
        {"label_smoothing": 0.1},
        {"use_weighting": True},
        {"ld_alpha": 0.5},
        {"f_divergence_type": "forward_kl"},
        {"use_liger_kernel": True},
    ],
    ids=lambda option: next(iter(option)),
)
def test_what_does_not_go_together_is_refused_by_name(base: Path, tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"DPOConfig: {next(iter(option))} = "):
        trainer(base, config(tmp_path, **option))


def test_votes_of_nobody_are_refused(base: Path, tmp_path: Path) -> None:
    nobody = [vote | {"annotator_id": None if row == 3 else "ann"} for row, vote in enumerate(votes(8))]
    with pytest.raises(UserError, match="annotator_id is missing in 1 of 8 rows, first in row 3"):
        trainer(base, config(tmp_path), train_dataset=Dataset.from_list(nobody))
    with pytest.raises(UserError, match="has no column 'rater'"):
        trainer(base, config(tmp_path), annotator_column="rater")


def test_what_the_documentation_shows_runs(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    code = page.split("## Inside TRL")[1].split("```python")[1].split("```")[0]
    given = {
        "model": AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        "config": config(tmp_path),
        "dataset": Dataset.from_list(votes()),
        "tokenizer": AutoTokenizer.from_pretrained(base),
    }
    exec(code, given)
    shown = dict(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(ANNOTATORS))
    assert set(shown) == set(ANNOTATORS)


def test_a_pinned_annotator_keeps_the_reliability_that_is_known(base: Path, tmp_path: Path) -> None:
    done = trainer(base, config(tmp_path, max_steps=4), reliability=ReliabilitySettings(pinned={"bob": 0.7}))
    done.train()
    found = {row["annotator_id"]: row["reliability"] for row in done.reliabilities().record["annotators"]}
    assert found["bob"] == pytest.approx(0.7)
    assert logged(done, "reliability/min")[0] <= 0.7 + 1e-6
