"""Figures over many nights: an annotator's reliability, the champion's accuracy, the batches that came."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from repo.files import text_digest
from repo.reporting.figures import BLUE, INK, MUTED, ORANGE, Figure, draw_svg
from repo.reporting.nights import TAKEN, Estimate, Night
from repo.reporting.text import count, interval, short, showable

_PANEL = (2.1, 1.4)
"""Inches: several stand side by side."""
_TICK, _DAY = 10, 24
"""Characters of a day's name on an axis, and in words."""
_NARROW, _WIDE = 24, 44
"""Characters that fit under a panel, and under a figure."""


def reliability_panel(
    nights: Sequence[Night], annotator: str, truth: Sequence[float | None] | None, named: Collection[int]
) -> Figure:
    """Return an annotator's reliability over the nights, the truth dashed, nights that named a change marked.

    Args:
        nights: all of them; one at least has an estimate of the annotator.
        annotator: whose.
        truth: the true reliability on every night, where it is known.
        named: the places of the nights that found it changed.
    """
    estimates = [night.reliabilities.get(annotator) for night in nights]

    def draw(axes: Any) -> None:
        axes.axhline(0.5, color=MUTED, linewidth=0.6)
        for place in named:
            axes.axvline(place, color=ORANGE, linewidth=1.2)
            axes.plot(place, 1.04, color=ORANGE, marker="v", markersize=5, clip_on=False)
        if truth is not None:
            _steps(axes, truth)
        _intervals(axes, estimates, BLUE)
        _points(axes, estimates, color=BLUE, linewidth=1.2, marker="o", markersize=1 + _thickness(nights))
        axes.set(ylim=(0, 1.04), yticks=(0, 0.5, 1))
        _name_days(axes, nights, _NARROW)

    measured = [(_day(night), estimate) for night, estimate in zip(nights, estimates, strict=True) if estimate]
    (first, start), (last, end) = measured[0], measured[-1]
    known = [value for value in truth or () if value is not None]
    return Figure(
        draw_svg(text_digest("night", annotator), draw, _PANEL),
        annotator,
        f"{end.value:.2f} ({interval((end.low, end.high))})",
        f"Reliability over {count(len(measured), 'night')}: {start.value:.2f} on {first}, {end.value:.2f} on {last}, "
        f"lowest {min(e.value for _, e in measured):.2f}, highest {max(e.value for _, e in measured):.2f}."
        + (f" The truth: {known[0]:.2f} at first, {known[-1]:.2f} at last." if known else "")
        + "".join(f" A change was found on {_day(nights[place])}." for place in sorted(named)),
    )


def accuracy_figure(nights: Sequence[Night]) -> Figure | None:
    """Return the champion's accuracy over the nights with every candidate's fate, or None where none was measured."""
    champions = [night.champions_accuracy for night in nights]
    promoted, rejected = (
        [night.candidate_accuracy if night.outcome == outcome else None for night in nights]
        for outcome in ("promoted", "rejected")
    )
    if not any((*champions, *rejected)):
        return None

    def draw(axes: Any) -> None:
        _intervals(axes, champions, BLUE)
        _points(axes, champions, color=BLUE, linewidth=1.2)
        _points(axes, promoted, color=BLUE, linestyle="", marker="^", markersize=6)
        _intervals(axes, rejected, ORANGE, beside=0.3)
        _points(axes, rejected, beside=0.3, color=ORANGE, linestyle="", marker="x", markersize=6, markeredgewidth=1.5)
        axes.set(ylabel="accuracy")
        _name_days(axes, nights, _WIDE)

    measured = [f"{value.value:.3f} on {_day(night)}" for night, value in zip(nights, champions, strict=True) if value]
    ends = f"{measured[0]}, {measured[-1]}" if measured else "not measured"
    return Figure(
        draw_svg("night-accuracy", draw),
        "Accuracy of the champion",
        "Blue: the champion after the night, with its interval; a triangle: promoted that night. "
        "Orange crosses: candidates that were rejected.",
        f"The champion’s accuracy: {ends}; {count(len(promoted) - promoted.count(None), 'promotion')}, "
        f"{count(len(rejected) - rejected.count(None), 'rejection')}.",
    )


def batches_figure(nights: Sequence[Night]) -> Figure:
    """Return how many batches every night took and how many it left, stacked."""
    counts = [Counter(batch.state for batch in night.batches) for night in nights]
    taken = np.array([states[TAKEN] for states in counts])
    bad = np.array([states["quarantined"] for states in counts])
    rest = np.array([states.total() for states in counts]) - taken - bad

    def draw(axes: Any) -> None:
        below = np.zeros(len(nights))
        for heights, colour in ((taken, BLUE), (rest, MUTED), (bad, ORANGE)):
            axes.bar(np.arange(len(nights)), heights, bottom=below, width=0.8, color=colour, linewidth=0)
            below = below + heights
        axes.set(ylabel="batches", ylim=(0, max(1, below.max()) * 1.05))
        axes.yaxis.get_major_locator().set_params(integer=True)
        _name_days(axes, nights, _WIDE)

    return Figure(
        draw_svg("night-batches", draw),
        "Batches",
        "Blue: trained on. Orange: quarantined. Grey: others, such as duplicates.",
        f"Bars of the batches of {count(len(nights), 'night')}: {taken.sum()} trained on, {bad.sum()} quarantined, "
        f"{rest.sum()} others.",
    )


def _intervals(axes: Any, estimates: Sequence[Estimate | None], colour: str, beside: float = 0) -> None:
    drawn = [(place + beside, estimate.low, estimate.high) for place, estimate in enumerate(estimates) if estimate]
    axes.vlines(*np.reshape(drawn, (-1, 3)).T, color=colour, linewidth=_thickness(estimates), alpha=0.45)


def _points(axes: Any, estimates: Sequence[Estimate | None], beside: float = 0, **style: Any) -> None:
    """Draw the values; a line goes on over nights without one."""
    drawn = [(place + beside, estimate.value) for place, estimate in enumerate(estimates) if estimate]
    axes.plot(*np.reshape(drawn, (-1, 2)).T, **style)


def _thickness(nights: Sequence[Any]) -> float:
    return max(0.5, min(2.5, 60 / len(nights)))


def _steps(axes: Any, values: Sequence[float | None]) -> None:
    """Draw a value for every night as a dashed level that changes between two nights."""
    levels = np.repeat([np.nan if value is None else value for value in values], 2)
    edges = np.repeat(np.arange(len(values) + 1) - 0.5, 2)[1:-1]
    axes.plot(edges, levels, color=INK, linewidth=1, linestyle=(0, (3, 2)), zorder=3)


def _name_days(axes: Any, nights: Sequence[Night], characters: int) -> None:
    """Name some of the days, as many as fit, the first and the last among them."""
    longest = max(len(_day(night, _TICK)) for night in nights)
    most = max(2, min(len(nights), characters // (longest + 2)))
    places = np.unique(np.linspace(0, len(nights) - 1, most).round().astype(int))
    axes.set_xticks(places, [_day(nights[place], _TICK) for place in places])
    axes.set_xlim(-0.6, len(nights) - 0.4)


def _day(night: Night, length: int = _DAY) -> str:
    return short(showable(night.day), length)
