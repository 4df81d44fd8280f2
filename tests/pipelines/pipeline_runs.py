"""Names that the pipeline tests share."""

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SMALL = (
    "simulation.comparisons=60",
    "simulation.prompts=30",
    "policy.max_length=128",
    "policy.max_prompt_length=48",
    "policy.tiny={vocabulary: 400, hidden: 32, layers: 1, heads: 2, warm_start_steps: 4}",
    "train.batch_size=8",
    "train.learning_rate=0.003",
    "gate.min_judgements=1",
    "gate.min_held_out=1",
    "gate.min_accuracy=0",
    "gate.min_gain_over_base=-1",
    "gate.min_gain_over_champion=-1",
)
"""Settings under which the whole pipeline takes seconds, and the gate lets a barely trained policy pass."""

Run = Callable[..., subprocess.CompletedProcess[str]]


def as_a_terminal_does() -> None:
    """Let a command that is about to start hear its signals, also where whoever runs the tests ignores them (nohup)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def options(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@dataclass(frozen=True)
class Finished:
    """A store with one finished run, and what the run printed."""

    store: Path
    output: str
