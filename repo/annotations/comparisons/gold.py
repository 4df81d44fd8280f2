"""A file of known answers, one a comparison → the canonical table's gold."""

import pandas as pd

from repo.annotations.reading.side_files import ID, ids_of, load_one, one_column, single_values, unused, value_text
from repo.annotations.reading.values import quoted
from repo.errors import UserError

ANSWER = ("truth", "gold")
_LAYOUT = "a gold file has one of the columns comparison_id, task, item, and one of truth, gold"


def read_gold(source: str, table: pd.DataFrame, names: pd.DataFrame) -> tuple["pd.Series[str]", list[str]]:
    """Read which response or class is known to be right.

    Args:
        source: a file with a comparison's id and its answer: a class of the crowd table, or the better response as the
            comparison's first row names it (response_a or a, response_b or b; chosen, rejected). No answer: not known.
        table: the canonical table.
        names: what name_responses returned.

    Returns:
        'a', 'b' or '' for each row of the table, and notes for a person.

    Raises:
        UserError: a column is missing, an answer is none of the two, two answers differ, or none is about the table.
    """
    loaded = load_one(source, "--gold")
    key, column = one_column(loaded, ID, _LAYOUT), one_column(loaded, ANSWER, _LAYOUT)
    ids = ids_of(loaded, key, table)
    answers = [value_text(row.get(column)) for row in loaded.rows]
    single = single_values(loaded, ids, answers, column)
    known = names[names.index.isin(table["comparison_id"])]
    pairs = {name: (a, b) for name, a, b in zip(known.index, known["a"], known["b"], strict=True)}
    sides = {name: _side(answer, *pairs[name]) for name, answer in single.items() if answer and name in pairs}
    for line, name, answer in zip(loaded.lines, ids, answers, strict=True):
        if sides.get(name) == "":
            expected = " or ".join(map(quoted, sorted(pairs[name])))
            raise UserError(
                f"{loaded.name}, line {line}: {column} {quoted(answer)} is not {expected}", "correct that row"
            )
    if not sides:
        problem = f"{loaded.name}: none of its answers is about a comparison in the annotations"
        remedy = f"its {key} must be the annotations'; there the first is {quoted(table['comparison_id'].iloc[0])}"
        raise UserError(problem, remedy)
    gold = table["comparison_id"].map(sides).fillna("").astype("str")
    return gold, unused(loaded, ids, pairs, "comparison with labels")


def _side(answer: str, a: str, b: str) -> str:
    """Return 'a' or 'b', or '' where the answer is neither name."""
    return {a.removeprefix("response_"): "a", b.removeprefix("response_"): "b", a: "a", b: "b"}.get(answer, "")
