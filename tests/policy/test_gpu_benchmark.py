"""What `python -m benchmarks.gpu.run` counts is what it says, and in its small form it runs on a CPU."""

import json
import subprocess
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import beside, run
from benchmarks.gpu.shapes import SHAPES, Shape


def _parameters(shape: Shape) -> tuple[int, int]:
    """Count what transformers and peft make: a decoder's linear layers, and their adapters."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(shape.config(64))
        body = sum(m.weight.numel() for m in model.model.modules() if isinstance(m, torch.nn.Linear))
        if not shape.rank:
            return body, 0
        config = LoraConfig(task_type=TaskType.CAUSAL_LM, r=shape.rank, target_modules="all-linear")
        adapted = get_peft_model(model, config)
    return body, sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("short", [False, True])
def test_the_work_is_counted_on_the_parameters_there_are(name: str, short: bool) -> None:
    shape = SHAPES[name].shortened() if short else SHAPES[name]
    body, adapters = _parameters(shape)
    assert (shape.body, shape.adapters) == (body, adapters)
    trained = 4 if shape.rank else 6
    assert shape.flops(10, 3) == trained * (10 * body + 3 * shape.hidden * shape.vocabulary) + 60 * adapters


def test_the_use_of_a_card_is_useful_work_over_its_peak() -> None:
    shape = SHAPES["llama-1b"]
    measured = {"seconds": 1.0, "tokens": 28 * 2048, "response_tokens": 28 * 1536}
    row = beside._use("llama-1b", measured, shape, "NVIDIA H100 80GB HBM3", quick=False)
    # 28 pairs a second of 14.4 TFLOP each.
    assert row.measured == pytest.approx(100 * 28 * 14.378 / 989, rel=1e-3)
    assert row.ok
    assert not beside._use("llama-1b", {**measured, "seconds": 1.1}, shape, "NVIDIA H100 80GB HBM3", quick=False).ok
    assert beside._use("llama-1b", measured, shape, "another card", quick=False).ok is False


def test_comparisons_are_of_2048_tokens() -> None:
    table = beside.PAIRS.comparisons(3)
    words = [table[name].str.split().str.len() for name in ("prompt", "response_a", "response_b")]
    assert set(sum(words) + 2) == {2048}
    assert set(words[1] + words[2] + 2) == {1536}


def test_what_takes_too_long_is_said_and_what_was_measured_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, dict[str, object]] = {
        "gpu.shapes": {"card": "H100", "power_limit": "700 W"},
        "speed.ours": {"seconds": 1.0, "comparisons": 64, "tokens": 131_072, "response_tokens": 98_304}
        | {"first_loss": 0.6931, "head_kernel_unused": "", "peak_bytes": 3e9, "loaded_bytes": 1e9},
    }

    def child(module: str, *_: object, within: float) -> dict[str, object]:
        if module not in said:
            raise subprocess.TimeoutExpired(module, within)
        return said[module]

    monkeypatch.setattr(beside, "in_its_own_process", child)
    monkeypatch.setattr(beside, "find_spec", lambda name: name)
    monkeypatch.setattr(run, "_has_gpu", lambda: True)
    assert run.main(["--only", "llama-1b", "--output", str(tmp_path)]) == 1
    found = {row["name"]: row for row in json.loads((tmp_path / "results.json").read_text())["benchmarks"]["llama-1b"]}
    assert found["TRL (no time was left)"]["ok"] is False
    assert found["ours: the head"]["measured"] == "Liger's kernel"
    assert found["ours: comparisons a second"]["measured"] == 64
    assert found["ours: peak memory above the loaded model, GB"]["measured"] == 2


def test_without_a_gpu_only_the_quick_form_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "_has_gpu", lambda: False)
    assert run.main([]) == 2
    assert "--quick" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-1b", "mistral-7b-lora"])
def test_the_quick_form_trains_on_whatever_there_is(name: str) -> None:
    rows = {row.name: row for row in beside.rows(name, quick=True, ends=time.monotonic() + 600)}
    assert rows["ours: comparisons a second"].measured > 0
    assert rows["ours: first loss off ln 2"].measured < 1e-2
