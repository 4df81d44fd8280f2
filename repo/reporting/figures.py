"""Figures as inline SVG. Colours are named by the page's style sheet, so a figure follows light, dark and print."""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

# Each drawing colour stands for a variable of templates/style.css.
INK, MUTED, LINE, BLUE, ORANGE = "#000001", "#000002", "#000003", "#000004", "#000005"
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", BLUE: "--blue", ORANGE: "--orange"}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.left": False,
    "xtick.major.width": 0.6,
}
_SIZE = (3.75, 2.4)
"""Inches of most figures: readable on a telephone without scaling."""
_MOST_POINTS = 1000
_MARKED_POINTS = 40
_MOST_INTERVALS = 400


@dataclass(frozen=True)
class Figure:
    """A figure of the page: drawing, caption, and the text alternative for those who cannot see it."""

    svg: Markup
    title: str
    caption: str
    alternative: str


def reliability_histogram(reliabilities: Sequence[float], initial: float | None) -> Figure:
    """Return the histogram of reliabilities in steps of 0.05, the initial value marked where there is one."""

    def draw(axes: Any) -> None:
        counts = _histogram(axes, reliabilities)
        if initial is not None:
            axes.axvline(initial, color=INK, linewidth=1, linestyle=(0, (3, 2)))
            side, gap = ("right", -4) if initial > 0.5 else ("left", 4)
            place = {"xy": (initial, 1.03), "xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(f"start {initial:g}", xytext=(gap, 0), ha=side, **place)
        axes.set(xlabel="reliability", ylabel="annotators", ylim=(0, max(counts) * 1.05))

    low, high = min(reliabilities), max(reliabilities)
    below = sum(value < 0.5 for value in reliabilities)
    return Figure(
        draw_svg("reliability", draw),
        "Reliabilities",
        "Orange: below one half, where choosing the opposite would be right more often.",
        f"Histogram of {len(reliabilities)} reliabilities from {low:.2f} to {high:.2f}, "
        f"median {np.median(reliabilities):.2f}; {below} below 0.5.",
    )


def interval_plot(estimates: Sequence[tuple[float, tuple[float, float]]]) -> Figure:
    """Return every annotator's interval side by side, from (reliability, interval), most reliable first."""
    stride = -(-len(estimates) // _MOST_INTERVALS)
    drawn = estimates[::-stride][::-1]
    low, high = (np.array([bounds[end] for _, bounds in drawn]) for end in (0, 1))
    colour = np.where(high < 0.5, ORANGE, np.where(low > 0.5, BLUE, MUTED))
    coins = sum(bounds[0] <= 0.5 <= bounds[1] for _, bounds in estimates)
    worse = sum(bounds[1] < 0.5 for _, bounds in estimates)

    def draw(axes: Any) -> None:
        places = np.arange(1, len(drawn) + 1) * stride
        axes.vlines(places, low, high, color=colour, linewidth=max(0.5, min(2.0, 150 / len(drawn))))
        axes.axhline(0.5, color=INK, linewidth=0.6)
        axes.plot(places, [value for value, _ in drawn], linestyle="", marker="o", markersize=1.5, color=INK)
        axes.set(xlabel="annotators, most reliable first", ylabel="reliability", ylim=(0, 1.02))

    thinned = f" One in {stride} annotators is drawn." if stride > 1 else ""
    return Figure(
        draw_svg("intervals", draw),
        "Intervals",
        f"Grey: the interval contains one half; orange: it lies below.{thinned}",
        f"Intervals of {len(estimates)} reliabilities: {len(estimates) - coins - worse} lie above one half, "
        f"{coins} contain it, {worse} lie below.",
    )


def posterior_histogram(posteriors: npt.ArrayLike) -> Figure:
    """Return the histogram of the labels' posteriors in steps of 0.05."""
    values = np.asarray(posteriors, dtype=float)

    def draw(axes: Any) -> None:
        counts = _histogram(axes, values)
        axes.set(xlabel="posterior of the label", ylabel="labels", ylim=(0, max(counts) * 1.05))

    quarter, median, three = np.quantile(values, [0.25, 0.5, 0.75])
    doubtful = int((values < 0.5).sum())
    return Figure(
        draw_svg("posterior", draw),
        "Belief in single labels",
        "Orange: doubtful labels, posterior below one half.",
        f"Histogram of {len(values)} posteriors: quartiles {quarter:.2f}, {median:.2f} and {three:.2f}; "
        f"{doubtful} below 0.5.",
    )


def training_curves(history: Sequence[dict[str, Any]]) -> list[Figure]:
    """Return the curves that the history has values for: loss, accuracy of rewards, reliability with its range."""
    curves = [
        _curve(history, "loss", "Loss", "Training loss at the logged steps."),
        _curve(
            history,
            "rewards/accuracies",
            "Agreement of model and labels",
            "Share of labels whose chosen response the model rewards more (rewards/accuracies).",
            bounded=True,
        ),
        _curve(
            history,
            "reliability/mean",
            "Reliability while learning",
            "Mean over annotators; the band spans the least and the most reliable one.",
            bounded=True,
            band=("reliability/min", "reliability/max"),
        ),
    ]
    return [curve for curve in curves if curve]


def _curve(
    history: Sequence[dict[str, Any]],
    key: str,
    title: str,
    caption: str,
    bounded: bool = False,
    band: tuple[str, str] | None = None,
) -> Figure | None:
    points = [entry for entry in history if key in entry]
    if not points:
        return None
    stride = -(-len(points) // _MOST_POINTS)
    drawn = points[::-stride][::-1]  # the last point always stays
    steps = [entry["step"] for entry in drawn]
    values = [entry[key] for entry in drawn]

    def draw(axes: Any) -> None:
        if band and all(name in entry for entry in drawn for name in band):
            low, high = ([entry[name] for entry in drawn] for name in band)
            axes.fill_between(steps, low, high, color=BLUE, alpha=0.18, linewidth=0)
        axes.plot(steps, values, color=BLUE, linewidth=1.5, **_markers(len(drawn)))
        axes.set(xlabel="optimiser step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if bounded:
            axes.set(ylim=(0, 1.02))

    thinned = f" One in {stride} logged steps is drawn." if stride > 1 else ""
    first, last = points[0], points[-1]
    return Figure(
        draw_svg(key.replace("/", "-"), draw),
        title,
        caption + thinned,
        f"Curve of {key} over {len(points)} logged steps: {first[key]:.3g} at step {first['step']}, "
        f"{last[key]:.3g} at step {last['step']}, lowest {min(p[key] for p in points):.3g}, "
        f"highest {max(p[key] for p in points):.3g}.",
    )


def _markers(points: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 2.5} if points <= _MARKED_POINTS else {}


def _histogram(axes: Any, values: npt.ArrayLike) -> list[int]:
    """Draw bars of width 0.05 over [0, 1], orange below one half; return their counts."""
    # Rounded because 0.15 / 0.05 is just under 3: a value on an edge belongs to the bar above it.
    bars = np.minimum(np.floor(np.round(np.asarray(values, dtype=float) * 20, 9)), 19).astype(int)
    counts = np.bincount(bars, minlength=20)
    colours = [ORANGE] * 10 + [BLUE] * 10
    axes.bar(np.arange(20) / 20 + 0.025, counts, width=0.043, color=colours, linewidth=0)
    axes.set(xlim=(0, 1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    return [int(number) for number in counts]


def draw_svg(name: str, draw: Callable[[Any], None], size: tuple[float, float] = _SIZE) -> Markup:
    """Draw into axes of so many inches; the same name and drawing give the same bytes."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=size, layout="constrained")
        draw(canvas.add_subplot())
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(buffer.getvalue()))


def _inline(document: str) -> str:
    """Reduce an SVG document to an element that fits into a page: no prologue, no global style, no repeated ids."""
    text = document[document.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true" focusable="false">', text)
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text).replace("xlink:href", "href")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text
