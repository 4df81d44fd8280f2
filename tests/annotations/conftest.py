import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Row = dict[str, Any]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Write rows as JSON lines (or text as it stands) under a name; returns the path."""

    def write(content: list[Row] | str, name: str = "annotations.jsonl") -> str:
        path = tmp_path / name
        text = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        path.write_bytes(text.encode("utf-8"))
        return str(path)

    return write


@pytest.fixture
def vote() -> Callable[..., Row]:
    """Return one annotation of comparison `number`, in the paired layout."""

    def vote(number: int = 0, annotator: str = "ann", preference: str = "a", **changes: Any) -> Row:
        row = {
            "prompt": f"question {number}",
            "response_a": f"first answer {number}",
            "response_b": f"second answer {number}",
            "preference": preference,
            "annotator_id": annotator,
        }
        return row | changes

    return vote
