"""The benchmark's figures; colours from Okabe and Ito's palette, which the colour-blind can tell apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.reliability.worlds import Trained

OURS, PAPER, TRUTH = "#0072B2", "#D55E00", "#555555"
STYLE = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "reliability",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
}


def estimates_by_noise(panels: Mapping[str, Sequence[tuple[float, Trained, Trained]]]) -> Figure:
    """Draw η̂ over noise beside realised agreement; a panel's points are (noise, ours, paper's rule)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 3), layout="constrained")
        for axes, (title, points) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
            noise = [point[0] for point in points]
            for row in range(len(points[0][1].reliability)):
                label = "_" if row else ""
                truth = [ours.realised.iloc[row] for _, ours, _ in points]
                found = [ours.reliability.iloc[row] for _, ours, _ in points]
                found_by_paper = [paper.reliability.iloc[row] for _, _, paper in points]
                axes.plot(noise, truth, color=TRUTH, linewidth=1, label=f"{label}realised agreement")
                axes.plot(noise, found, "o", color=OURS, markersize=6, label=f"{label}ours")
                axes.plot(
                    noise,
                    found_by_paper,
                    "s",
                    color=PAPER,
                    markersize=5,
                    fillstyle="none",
                    label=f"{label}paper's rule",
                )
            axes.set(title=title, xlabel="share of labels turned round", xticks=noise, ylim=(0, 1))
        figure.axes[0].set_ylabel("reliability")
        figure.axes[0].legend(frameon=False, loc="lower left")
    return figure


def histograms(results: Mapping[str, Sequence[Trained]], starts: Sequence[float]) -> Figure:
    """Draw the histogram of η̂ for each start (dashed) with its mean (solid): a row of panels for each rule."""
    bins = np.linspace(0, 1, 41)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        grid = figure.subplots(len(results), len(starts), sharex=True, sharey=True, squeeze=False)
        for line, colour, (rule, trained) in zip(grid, (OURS, PAPER), results.items(), strict=True):
            for axes, start, one in zip(line, starts, trained, strict=True):
                mean = float(one.reliability.mean())
                axes.hist(one.reliability, bins, color=colour, alpha=0.6)
                axes.axvline(mean, color=colour)
                axes.axvline(start, color=TRUTH, linestyle=(0, (3, 2)), linewidth=1)
                axes.set_title(f"{rule}, η₀ = {start:g}\nmean {mean:.3f}", fontsize=8)
            line[0].set_ylabel("annotators")
        figure.suptitle("dashed: initial value η₀; solid: mean of the estimates", fontsize=8)
        for axes in grid[-1]:
            axes.set(xlabel="reliability", xlim=(0.2, 1))
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, the same bytes for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, metadata={"Date": None})
