"""What was understood of annotations, before anything is done with them."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repo.annotations.reading.crowd_tables import ReadVotes, read_votes
from repo.annotations.reading.layouts import Reading
from repo.annotations.reading.reader import ReadResult
from repo.annotations.schema import display_text, flip
from repo.settings import DataSettings

_EXAMPLES = 2
_REJECTED = 3


@dataclass(frozen=True)
class FileInspection:
    """How a file was understood.

    Attributes:
        name: the file.
        layout: what the layout says, in words, and by which columns it was told.
        columns: our names → the file's, of the columns read.
        left_over: columns that hold something and are not read.
        display: what is known of the order in which the responses were displayed, in words.
    """

    name: str
    layout: str
    columns: Mapping[str, str]
    left_over: Sequence[str]
    display: str


@dataclass(frozen=True)
class Said:
    """A response, and the column in which the row has it ('' in a crowd table)."""

    column: str
    text: str


@dataclass(frozen=True)
class Example:
    """One annotation as understood: `first` is better than `second`, or as good where `tie`."""

    place: str
    annotator: str
    prompt: str
    first: Said
    second: Said
    tie: bool


@dataclass(frozen=True)
class Inspection:
    """What was understood.

    Attributes:
        files: how each file was understood.
        annotations, annotators, comparisons, prompts, ties: counts over the rows understood, before validation.
        nameless: annotations without an annotator, in data that names others; validation leaves them out.
        not_understood: rows that could not be read, and `reasons` against the first of them.
        examples: the first annotations.
        notes: what a person should know about the reading.
    """

    files: Sequence[FileInspection]
    annotations: int
    annotators: int
    nameless: int
    comparisons: int
    prompts: int
    ties: int
    not_understood: int
    reasons: Sequence[str]
    examples: Sequence[Example]
    notes: Sequence[str]

    def one_line(self) -> str:
        """Return the counts and the layout as one line."""
        layouts = "; ".join(dict.fromkeys(file.layout for file in self.files))
        bad = f", {self.nameless:,} without annotator" if self.nameless else ""
        bad += f", {self.not_understood:,} rows not understood" if self.not_understood else ""
        return (
            f"{self.annotations:,} annotations by {self.annotators:,} annotators on {self.comparisons:,} comparisons, "
            f"{self.ties:,} ties{bad}: {layouts}"
        )


def inspect(source: str, settings: DataSettings) -> Inspection:
    """Read annotations or crowd tables and say what was understood.

    Raises:
        UserError: something is missing, unreadable or in no known layout.
    """
    return inspection_of(read_votes(source, settings))


def inspection_of(votes: ReadVotes) -> Inspection:
    """Say what was understood of annotations that have been read."""
    read, table = votes.read, votes.read.annotations
    nameless = table["annotator_id"] == ""
    return Inspection(
        files=_crowd_tables(read, votes.classes) if votes.classes else [_file(*item) for item in read.files.items()],
        annotations=len(table),
        annotators=table.loc[~nameless, "annotator_id"].nunique(),
        nameless=int(nameless.sum()),
        # By the texts too: files may each number their comparisons from 1.
        comparisons=len(table[["comparison_id", "prompt", "response_a", "response_b"]].drop_duplicates()),
        prompts=table["prompt"].nunique(),
        ties=int((table["preference"] == "tie").sum()),
        not_understood=len(read.rejected),
        reasons=[f"{row.place}: {'; '.join(row.reasons)}" for row in read.rejected[:_REJECTED]],
        examples=list(_examples(read)),
        notes=read.notes,
    )


def _file(name: str, reading: Reading) -> FileInspection:
    column = reading.columns
    if reading.layout == "paired":
        layout = f"{column['preference']} says whether {column['response_a']} or {column['response_b']} is better"
    else:
        layout = f"{column['chosen']} is better than {column['rejected']}"
    display = {
        "first": f"{column.get('response_a')} is taken as displayed first (else: data.display=unknown)",
        "unknown": "not known",
        "column": f"as {column.get('displayed_first')} says",
    }
    return FileInspection(name, layout, column, reading.left_over, display[reading.display])


def _crowd_tables(read: ReadResult, classes: tuple[str, str]) -> list[FileInspection]:
    layout = f"a crowd table: each worker's label of a task is {classes[0]} or {classes[1]}"
    names = dict.fromkeys([*read.annotations["file"], *(row.file for row in read.rejected)])
    return [FileInspection(name, layout, {}, [], "not known") for name in names]


def _examples(read: ReadResult) -> Iterator[Example]:
    table = read.annotations
    for row in table[table["preference"].isin(["a", "b", "tie"])].head(_EXAMPLES).to_dict("records"):
        names = _named(row, read.files.get(row["file"]))
        tie = row["preference"] == "tie"
        first = (row["listed_first"] or "a") if tie else row["preference"]
        said = [
            Said(names[side], display_text(row[f"response_{side}"], row["messages"])) for side in (first, flip(first))
        ]
        prompt = display_text(row["prompt"], row["messages"])
        yield Example(f"{row['file']}, line {row['line']}", row["annotator_id"], prompt, said[0], said[1], tie)


def _named(row: Mapping[Hashable, Any], reading: Reading | None) -> dict[str, str]:
    """Return what the file calls the canonical response_a and response_b of a row; nothing of a crowd table."""
    if reading is None:
        return {"a": "", "b": ""}
    first = row["listed_first"] or row["preference"]  # chosen and rejected are named by the vote
    one, other = (reading.columns[name] for name in reading.responses)
    return {first: one, flip(first): other}
