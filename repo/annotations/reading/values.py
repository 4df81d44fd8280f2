"""A cell's value: whether there is one, what it is in words, and why its row cannot be read."""

import json
import math
from collections.abc import Callable
from typing import Any

from repo.annotations.reading.json_rows import without_lone_surrogates

_LONGEST_QUOTED = 80


class BadRowError(ValueError):
    """A row that cannot be understood; its arguments are the reasons."""

    @property
    def reasons(self) -> list[str]:
        """What is wrong, in words."""
        return [str(reason) for reason in self.args]


def read_all(*readers: Callable[[], Any]) -> list[Any]:
    """Return what each of them reads.

    Raises:
        BadRowError: some cannot; it has the reasons of all.
    """
    values: list[Any] = []
    reasons: list[str] = []
    for reader in readers:
        try:
            values.append(reader())
        except BadRowError as error:
            reasons.extend(error.reasons)
    if reasons:
        raise BadRowError(*reasons)
    return values


def is_missing(value: Any) -> bool:
    """Tell whether a value is null or not a number."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_blank(value: Any) -> bool:
    """Tell whether a value is missing, an empty list or object, or white space."""
    return is_missing(value) or value in ([], {}) or (isinstance(value, str) and not value.strip())


def kind_of(value: Any) -> str:
    """Return a value's kind in words."""
    return kind_name(type(value))


def kind_name(kind: type) -> str:
    """Return a kind of values in words."""
    kinds = {str: "text", bool: "true/false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(kind, f"a {kind.__name__}")


def quoted(value: Any) -> str:
    """Return a value for a message, in quotes where it is text, and cut where it is longer than a line."""
    if isinstance(value, str) and len(value) > _LONGEST_QUOTED:
        return repr(f"{value[:_LONGEST_QUOTED]}…")
    return repr(value)


def parsed(text: Any) -> Any:
    """Return what JSON text says; anything else, and text that is no JSON, as it stands."""
    if not isinstance(text, str):
        return text
    try:
        value, _ = without_lone_surrogates(json.loads(text))
    except (ValueError, RecursionError):  # no JSON, or none that Python can hold
        return text
    return value
