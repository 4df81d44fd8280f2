"""What `repo-pipeline inspect` prints."""

import textwrap
from collections.abc import Iterator

from repo.annotations.inspection import Example, FileInspection, Inspection
from repo.reporting.text import short, showable

_WIDTH = 100
_MOST_FILES = 5
_TEXT = 300
"""Characters shown of a text."""


def describe(found: Inspection) -> str:
    """Return how the files were understood, how much they hold, the first annotations, and warnings."""
    return "\n".join(
        [
            *(line for file in found.files[:_MOST_FILES] for line in _file(file)),
            *([f"and {len(found.files) - _MOST_FILES:,} more files"] if len(found.files) > _MOST_FILES else []),
            "",
            f"{found.annotations:,} annotations by {found.annotators:,} annotators on {found.comparisons:,} "
            f"comparisons of {found.prompts:,} prompts; {found.ties:,} ties",
            *([f"{found.nameless:,} of them without annotator"] if found.nameless else []),
            f"{found.not_understood:,} rows not understood" + (", the first:" if found.reasons else ""),
            *(f"  {reason}" for reason in found.reasons),
            *(line for example in found.examples for line in _example(example)),
            *_notes(found),
        ]
    )


def _file(file: FileInspection) -> Iterator[str]:
    yield file.name
    yield from _labelled("layout", file.layout)
    if file.columns:
        pairs = [ours if ours == theirs else f"{ours} ({theirs})" for ours, theirs in file.columns.items()]
        yield from _labelled("read", ", ".join(pairs))
    yield from _labelled("not read", ", ".join(file.left_over) or "nothing that holds something")
    yield from _labelled("displayed", file.display)


def _example(example: Example) -> Iterator[str]:
    yield ""
    if not example.first.column:
        task, label = short(example.prompt), short(example.first.text)
        yield f"{example.place}: {short(example.annotator)} labels task {task} {label}"
        return
    yield f"{example.place}: {short(example.annotator)} {'finds both as good' if example.tie else 'prefers'}"
    names = ("one", "other") if example.tie else ("better", "worse")
    yield from _labelled("prompt", _shown(example.prompt))
    for name, said in zip(names, (example.first, example.second), strict=True):
        yield from _labelled(name, f"{said.column}: {_shown(said.text)}")


def _notes(found: Inspection) -> Iterator[str]:
    if found.notes:
        yield ""
    for note in found.notes:
        yield from textwrap.wrap(f"note: {note}", _WIDTH, subsequent_indent="  ", break_long_words=False)


def _labelled(label: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, _WIDTH - 12, break_long_words=False) or ["(nothing)"]
    yield f"  {label:<9} {lines[0]}"
    yield from (f"{'':12}{line}" for line in lines[1:])


def _shown(text: str) -> str:
    """Return the beginning of a text, line breaks shown as such."""
    return short(showable(text), _TEXT)
