"""What can be wrong with input arrays, each refused by the array's name and its first bad index (ValueError)."""

from collections.abc import Hashable, Mapping
from contextlib import suppress
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]

LARGEST = 1e12
"""Of margins and weights: their squares and sums must stay far from overflow, in float32 too."""


def same_length(name: str, values: ArrayLike, rows: int) -> Array:
    """Return the array, which must have one entry per annotation."""
    array = np.asarray(values)
    if array.shape != (rows,):
        raise ValueError(
            f"{name}: shape {array.shape}, but label has {rows} entries; one entry per annotation is needed"
        )
    return array


def first(bad: Array) -> int:
    """Return the first index where `bad` holds."""
    return int(np.argmax(bad))


def signs(name: str, values: ArrayLike, allowed: tuple[int, ...] = (-1, 1)) -> Array:
    """Return int8 values, each one of those allowed."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape}, a one-dimensional array is needed")
    good = np.zeros(len(array), bool)
    for value in allowed:
        good |= array == value
    if not good.all():
        at = first(~good)
        raise ValueError(f"{name}[{at}] = {array[at]!r}: must be one of {', '.join(f'{v:+d}' for v in allowed)}")
    return array.astype(np.int8, copy=False)


def optional_signs(name: str, values: ArrayLike | None, rows: int) -> Array | None:
    """Return ±1 per annotation, or None for None."""
    return None if values is None else signs(name, same_length(name, values, rows))


def finite(name: str, values: ArrayLike | None, rows: int, dtype: DTypeLike) -> Array | None:
    """Return finite numbers per annotation, or None for None."""
    if values is None:
        return None
    array = same_length(name, values, rows).astype(dtype, copy=False)
    # Least and greatest need no mask as long as the data; a NaN is both.
    with np.errstate(invalid="ignore"):
        inside = array.min() >= -LARGEST and array.max() <= LARGEST
    if not inside:
        at = first(~(np.abs(array) <= LARGEST))
        remedy = f"at most {LARGEST:g} in size" if np.isfinite(array[at]) else "must be finite"
        raise ValueError(f"{name}[{at}] = {array[at]}: {remedy}")
    return array


def weights_of(weight: ArrayLike | None, rows: int, ids: list[Hashable], index: Array) -> Array | None:
    """Return weights, not negative and not all 0 for any annotator."""
    weights = finite("weight", weight, rows, np.float64)
    if weights is None:
        return None
    if (weights < 0).any():
        at = first(weights < 0)
        raise ValueError(f"weight[{at}] = {weights[at]}: must not be negative")
    empty = np.bincount(index, weights, len(ids)) == 0
    if empty.any():
        at = first(index == first(empty))
        raise ValueError(f"weight[{at}] = 0, as all weights of annotator {ids[first(empty)]!r}, who then has no labels")
    return weights


def integers(name: str, values: ArrayLike, rows: int) -> tuple[Array, Array]:
    """Return the distinct ids (sorted where they can be) and each row's index among them."""
    array = _ids(name, values, rows)
    if array.dtype.kind in "iu":
        return unique_integers(array)
    listed = array.tolist()
    distinct_list = list(dict.fromkeys(listed))
    with suppress(TypeError):  # ids of mixed types keep the order of their first appearance
        distinct_list.sort()
    position = {identifier: i for i, identifier in enumerate(distinct_list)}
    distinct = np.empty(len(distinct_list), object)
    distinct[:] = distinct_list
    return distinct, np.fromiter((position[i] for i in listed), np.int32, rows)


def _ids(name: str, values: ArrayLike, rows: int) -> Array:
    # A list of tuples is a list of ids, not a matrix.
    if isinstance(values, list | tuple):
        array = np.empty(len(values), object)
        array[:] = values
        if values and all(type(value) is int for value in values):
            array = array.astype(np.int64)
    else:
        array = np.asarray(values)
    array = same_length(name, array, rows)
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
    elif array.dtype == object:
        bad = np.fromiter((value is None or (isinstance(value, float) and isnan(value)) for value in array), bool, rows)
    else:
        return array
    if bad.any():
        raise ValueError(f"{name}[{first(bad)}] = {array[first(bad)]}: an id is missing")
    return array


def unique_integers(array: Array) -> tuple[Array, Array]:
    """Return np.unique(array, return_inverse=True) with int32 indices; without sorting where the range is small."""
    if array.dtype.itemsize < 4:
        array = array.astype(np.int32)  # the difference of two int8 need not be one
    low, high = int(array.min()), int(array.max())
    span = high - low + 1
    if span > 4 * len(array) + 1024:
        distinct, inverse = np.unique(array, return_inverse=True)
        return distinct, inverse.astype(np.int32)
    shifted = array if low == 0 else array - low
    present = np.zeros(span, bool)
    present[shifted] = True
    if present.all():
        return np.arange(low, high + 1, dtype=array.dtype), shifted.astype(np.int32, copy=False)
    rank = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(present).astype(array.dtype) + array.dtype.type(low), rank[shifted]


def pinned_values(pinned: Mapping[Hashable, float]) -> dict[Hashable, float]:
    """Check the pinned reliabilities.

    Raises:
        ValueError: one of them is not inside (0, 1).
    """
    for identifier, value in pinned.items():
        if not 0 < value < 1:
            raise ValueError(f"pinned[{identifier!r}] = {value}: must be inside (0, 1)")
    return dict(pinned)
