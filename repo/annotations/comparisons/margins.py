"""A file of margins from any trainer → the log-odds that response a of the canonical table is better, row by row."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repo.annotations.reading.loading import LoadedFile
from repo.annotations.reading.side_files import ID, ids_of, load_one, one_column, single_values, unused
from repo.annotations.reading.values import quoted
from repo.annotations.schema import COLUMNS
from repo.errors import UserError
from repo.ids import id_text

Array = NDArray[Any]

_LAYOUT = (
    "give comparison_id (or task, item) and margin: log-odds that the better one is response_a (chosen; the class that "
    "sorts last) as the comparison's first row in the annotations has it; or line and margin: that of the row's label"
)
_LONGEST_LINE = 18
"""Digits of the largest line number there can be."""
_DISAGREE = 1e-3
"""Rows of a comparison disagree when their margins differ by more than this share of the largest."""


@dataclass(frozen=True)
class Margins:
    """Log-odds, up to a temperature, that response a is better, one for each row of the table, shape [N]."""

    values: Array
    notes: list[str]


def read_margins(source: str, table: pd.DataFrame, names: pd.DataFrame) -> Margins:
    """Read margins by comparison, by row of the annotations, or as a training of ours recorded them.

    Args:
        source: a file with `margin` and
            (comparison_id, task or item): log-odds that the response which the comparison's first row has as
            response_a (chosen; the class that sorts last) is better; or
            (line, and file where there are several): S of the label in that row, chosen over rejected; or
            the canonical columns (a training's posteriors.parquet): S of each label.
        table: the canonical table, ties dropped or split.
        names: what name_responses returned.

    Raises:
        UserError: columns, numbers or comparisons are missing or contradict each other.
    """
    loaded = load_one(source, "--margins")
    if set(COLUMNS) <= set(loaded.columns):
        by_label, notes = _of_labels(loaded, table)
    elif "line" in loaded.columns:
        by_label, notes = _of_lines(loaded, table)
    else:
        return _spread(loaded, *_of_comparisons(loaded, table, names), table)
    by_comparison, disagreement = _averaged(loaded, by_label)
    return _spread(loaded, by_comparison, [*notes, *disagreement], table)


def _of_comparisons(
    loaded: LoadedFile, table: pd.DataFrame, names: pd.DataFrame
) -> tuple["pd.Series[float]", list[str]]:
    """Return log-odds of response a by comparison."""
    for column in ("preference", "chosen"):
        if column in loaded.columns:
            problem = f"{loaded.name}: has {column} beside margin: is the margin the comparison's or the label's?"
            raise UserError(problem, f"leave only the columns that say so: {_LAYOUT}")
    ids = ids_of(loaded, one_column(loaded, ID, _LAYOUT), table)
    given = pd.Series(single_values(loaded, ids, _numbers(loaded), "margin"), dtype=float)
    signs = names["sign"].reindex(given.index)
    present = set(table["comparison_id"])
    return (given * signs)[given.index.isin(present)], unused(loaded, ids, present, "comparison with labels")


def _of_lines(loaded: LoadedFile, table: pd.DataFrame) -> tuple["pd.DataFrame", list[str]]:
    """Return comparison_id and log-odds of response a for each label that has a margin."""
    for column in ID:
        if column in loaded.columns:
            problem = f"{loaded.name}: has both line and {column}: is the margin the row's or the comparison's?"
            raise UserError(problem, f"leave one of them out: {_LAYOUT}")
    labels = table[table["weight"] == 1]  # a split tie names no better response for a margin to be about
    places = _places(labels["file"], labels["line"])
    if len(set(places)) < len(places):
        repeated = labels[labels.duplicated(["file", "line"])].iloc[0]
        problem = f"{repeated['file']}, line {repeated['line']}: holds several labels, so a margin by line is no one's"
        raise UserError(problem, "give margins by comparison_id")
    keys = _places(_files(loaded, labels), _lines(loaded))
    single = single_values(loaded, keys, _numbers(loaded), "margin")
    margin = np.array([single.get(place, np.nan) for place in places], dtype=float)
    by_label = pd.DataFrame({"comparison_id": labels["comparison_id"], "margin": margin * _signs(labels["preference"])})
    return by_label.dropna(), unused(loaded, keys, set(places), "label in use")


def _of_labels(loaded: LoadedFile, table: pd.DataFrame) -> tuple["pd.DataFrame", list[str]]:
    """Return comparison_id and log-odds of response a for each label of a training's record."""
    ids = ids_of(loaded, "comparison_id", table)
    margin = np.array(_numbers(loaded)) * _signs(pd.Series([row["preference"] for row in loaded.rows], dtype="str"))
    present = set(table["comparison_id"])
    by_label = pd.DataFrame({"comparison_id": ids, "margin": margin})
    return by_label[by_label["comparison_id"].isin(present)], unused(loaded, ids, present, "comparison with labels")


def _averaged(loaded: LoadedFile, by_label: pd.DataFrame) -> tuple["pd.Series[float]", list[str]]:
    """Return one margin a comparison, and a note where its labels gave different ones."""
    groups = by_label.groupby("comparison_id")["margin"]
    spread = groups.max() - groups.min()
    differ = spread > _DISAGREE * by_label["margin"].abs().groupby(by_label["comparison_id"]).max()
    found = f"the rows of {differ.sum():,} comparisons give different margins (by up to {spread.max():.3g})"
    note = f"{loaded.name}: {found}; their mean is used"
    return groups.mean(), [note] if differ.any() else []


def _spread(loaded: LoadedFile, by_comparison: "pd.Series[float]", notes: list[str], table: pd.DataFrame) -> Margins:
    """Hand each row its comparison's margin."""
    values = table["comparison_id"].map(by_comparison).to_numpy(dtype=float)
    missing = table["comparison_id"][np.isnan(values)].unique()
    if len(missing):
        first = ", ".join(map(quoted, missing[:3])) + (", …" if len(missing) > 3 else "")
        share = f"{len(missing):,} of {table['comparison_id'].nunique():,} comparisons"
        raise UserError(
            f"{loaded.name}: no margin for {share}: {first}",
            "give one for each, or leave the annotations of these comparisons out, or leave --margins out",
        )
    return Margins(values, notes)


def _numbers(loaded: LoadedFile) -> list[float]:
    """Return the margins, each a finite number."""
    one_column(loaded, ("margin",), _LAYOUT)
    numbers = [_number(row.get("margin")) for row in loaded.rows]
    for line, row, number in zip(loaded.lines, loaded.rows, numbers, strict=True):
        if not math.isfinite(number):
            problem = f"{loaded.name}, line {line}: margin is {str(row.get('margin'))[:40]!r}, not a finite number"
            raise UserError(problem, "correct or delete that row")
    return numbers


def _number(value: Any) -> float:
    """Return a number, or NaN for what is none."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _lines(loaded: LoadedFile) -> list[int]:
    lines = []
    for place, row in zip(loaded.lines, loaded.rows, strict=True):
        text = id_text(row.get("line"))
        if not text.isdecimal() or len(text) > _LONGEST_LINE:
            problem = f"{loaded.name}, line {place}: line is {text[:40]!r}, not a line number"
            raise UserError(problem, "give the line (JSONL, CSV) or record number (other formats) in the annotations")
        lines.append(int(text))
    return lines


def _places(files: Iterable[str], lines: Iterable[int]) -> list[str]:
    return [f"{file}, line {line}" for file, line in zip(files, lines, strict=True)]


def _files(loaded: LoadedFile, labels: pd.DataFrame) -> list[str]:
    """Return the annotation file of each row; a file may be named without its folder."""
    files = list(labels["file"].unique())
    if "file" not in loaded.columns:
        if len(files) > 1:
            raise UserError(f"{loaded.name}: line alone does not say which of {len(files)} files", "add a column file")
        return files * len(loaded.rows)
    short = {Path(name).name: name for name in files}
    known = {**(short if len(short) == len(files) else {}), **{name: name for name in files}}
    return [known.get(name, name) for name in (id_text(row.get("file")) for row in loaded.rows)]


def _signs(preference: "pd.Series[str]") -> Array:
    return preference.map({"a": 1.0, "b": -1.0}).to_numpy(dtype=float)
