"""The tables that expectations look at: numbers derived from annotations, so that no text ends up in their results."""

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from repo.annotations.schema import VIRTUAL_ANNOTATOR, message_text
from repo.annotations.validation.times import read_moment

PREFERENCES = ("a", "b", "tie")
REPLACED = "replaced_by_row"
_PRECEDENCE = {
    "known": False,
    "comparison_id": True,
    "gold": True,
    "created_at": True,
    "shown_first": False,
    "listed_first": False,
    "row": True,
}
"""By what the one of several equal votes is chosen that is kept, and whether ascending."""
_BALLOT_COLUMNS = ["preference", "comparison_id", "gold", "shown_first", "listed_first", "created_at"]


def measure_rows(annotations: pd.DataFrame) -> pd.DataFrame:
    """Return one row an annotation, indexed 0…n−1 as `row`, with what tells good rows from bad ones on their own.

    `pair` numbers the pairs: a prompt and its two responses, whichever id they go by.
    """
    rows = annotations.reset_index(drop=True)
    distinct = {name: _Distinct(rows, name) for name in ("prompt", "response_a", "response_b")}
    prompt, first, second = distinct.values()
    responses = pd.concat([first.each(first.characters), second.each(second.characters)], axis=1)
    codes, _ = pd.factorize(pd.concat([first.contents, second.contents]))
    pair = pd.DataFrame({name: texts.text for name, texts in distinct.items()}).groupby([*distinct], sort=False)
    return pd.DataFrame(
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
            "pair": pair.ngroup(),
        }
    )


def measure_ids(annotations: pd.DataFrame, pair: pd.Series, good: NDArray[Any]) -> pd.DataFrame:
    """Return one row a good annotation with `differs_from_row`, null where its comparison id names its pair.

    An id names one pair in a file: that of most of its rows there, and none where two pairs have as many. A row of
    another pair gets the first row that it differs from.

    Args:
        annotations: the canonical table, indexed 0…n−1.
        pair: the number of each row's pair.
        good: which rows to look at.
    """
    rows = pd.DataFrame({"name": _numbered(annotations, ["file", "comparison_id"]), "pair": pair})[good]
    differs = pd.Series(np.nan, rows.index)
    named = rows.drop_duplicates()
    disputed = rows[rows["name"].isin(named.loc[named.duplicated("name"), "name"])]
    if len(disputed):
        differs.update(_strays(disputed))
    return pd.DataFrame({"row": rows.index, "differs_from_row": differs})


def measure_ballots(annotations: pd.DataFrame, pair: pd.Series, good: NDArray[Any]) -> pd.DataFrame:
    """Return one row a good annotation, which names another row, or null, for each rule on votes of one person.

    Of an annotator's votes on a pair `repeats_row` names the vote that is kept for a copy; `replaced_by_row` the latest
    for an earlier one; `contradicts_row` another vote where created_at does not tell which of them is the latest.

    Args:
        annotations: the canonical table, indexed 0…n−1.
        pair: the number of each row's pair.
        good: which rows to look at.
    """
    places = pd.DataFrame(np.nan, index=annotations.index[good], columns=["repeats_row", "contradicts_row", REPLACED])
    named = good & ~annotations["annotator_id"].isin(("", VIRTUAL_ANNOTATOR)).to_numpy()
    people, names = pd.factorize(annotations["annotator_id"])
    ballot = (pair * len(names) + people)[named]
    several = annotations.loc[ballot.index[ballot.duplicated(keep=False)], _BALLOT_COLUMNS]
    if len(several):
        places.update(_settled(several, ballot[several.index]))
    return places.assign(row=places.index)


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


def _numbered(table: pd.DataFrame, columns: list[str]) -> NDArray[np.int64]:
    """Return one number for each row, the same for rows that are equal in these columns."""
    number = np.zeros(len(table), dtype=np.int64)
    for column in columns:
        codes, values = pd.factorize(table[column])
        number = number * len(values) + codes
    return number


def _strays(disputed: pd.DataFrame) -> pd.Series:
    """Return the first row of another pair for rows whose name means several; null for the pair of most rows."""
    name, pair, row = disputed["name"], disputed["pair"], disputed.index.to_series()
    size = row.groupby([name, pair]).transform("size")
    winner = size == size.groupby(name).transform("max")
    decided = pair.where(winner).groupby(name).transform("nunique") == 1
    first_winner = row.where(winner).groupby(name).transform("min")
    return first_winner.where(decided, _other([name], pair)).mask(winner & decided)


def _settled(several: pd.DataFrame, ballot: pd.Series) -> pd.DataFrame:
    """Return measure_ballots' columns for the rows of ballots with more than one vote."""
    preference = several["preference"]
    contradictory = preference.groupby(ballot).transform("nunique") > 1
    latest = _latest(several["created_at"].where(contradictory, ""), ballot)
    agreed = preference.where(latest).groupby(ballot).transform("nunique") == 1
    lost, replaced = contradictory & ~agreed, contradictory & agreed & ~latest
    # Which of several copies is kept hangs on what they say, so that the order of rows and files changes nothing.
    standing = several[~lost & ~replaced].assign(ballot=ballot, known=several["gold"] != "")
    standing = standing.assign(row=standing.index).sort_values(list(_PRECEDENCE), ascending=list(_PRECEDENCE.values()))
    kept = ballot.map(standing.drop_duplicates("ballot").set_index("ballot")["row"])
    copies = ~lost & ~replaced & (kept != several.index)
    return pd.DataFrame(
        {
            "repeats_row": kept.where(copies),
            REPLACED: kept.where(replaced),
            "contradicts_row": _other([ballot], preference).where(lost),
        }
    )


def _latest(created_at: pd.Series, ballot: pd.Series) -> pd.Series:
    """Tell which rows hold a ballot's latest time; none of them where not all are times that can be compared."""
    moments = {text: read_moment(text) for text in created_at.unique()}
    kinds = created_at.map({text: moment.kind for text, moment in moments.items() if moment})
    time = created_at.map({text: moment.microseconds for text, moment in moments.items() if moment}).astype(float)
    readable = ~time.isna().groupby(ballot).transform("any")
    comparable = readable & (kinds.groupby(ballot).transform("nunique") == 1)
    return comparable & (time == time.groupby(ballot).transform("max"))


def _other(keys: list[pd.Series], values: pd.Series) -> pd.Series:
    """Return the first row of the same group that has another value; null where all values are the same."""
    number = values.index.to_series()
    differs = values != values.groupby(keys, sort=False).transform("first")
    first = number.groupby(keys, sort=False).transform("first")
    first_other = number.where(differs).groupby(keys, sort=False).transform("min")
    return first.where(differs, first_other)
