"""Batches that each number their comparisons from 1: the same id, another pair in every file."""

from typing import Any

import pandas as pd
from numpy.typing import NDArray

from repo.annotations.reading.ids import file_labels, id_in_file
from repo.errors import UserError

_MOST_NAMED = 5


def number_apart(annotations: pd.DataFrame, pair: pd.Series, good: NDArray[Any]) -> tuple[pd.DataFrame, list[str]]:
    """Give each pair its own comparison id where files number their own: '1' becomes '1 in june.jsonl'.

    Where several files name the same pair so, the id is that of the first of them in the alphabet.

    Args:
        annotations: the canonical table, indexed 0…n−1.
        pair: the number of each row's pair.
        good: which rows to look at; in each file an id of theirs names one pair.

    Returns:
        the table, and a note where it changed.

    Raises:
        UserError: a new id is another comparison's id already.
    """
    ids = annotations["comparison_id"]
    rows = pd.DataFrame({"id": pd.factorize(ids)[0], "pair": pair})[good]
    named = rows.drop_duplicates()
    own = rows[rows["id"].isin(named.loc[named.duplicated("id"), "id"])]
    if own.empty:
        return annotations, []
    files = annotations.loc[own.index, "file"]
    first_file = files.map(file_labels(annotations["file"].unique())).groupby([own["id"], own["pair"]]).transform("min")
    old = ids[own.index]
    new = pd.Series(map(id_in_file, old, first_file), index=own.index, dtype=ids.dtype)
    _refuse_taken(annotations.loc[good], new)
    renamed = ids.copy()
    renamed[own.index] = new
    return annotations.assign(comparison_id=renamed), [_note(old, files, new)]


def _refuse_taken(annotations: pd.DataFrame, new: pd.Series) -> None:
    taken = annotations[annotations["comparison_id"].isin(new.unique())]
    if len(taken):
        row = taken.iloc[0]
        problem = f"{row['file']}, line {row['line']}: comparison_id {row['comparison_id']!r} is the name that another "
        raise UserError(
            f"{problem}file's comparison gets, whose id names different pairs in different files", "rename it"
        )


def _note(old: pd.Series, files: pd.Series, new: pd.Series) -> str:
    counts = old.groupby(files).nunique()
    named = [f"{file} ({count:,})" for file, count in counts.sort_index().head(_MOST_NAMED).items()]
    more = f" and {len(counts) - _MOST_NAMED} more files" if len(counts) > _MOST_NAMED else ""
    return (
        f"{old.nunique():,} comparison ids name different pairs in different files, so each file's numbers are taken "
        f"as its own: {', '.join(named)}{more}; {old.min()!r} became {new[old == old.min()].min()!r} and so on"
    )
