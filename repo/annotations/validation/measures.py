"""The tables that expectations look at: numbers derived from annotations, so that no text ends up in their results."""

import json
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from repo.annotations.schema import VIRTUAL_ANNOTATOR, message_text

PREFERENCES = ("a", "b", "tie")


def measure_rows(annotations: pd.DataFrame) -> pd.DataFrame:
    """Return one row an annotation, indexed 0…n−1 as `row`, with what tells good rows from bad ones.

    `repeats_row`, `contradicts_row` and `differs_from_row` name another row, or are null: the earlier row with the same
    vote, the first row with another vote of the same annotator on the same comparison, and the first row with another
    pair under the same comparison id.
    """
    rows = annotations.reset_index(drop=True)
    distinct = {name: _Distinct(rows, name) for name in ("prompt", "response_a", "response_b")}
    prompt, first, second = distinct.values()
    responses = pd.concat([first.each(first.characters), second.each(second.characters)], axis=1)
    codes, _ = pd.factorize(pd.concat([first.contents, second.contents]))
    pair = pd.DataFrame({name: texts.text for name, texts in distinct.items()}).groupby([*distinct], sort=False)
    voted = rows["preference"].isin(PREFERENCES) & ~rows["annotator_id"].isin(("", VIRTUAL_ANNOTATOR))
    votes = rows.loc[voted, ["comparison_id", "annotator_id", "preference"]]
    ballot = votes.groupby(["comparison_id", "annotator_id"], sort=False).ngroup()
    measures = pd.DataFrame(
        {
            "row": rows.index,
            "prompt_characters": prompt.each(prompt.characters),
            "shorter_response_characters": responses.min(axis=1),
            "longer_response_characters": responses.max(axis=1),
            "response_a_text": first.each(codes[: len(first.contents)]),
            "response_b_text": second.each(codes[len(first.contents) :]),
            "preference": rows["preference"],
            "annotator_id_characters": rows["annotator_id"].str.len(),
            "comparison_id_characters": rows["comparison_id"].str.len(),
            "repeats_row": _earlier([ballot, votes["preference"]]),
            "contradicts_row": _other([ballot], votes["preference"]),
            "differs_from_row": _other([rows["comparison_id"]], pair.ngroup()),
        }
    )
    return measures


def measure_votes(kept: pd.DataFrame) -> pd.DataFrame:
    """Return one row an annotation kept: preference, shown_first, `tie` and `decided` (1 or 0), and `first_shown_won`.

    The last is 1 or 0, or null where it is unknown.
    """
    tie = kept["preference"] == "tie"
    known = ~tie & (kept["shown_first"] != "")
    return kept.assign(
        tie=tie.astype(float),
        decided=(~tie).astype(int),
        first_shown_won=(kept["preference"] == kept["shown_first"]).astype(float).where(known),
    )


def measure_annotators(usable: pd.DataFrame) -> pd.DataFrame:
    """Return one row an annotator with the number of `annotations`."""
    return usable.groupby("annotator_id", sort=True).size().rename("annotations").reset_index()


def measure_comparisons(usable: pd.DataFrame) -> pd.DataFrame:
    """Return one row a comparison with `several_annotators` (1 or 0)."""
    annotators = usable.groupby("comparison_id", sort=True)["annotator_id"].nunique()
    return (annotators > 1).astype(float).rename("several_annotators").reset_index()


class _Distinct:
    """The distinct texts of a column: a prompt stands there once for each of its annotations.

    Attributes:
        text: which text stands in a row, numbered as they first appear.
        number: the same, but texts that are messages differ from those that only look like it.
        contents: what each text says, without roles and surrounding white space.
        characters: how long that is.
    """

    def __init__(self, rows: pd.DataFrame, column: str):
        self.text = pd.factorize(rows[column])[0]
        self.number = pd.factorize(2 * self.text + rows["messages"].to_numpy())[0]
        self.contents = _contents(rows.loc[~pd.Series(self.number).duplicated(), [column, "messages"]], column)
        self.characters = self.contents.str.len().to_numpy()

    def each(self, values: NDArray[Any]) -> pd.Series:
        """Return every row's value, from one for each text."""
        return pd.Series(values[self.number])


def _contents(rows: pd.DataFrame, column: str) -> pd.Series:
    """Return what is said in a text column, without roles and surrounding white space."""
    contents, messages = rows[column], rows["messages"]
    if messages.any():
        said = ["\n".join(map(message_text, json.loads(text))) for text in contents[messages]]
        contents = contents.copy()
        contents[messages] = said
    return contents.str.strip()


def _earlier(keys: list[pd.Series]) -> pd.Series:
    """Return, for every row but the first of each group, the group's first row; null elsewhere."""
    number = keys[0].index.to_series()
    first = number.groupby(keys, sort=False).transform("first")
    return first.where(first != number)


def _other(keys: list[pd.Series], values: pd.Series) -> pd.Series:
    """Return the first row of the same group that has another value; null where all values are the same."""
    number = values.index.to_series()
    differs = values != values.groupby(keys, sort=False).transform("first")
    first = number.groupby(keys, sort=False).transform("first")
    first_other = number.where(differs).groupby(keys, sort=False).transform("min")
    return first.where(differs, first_other)
