"""How seconds and memory of our training grow with length, vocabulary and annotations a comparison."""

import tempfile
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.child import in_its_own_process
from benchmarks.speed.base import VOCABULARY, make_base
from benchmarks.speed.beside import QUIET, above
from benchmarks.speed.worlds import Lengths, World
from benchmarks.table import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTH = 512
"""Tokens of prompt and response where something else is varied."""
QUICK_LENGTH = 64
FEWEST, TOKENS = 2, 2048
"""At least so many comparisons are trained on, and more while they are short."""


@dataclass(frozen=True)
class Point:
    """One training: what is varied, its value, and what it took."""

    what: str
    value: int
    microseconds: float
    """A token of the comparisons: the prompt once, and both responses."""
    gigabytes: float
    """At the peak of the steps, above the loaded model: gradients and AdamW's two moments are in it."""


VALUES = {
    "length": (256, 512, 1024, 2048, 4096),
    "vocabulary": (VOCABULARY, 65_536, 152_064),
    "annotations a comparison": (1, 2, 4, 8),
}


def rows(quick: bool) -> list[Row]:
    """Return one row for time and one for memory of each training; there are no targets."""
    return [
        row
        for point in points(quick)
        for row in (
            Row(f"{point.what} {point.value:,}: microseconds a token", "", point.microseconds, None),
            Row(f"{point.what} {point.value:,}: peak above the loaded model, GB", "", point.gigabytes, None),
        )
    ]


@lru_cache
def points(quick: bool) -> list[Point]:
    """Train on comparisons of one length, one a step; in the quick form one short training."""
    if quick:
        return [_measure("length", QUICK_LENGTH)]
    return [_measure(what, value) for what, values in VALUES.items() for value in values]


def draw(quick: bool) -> "Figure":
    """Return time and memory over each of what is varied."""
    import matplotlib
    from matplotlib.figure import Figure

    from benchmarks.reliability.figures import OURS, STYLE

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 4), layout="constrained")
        grid = figure.subplots(2, len(VALUES), sharex="col", sharey="row")
        for column, what in enumerate(VALUES):
            series = [point for point in points(quick) if point.what == what]
            values = [point.value for point in series]
            for axes, quantity in zip(grid[:, column], ("microseconds", "gigabytes"), strict=True):
                axes.plot(values, [getattr(point, quantity) for point in series], "o-", color=OURS, markersize=4)
            grid[1, column].set(xlabel=what, xlim=(0, 1.05 * values[-1]))
            grid[1, column].xaxis.set_major_formatter("{x:,.0f}")
        # Each row shares its axis: its lower end is set when everything is drawn, and the upper one follows.
        for axes, label in zip(grid[:, 0], ("microseconds a token", "GB above the loaded model"), strict=True):
            axes.set(ylim=(0, None), ylabel=label)
    return figure


def _measure(what: str, value: int) -> Point:
    length = value if what == "length" else LENGTH
    text = Lengths(length // 2 - 1, length // 2 - 1, length)
    world = World(text, text, max_length=length, max_prompt_length=length // 2)
    if what == "vocabulary":
        world = replace(world, vocabulary=value)
    elif what != "length":
        world = replace(world, annotations=value)
    measured = trained(world)
    return Point(what, value, 1e6 * measured["seconds"] / measured["tokens"], above(measured) / 1e9)


def trained(world: World) -> dict[str, Any]:
    """Return what training on a few comparisons of a world took, one a step."""
    comparisons = max(FEWEST, TOKENS // max(LENGTH // 2, world.max_length))
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder, "base"), world.vocabulary, world.max_length)
        arguments = (base, world.text(), comparisons, "--batch", 1)
        return in_its_own_process("speed.ours", *arguments, environment=QUIET)
