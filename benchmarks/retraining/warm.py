"""A seventh night trained from the champion's weights and from the base: steps and seconds to the same accuracy.

Both learn the same votes, those of all seven nights, under the same schedule. Accuracy is against the truth of 300
comparisons on prompts that none of the nights has; it is measured at checkpoints.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.table import Row
from repo.annotations.reading.reader import read_annotations
from repo.annotations.simulation import simulate
from repo.annotations.validation.suite import validate
from repo.evaluation.evaluation import PolicySource, evaluate
from repo.evaluation.exam import Exam
from repo.files import write_jsonl
from repo.policy.earlier import Earlier
from repo.policy.losses import make_loss
from repo.policy.training import REFERENCES, train
from repo.reliability.state import ReliabilityState
from repo.settings import Settings, SimulationSettings, load_settings

_TRAIN = 700
_EVERY = 10
_EXAM_PROMPTS = 100


def measure(rows: int | None = None) -> list[Row]:
    """Return steps and seconds of either start to the accuracy that the cold one ends with."""
    comparisons = rows or _TRAIN
    settings = load_settings(None, (f"train.checkpoint_every={_EVERY}", "train.keep_checkpoints=1000"))
    with tempfile.TemporaryDirectory() as folder:
        table = _annotations(Path(folder), comparisons + comparisons * 3 // 7, settings)
        prompts = sorted(table["prompt"].unique())
        held = table["prompt"].isin(prompts[:_EXAM_PROMPTS])
        exam = Exam.of(table[held].reset_index(drop=True), "prompt")
        rest = table[~held].reset_index(drop=True)
        names = rest["comparison_id"].unique()
        old = rest["comparison_id"].isin(names[: len(names) * 6 // 7])
        champion = train(rest[old].reset_index(drop=True), settings, Path(folder, "champion"))
        assert champion.state is not None
        state = ReliabilityState.load(champion.state)
        votes = pd.read_parquet(champion.record / "posteriors.parquet")[rest.columns].assign(version="1")
        curves = {}
        for name, start in (("cold", None), ("warm", champion.policy)):
            earlier = Earlier("1", start, champion.record / "base", "main", state, votes)
            curves[name] = list(_curve(rest[~old].reset_index(drop=True), earlier, exam, settings, Path(folder, name)))
    goal = curves["cold"][-1][2]
    rows_ = []
    for name, curve in curves.items():
        reached = next(((step, seconds) for step, seconds, accuracy in curve if accuracy >= goal), None)
        steps = "not reached" if reached is None else f"{reached[0]} steps, {reached[1]:.1f} s"
        rows_.append(Row(f"{name} start: to the accuracy {goal:.3f} that the cold one ends with", "", steps, None))
        rows_.append(Row(f"{name} start: accuracy at the end ({curve[-1][0]} steps)", "", curve[-1][2], None))
    warm = next((step for step, _, accuracy in curves["warm"] if accuracy >= goal), None)
    cold = next(step for step, _, accuracy in curves["cold"] if accuracy >= goal)
    what = "share of the cold start's steps that the warm one needs"
    rows_.append(Row(what, "< 1", warm / cold if warm is not None else "not reached", warm is not None and warm < cold))
    return rows_


def _annotations(folder: Path, comparisons: int, settings: Settings) -> pd.DataFrame:
    file = folder / "votes.jsonl"
    write_jsonl(file, simulate(SimulationSettings(comparisons=comparisons, seed=3)))
    return validate(read_annotations(str(file), settings.data), settings).annotations


def _curve(
    new: pd.DataFrame, earlier: Earlier, exam: Exam, settings: Settings, folder: Path
) -> Iterator[tuple[int, float, float]]:
    """Train, and yield step, seconds until then, and accuracy at every checkpoint."""
    begin = time.perf_counter()
    result = train(new, settings, folder / "out", earlier=earlier, checkpoints=folder / "checkpoints")
    seconds = time.perf_counter() - begin
    loss = make_loss(settings.train.loss, settings.train.loss_options)
    (run,) = (path for path in (folder / "checkpoints").iterdir() if path.name != REFERENCES)
    start = earlier.policy or earlier.base
    yield 0, 0.0, _accuracy(Path(start), earlier, exam, settings, loss)
    for path in sorted(run.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-"))):
        step = int(path.name.removeprefix("step-"))
        policy = _policy_at(path, result.policy, folder / path.name)
        share = step / result.summary["steps"]
        yield step, share * seconds, _accuracy(policy, earlier, exam, settings, loss)


def _policy_at(checkpoint: Path, final: Path, target: Path) -> Path:
    """Write the policy of a checkpoint as a directory."""
    import torch
    from safetensors.torch import load_file

    from repo.policy.loading import load_policy

    tensors = load_file(checkpoint / "tensors.safetensors")
    policy = load_policy(final)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    policy.save(target)
    return target


def _accuracy(policy: Path, earlier: Earlier, exam: Exam, settings: Settings, loss: object) -> float:
    source = PolicySource(policy, earlier.base, loss)  # type: ignore[arg-type]
    base = PolicySource(earlier.base, earlier.base, loss)  # type: ignore[arg-type]
    found = evaluate(exam, {"candidate": source, "base": base}, settings)
    return float(found["policies"]["candidate"]["gold"]["accuracy"]["value"])
