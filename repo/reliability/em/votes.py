"""Annotations made ready for EM: checked, ids as integers, rows of one comparison side by side.

Knows arrays only. Everything that can be wrong with the input is refused here, by array name and index.
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from repo.reliability.em.checks import finite, first, integers, optional_signs, same_length, signs, weights_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Votes:
    """N votes (annotations) by A annotators on M comparisons, sorted by comparison.

    A vote's *kind* says what it looks like: kind 2·(shown second first) + (label is +1), in [0, kinds). All a vote does
    in EM depends on its annotator and its kind, so `code` = kinds · annotator + kind is all that is kept of it.

    Attributes:
        annotators: the ids, in the order that every per-annotator array has.
        comparisons: the ids of the comparisons, shape [M]; None where they are simply 0 … M − 1.
        code: shape [N], integers.
        kinds: 2, or 4 where positions are known.
        start: first row of each comparison, shape [M]; None where every comparison has one vote.
        margin: S of each comparison, the log-odds that its first response is better, shape [M]; None for no margins.
        gold: +1 (first is better), −1, or 0 (unknown) of each comparison, shape [M]; None for no gold.
        weight: how many votes each vote counts for, shape [N]; None for one.
        order: row of the input that each row came from, shape [N]; None where they are in the input's order.
        dtype: precision of everything that is as long as the data.
    """

    annotators: list[Hashable]
    comparisons: Array | None
    code: Array
    kinds: int
    start: Array | None
    margin: Array | None
    gold: Array | None
    weight: Array | None
    order: Array | None
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """N, the number of votes."""
        return len(self.code)

    @property
    def comparison_count(self) -> int:
        """M, the number of comparisons."""
        return len(self.code if self.start is None else self.start)

    @property
    def annotator(self) -> Array:
        """Index of each vote's annotator, shape [N]."""
        return np.asarray(self.code // self.kinds)

    def group_sizes(self) -> Array:
        """Return the number of votes of each comparison, shape [M]."""
        if self.start is None:
            return np.ones(self.size, np.int64)
        return np.diff(self.start, append=self.size)

    def in_input_order(self, values: Array) -> Array:
        """Return values given per row of these votes in the order of the input."""
        if self.order is None:
            return values
        result = np.empty_like(values)
        result[self.order] = values
        return result


def group_votes(
    annotator: ArrayLike,
    label: ArrayLike,
    comparison: ArrayLike | None = None,
    margin: ArrayLike | None = None,
    position: ArrayLike | None = None,
    gold: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    annotators: Collection[Hashable] | None = None,
    pinned: Collection[Hashable] = (),
    dtype: DTypeLike = np.float64,
) -> Votes:
    """Check annotations and sort them by comparison; arrays have one entry per annotation (AnnotatorReliability.fit).

    Raises:
        ValueError: naming the array and the first bad index.
    """
    labels = signs("label", label)
    rows = len(labels)
    if rows == 0:
        raise ValueError("label: empty; at least one annotation is needed")
    distinct, index = integers("annotator", annotator, rows)
    ids: list[Hashable] = distinct.tolist()
    if annotators is not None:
        _check_declared(ids, index, list(annotators))
    code, kinds = _codes(index, labels, optional_signs("position", position, rows))
    weights = weights_of(weight, rows, ids, index)
    del index
    margins = finite("margin", margin, rows, dtype)
    golds = None if gold is None else signs("gold", same_length("gold", gold, rows), allowed=(-1, 0, 1))
    names, start, order = _groups(comparison, rows)
    votes = Votes(
        annotators=ids,
        comparisons=names,
        code=_take(code, order),
        kinds=kinds,
        start=start,
        margin=_per_comparison("margin", margins, start, order),
        gold=_per_comparison("gold", golds, start, order),
        weight=None if weights is None else _take(weights.astype(dtype), order),
        order=order,
        dtype=np.dtype(dtype),
    )
    _check_pinned(votes, pinned)
    return votes


def _codes(index: Array, labels: Array, position: Array | None) -> tuple[Array, int]:
    kinds = 2 if position is None else 4
    dtype = np.int32 if kinds * (int(index.max()) + 1) < 2**31 else np.int64
    code = index.astype(dtype) * kinds
    np.add(code, labels > 0, out=code)
    if position is not None:
        np.add(code, 2 * (position < 0), out=code)
    return code, kinds


def _groups(comparison: ArrayLike | None, rows: int) -> tuple[Array | None, Array | None, Array | None]:
    """Return (ids, first row of each group, order that sorts the rows), the last None where they are sorted."""
    if comparison is None:
        return None, None, None
    ids, index = integers("comparison", comparison, rows)
    order = None if (index[1:] >= index[:-1]).all() else stable_order(index)
    counts = np.bincount(index, minlength=len(ids))
    start = None if len(ids) == rows else np.concatenate([[0], np.cumsum(counts)[:-1]])
    return ids, start, order


def stable_order(index: Array) -> Array:
    """Return np.argsort(index, kind="stable") of non-negative int32; index and row sorted as one word, much faster."""
    keys = index.astype(np.int64)
    keys <<= 32
    keys |= np.arange(len(index))
    keys.sort()
    keys &= 0xFFFFFFFF
    return keys if len(index) >= 2**31 else keys.astype(np.int32)


def _take(values: Array, order: Array | None) -> Array:
    return values if order is None else values[order]


def _per_comparison(name: str, values: Array | None, start: Array | None, order: Array | None) -> Array | None:
    """Keep one value per comparison; all rows of a comparison must agree."""
    if values is None:
        return None
    values = _take(values, order)
    if start is None:
        return values
    low, high = np.minimum.reduceat(values, start), np.maximum.reduceat(values, start)
    if (low != high).any():
        at = first(low != high)
        rows = slice(start[at], start[at + 1] if at + 1 < len(start) else len(values))
        row = int(start[at]) + first(values[rows] != values[start[at]])
        row = row if order is None else int(order[row])
        raise ValueError(
            f"{name}[{row}]: differs from another row of the same comparison ({low[at]} and {high[at]}); "
            f"{name} belongs to the comparison and must be the same in all its rows"
        )
    return low


def _check_declared(ids: list[Hashable], index: Array, declared: list[Hashable]) -> None:
    known, present = set(declared), set(ids)
    for place, identifier in enumerate(declared):
        if identifier not in present:
            raise ValueError(f"annotators[{place}] = {identifier!r}: has no labels")
    for place, identifier in enumerate(ids):
        if identifier not in known:
            raise ValueError(f"annotator[{first(index == place)}] = {identifier!r}: not among the declared annotators")


def _check_pinned(votes: Votes, pinned: Collection[Hashable]) -> None:
    """Without margins, a comparison judged by pinned annotators only says nothing about anybody."""
    if votes.margin is not None or not pinned:
        return
    fixed = np.array([identifier in pinned for identifier in votes.annotators])[votes.annotator]
    all_fixed = fixed if votes.start is None else np.logical_and.reduceat(fixed, votes.start)
    if all_fixed.any():
        at = first(all_fixed)
        row = at if votes.start is None else int(votes.start[at])
        row = row if votes.order is None else int(votes.order[row])
        name = row if votes.comparisons is None else votes.comparisons.tolist()[at]
        raise ValueError(
            f"comparison[{row}]: all votes on {name!r} come from pinned annotators and there are no margins: it "
            "tells nothing about anybody's reliability; leave it out, or leave one of them unpinned"
        )
