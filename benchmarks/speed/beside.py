"""Our training and TRL's in turn, each in a process of its own: what counts is the ratio of neighbours."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child import in_its_own_process
from benchmarks.speed.base import make_base
from benchmarks.speed.worlds import FOUR, LONG, PROMPT_HEAVY, ULTRAFEEDBACK, World
from benchmarks.table import Row, not_measured

TURNS = 3
LN_2_WITHIN = 1e-3
QUIET = {"CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
"""What is compared is training on a CPU, in resident memory."""
QUICK = 4
"""Comparisons in the quick form."""


@dataclass(frozen=True)
class Contest:
    """A world, how much of it is trained on, and the targets.

    Attributes:
        comparisons: a multiple of a step's, and of TRL's rows a step.
        unit: what a second is divided into: comparisons or annotations.
        times: at least so many times as fast as TRL.
        memory: at most this share of TRL's memory above the loaded model, if it is judged.
    """

    world: World
    comparisons: int
    unit: str
    times: float
    memory: float | None = None


CONTESTS = {
    "ultrafeedback": Contest(ULTRAFEEDBACK, 16, "comparisons", times=4, memory=0.5),
    "prompt_heavy": Contest(PROMPT_HEAVY, 16, "comparisons", times=5),
    "long": Contest(LONG, 8, "comparisons", times=3, memory=0.5),
    "four": Contest(FOUR, 8, "annotations", times=10),
}


def rows_of(name: str) -> Callable[[bool], list[Row]]:
    """Return the function that measures a contest, in its quick form or not."""
    return lambda quick: _rows(name, CONTESTS[name], quick)


def rates(runs: list[dict[str, Any]], unit: str) -> list[float]:
    """Return each run's comparisons or annotations a second."""
    return [run[unit] / run["seconds"] for run in runs]


def above(run: dict[str, Any]) -> float:
    """Return the peak of the counted steps above the loaded model, in bytes."""
    return float(run["peak_bytes"] - run["loaded_bytes"])


def _rows(name: str, contest: Contest, quick: bool) -> list[Row]:
    if find_spec("trl") is None:
        return [not_measured(f"{name} beside TRL", "TRL is not installed: make bench-speed", quick)]
    if quick:
        ours, peer = _in_turn(contest.world.shortened(), QUICK, turns=1)
    else:
        ours, peer = _in_turn(contest.world, contest.comparisons, TURNS)
    return [
        *_speed(contest, ours, peer, quick),
        *_memory(contest, ours, peer, quick),
        first_loss("ours", ours, LN_2_WITHIN, quick),
        first_loss("TRL", peer, LN_2_WITHIN, quick),
    ]


def _in_turn(world: World, comparisons: int, turns: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder, "base"))
        runs = [
            in_its_own_process(f"speed.{side}", base, world.text(), comparisons, environment=QUIET)
            for _ in range(turns)
            for side in ("ours", "peer")
        ]
    return runs[::2], runs[1::2]


def _speed(contest: Contest, ours: list[dict[str, Any]], peer: list[dict[str, Any]], quick: bool) -> list[Row]:
    unit = contest.unit
    ratios = [mine / other for mine, other in zip(rates(ours, unit), rates(peer, unit), strict=True)]
    times = median(ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return [
        Row(f"ours: {unit} a second", "", median(rates(ours, unit)), None),
        Row(f"TRL: {unit} a second", "", median(rates(peer, unit)), None),
        Row(
            f"times as many as TRL ({len(ratios)} turns, {spread})",
            f"≥ {contest.times:g}",
            times,
            None if quick else times >= contest.times,
        ),
    ]


def _memory(contest: Contest, ours: list[dict[str, Any]], peer: list[dict[str, Any]], quick: bool) -> list[Row]:
    share = median(above(mine) / above(other) for mine, other in zip(ours, peer, strict=True))
    judged = contest.memory is not None
    return [
        Row("ours: peak above the loaded model, GB", "", median(map(above, ours)) / 1e9, None),
        Row("TRL: peak above the loaded model, GB", "", median(map(above, peer)) / 1e9, None),
        Row(
            "share of TRL's memory above the loaded model",
            f"≤ {contest.memory:g}" if judged else "",
            share,
            share <= contest.memory if contest.memory is not None and not quick else None,
        ),
    ]


def first_loss(side: str, runs: list[dict[str, Any]], within: float, quick: bool) -> Row:
    """Return how far the runs' first losses are from ln 2."""
    off = max(abs(run["first_loss"] - log(2)) for run in runs)
    return Row(f"{side}: first loss off ln 2", f"≤ {within:g}", off, None if quick else off <= within)
