"""MultiPref's nested layout (allenai/multipref): one row a comparison, its annotations in two lists."""

from collections.abc import Iterable, Iterator

from repo.annotations.reading.json_cells import VOTE_LISTS
from repo.annotations.reading.loading import LoadedFile
from repo.annotations.reading.rows import Row, Rows
from repo.annotations.reading.texts import CONTENT
from repo.annotations.reading.values import kind_of
from repo.errors import UserError

TEXTS = ("text", "completion_a", "completion_b")
READ = ("comparison_id", *TEXTS, *VOTE_LISTS)
_PREFERENCES = {
    "a-is-clearly-better": "a",
    "a-is-slightly-better": "a",
    "tie": "tie",
    "b-is-slightly-better": "b",
    "b-is-clearly-better": "b",
}


def is_multipref(columns: list[str]) -> bool:
    """Tell whether these are MultiPref's columns; one of the two lists is enough."""
    return set(TEXTS) <= set(columns) and any(name in columns for name in VOTE_LISTS)


def unfold(loaded: LoadedFile) -> LoadedFile:
    """Return one row an annotation, in the layout prompt/response_a/response_b/preference.

    Raises:
        UserError: an annotation list holds something else.
    """
    lines: list[int] = []

    def votes() -> Iterator[Row]:
        for line, nested in zip(loaded.lines, loaded.rows, strict=True):
            for row in _votes(loaded, line, nested):
                lines.append(line)
                yield row

    rows = Rows.of(votes())
    note = f"{loaded.name}: {len(loaded.rows)} comparisons of MultiPref's layout hold {len(rows)} annotations"
    columns = ["comparison_id", "prompt", "response_a", "response_b", "preference", "annotator_id"]
    columns += _others(loaded.columns)
    return LoadedFile(loaded.name, columns, rows, lines, [*loaded.notes, note])


def _votes(loaded: LoadedFile, line: int, nested: Row) -> Iterator[Row]:
    for column in VOTE_LISTS:
        votes = nested.get(column) or []
        if not isinstance(votes, list) or not all(isinstance(vote, dict) for vote in votes):
            problem = f"{loaded.name}, line {line}: {column} is {kind_of(votes)}, not a list of annotations"
            raise UserError(problem, "each annotation is an object with evaluator and overall_pref")
        for vote in votes:
            given = vote.get("overall_pref")
            yield {name: nested.get(name) for name in _others(nested)} | {
                "comparison_id": nested.get("comparison_id"),
                "prompt": nested.get("text"),
                "response_a": nested.get("completion_a"),
                "response_b": nested.get("completion_b"),
                "preference": _PREFERENCES.get(str(given).strip().lower(), given),
                "annotator_id": vote.get("evaluator"),
            }


def _others(columns: Iterable[str]) -> list[str]:
    """Return the columns that belong to the prompt too; MultiPref's own files have none."""
    return [name for name in columns if name in CONTENT and name != "prompt"]
