"""bfloat16: half the memory where nothing is trained, and the numbers that autocast computes from float32 weights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from repo.evaluation.evaluation import PolicySource, margins_of
from repo.policy.batches import tokenize_annotations
from repo.policy.loading import Policy, add_lora, frozen_dtype, load_policy, mixed_precision
from repo.policy.logprobs import pair_logps
from repo.policy.losses import SimPO
from repo.policy.objective import both_orientations
from repo.policy.scoring import Scorer, make_scorer, tokens_per_pass
from repo.policy.training import train
from repo.settings import LoraSettings, PolicySettings, Settings, build_settings

CPU = torch.device("cpu")


def in_bfloat16(settings: Settings, lora: bool = False) -> Settings:
    values = settings.model_dump()
    values["policy"] |= {"precision": "bfloat16", "lora": {"rank": 2} if lora else None}
    return build_settings(values, "test")


@pytest.fixture(params=["llama", "gpt2"])
def saved(request: pytest.FixtureRequest, policies: Callable[[str], Policy], tmp_path: Path) -> Path:
    policies(request.param).save(tmp_path / "policy")
    return tmp_path / "policy"


def test_narrow_weights_score_to_the_bit_what_autocast_makes_of_wide_ones(
    saved: Path, annotations: pd.DataFrame
) -> None:
    wide, narrow = (load_policy(saved, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    encoded = tokenize_annotations(annotations, wide.tokenizer, 128, 48).encoded
    with torch.autocast("cpu", torch.bfloat16):
        one, other = (Scorer(p, CPU, 1000).score_all(encoded) for p in (wide, narrow))
    assert torch.equal(one.a, other.a)
    assert torch.equal(one.b, other.b)
    types = {name: p.dtype for name, p in narrow.model.named_parameters()}
    layers = [name for name in types if name.endswith(("_proj.weight", "c_attn.weight", "c_fc.weight"))]
    assert layers
    assert {types[name] for name in layers} == {torch.bfloat16}
    assert {types[name] for name in types if "embed" in name or "norm" in name or "ln_" in name} <= {torch.float32}


def test_evaluation_scores_as_training_scores_its_reference(
    saved: Path, annotations: pd.DataFrame, small_settings: Settings
) -> None:
    settings, loss = in_bfloat16(small_settings), SimPO()
    policy = load_policy(saved)
    encoded = tokenize_annotations(annotations, policy.tokenizer, 128, 48).encoded
    with torch.autocast("cpu", torch.bfloat16):
        logps = make_scorer(policy, encoded, CPU, tokens_per_pass(settings.policy)).score_all(encoded)
    expected = both_orientations(loss, pair_logps(logps, None, encoded)).margin
    comparisons = annotations.drop_duplicates("comparison_id").reset_index(drop=True)
    found = margins_of(comparisons, {"candidate": PolicySource(saved, saved, loss)}, settings)["candidate"]
    assert found.a_over_b.tolist() == expected.double().tolist()


def test_without_a_gpu_auto_is_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (mixed_precision(PolicySettings()), frozen_dtype(PolicySettings())) == ("no", torch.float32)
    assert frozen_dtype(PolicySettings(precision="bfloat16")) == torch.bfloat16


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_adapters_are_float32_on_a_narrow_base(saved: Path) -> None:
    modules = ["c_attn"] if (saved / "config.json").read_text().count("gpt2") else "all-linear"
    base = load_policy(saved, dtype=torch.bfloat16)
    adapted = add_lora(base, PolicySettings(lora=LoraSettings(rank=2, target_modules=modules)), seed=0)
    trained = {p.dtype for p in adapted.model.parameters() if p.requires_grad}
    assert trained == {torch.float32}


@pytest.fixture
def own_precision() -> Iterator[None]:
    """Accelerate holds one precision a process."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("own_precision")
@pytest.mark.parametrize("lora", [False, True])
def test_a_policy_trained_in_bfloat16_is_saved_in_float32(
    lora: bool, annotations: pd.DataFrame, small_settings: Settings, tmp_path: Path
) -> None:
    result = train(annotations, in_bfloat16(small_settings, lora), tmp_path)
    assert result.summary["precision"] == "bf16"
    trained, base = (load_file(f / "model.safetensors") for f in (result.policy, tmp_path / "record" / "base"))
    assert {tensor.dtype for tensor in trained.values()} == {torch.float32}
    changed = [name for name, tensor in trained.items() if not torch.equal(tensor, tensor.bfloat16().float())]
    assert changed, "updates below bfloat16's step are kept"
    assert set(base) == set(trained)
