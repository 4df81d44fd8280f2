"""A shape trained by our engine and by TRL, each in a process of its own: speed, use of the card, memory."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks.child import in_its_own_process
from benchmarks.gpu.shapes import SHAPES, Shape
from benchmarks.speed.beside import LN_2_WITHIN, first_loss
from benchmarks.speed.worlds import Lengths, World
from benchmarks.table import Row, not_measured

PAIRS = World(Lengths(512, 512, 512), Lengths(767, 767, 767), max_length=1280)
"""2,048 tokens a comparison, 1,536 of them in responses with their end tokens."""

MFU = 40.0
"""Percent of the card's peak: the goal for JUDGED. The best public figure of a DPO trainer is about 32."""
JUDGED = "llama-1b"

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 70e12}
"""Part of a card's name → operations a second of its tensor cores in bfloat16, dense, as its maker states them."""


@dataclass(frozen=True)
class Contest:
    """How much of a shape is trained.

    Attributes:
        comparisons: in the counted epoch.
        batch: comparisons a step.
    """

    comparisons: int
    batch: int


CONTESTS = {"qwen2-0.5b": Contest(96, 8), "llama-1b": Contest(64, 8), "mistral-7b-lora": Contest(16, 4)}
_QUICK = Contest(4, 2)

_LN_2_WITHIN_BF16 = 10 * LN_2_WITHIN
"""In bfloat16 packed and plain forwards round differently; training says so beyond the same bound."""


def rows(name: str, quick: bool, ends: float) -> Iterator[Row]:
    """Yield what is measured of a shape as it is measured, ours first.

    Args:
        name: of the shape.
        quick: a small shape and short comparisons, and nothing judged.
        ends: the time.monotonic() by which all must be over; what is not over is not measured.
    """
    shape, world, contest = SHAPES[name], PAIRS, CONTESTS[name]
    if quick:
        shape, world, contest = shape.shortened(), world.shortened(), _QUICK
    with tempfile.TemporaryDirectory() as folder:
        wanted = (name, folder, world.max_length, *(["--quick"] if quick else []))
        made = _measured("gpu.shapes", wanted, ends)
        if isinstance(made, str):
            yield not_measured("the policy", made, quick)
            return
        yield Row("card", "", f"{made['card'] or 'none: a CPU'}, power limit {made['power_limit'] or 'none'}", None)
        arguments = (folder, world.text(), contest.comparisons, "--batch", contest.batch, "--rank", shape.rank)
        ours = _measured("speed.ours", arguments, ends)
        if isinstance(ours, str):
            yield not_measured("ours", ours, quick)
            return
        chunks = ours["head_kernel_unused"]
        yield Row("ours: the head", "", f"in chunks: {chunks}" if chunks else "Liger's kernel", None)
        yield from _side("ours", ours, ours)
        yield _use(name, ours, shape, made["card"], quick)
        yield first_loss("ours", [ours], _LN_2_WITHIN_BF16 if made["card"] else LN_2_WITHIN, quick)
        lacking = "TRL is not installed: make bench-gpu" if find_spec("trl") is None else ""
        peer = lacking or _measured("speed.peer", arguments, ends)
        if isinstance(peer, str):
            yield not_measured("TRL", peer, quick)
            return
        yield from _side("TRL", peer, ours)
        yield Row("times as fast as TRL", "", peer["seconds"] / ours["seconds"], None)


def _measured(module: str, arguments: tuple[object, ...], ends: float) -> dict[str, Any] | str:
    """Run a module in a process of its own; return what it says, or why it says nothing."""
    left = ends - time.monotonic()
    try:
        return in_its_own_process(module, *arguments, within=max(0.0, left))
    except subprocess.TimeoutExpired:
        return "no time was left"
    except subprocess.CalledProcessError as error:
        return f"it ended with {error.returncode}"


def _side(side: str, run: dict[str, Any], ours: dict[str, Any]) -> list[Row]:
    """Return a side's rates and memory; useful tokens are the same ones on both sides."""
    return [
        Row(f"{side}: comparisons a second", "", run["comparisons"] / run["seconds"], None),
        Row(f"{side}: useful tokens a second", "", ours["tokens"] / run["seconds"], None),
        Row(f"{side}: peak memory, GB", "", run["peak_bytes"] / 1e9, None),
        Row(
            f"{side}: peak memory above the loaded model, GB", "", (run["peak_bytes"] - run["loaded_bytes"]) / 1e9, None
        ),
    ]


def _use(name: str, run: dict[str, Any], shape: Shape, card: str, quick: bool) -> Row:
    """Return how much of the card's peak went into useful work; see Shape.flops."""
    what = "ours: MFU on useful tokens, %"
    peak = next((peak for part, peak in PEAKS.items() if part in card), None)
    if peak is None:
        return not_measured(what, f"no peak is known of {card or 'this CPU'}", quick or name != JUDGED)
    percent = 100 * shape.flops(run["tokens"], run["response_tokens"]) / run["seconds"] / peak
    judged = name == JUDGED and not quick
    target = f"≥ {MFU:g}" if name == JUDGED else ""
    return Row(f"{what} of {peak / 1e12:g} TFLOP/s", target, percent, percent >= MFU if judged else None)
