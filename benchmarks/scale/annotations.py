"""Memory and time of reading and validating annotations, each size in a process of its own."""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import child
from benchmarks.memory import peak_bytes
from benchmarks.scale.words import text
from benchmarks.table import Row
from repo.annotations.ingest import ingest
from repo.annotations.simulation import SOURCE
from repo.settings import Settings

ROWS = 10**7
VOTES = 3
GIGABYTES = 24.0
GROWTH = 1.3
"""Seconds per annotation, against a tenth of the annotations."""
TIES, EMPTY = 0.05, 0.002
"""Shares of ties, and of rows that go to quarantine: a batch without any would be copied once less."""


def write_annotations(path: Path, rows: int) -> None:
    """Write JSON lines of about .47 kB, three annotations a comparison, a hundred an annotator."""
    with path.open("w", encoding="utf-8") as file:
        for row in _annotations(rows):
            file.write(json.dumps(row) + "\n")


def _annotations(rows: int) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    for number in range(0, rows, VOTES):
        prompt, first, second = (text(random, words) for words in (22, 28, 28))
        for _ in range(min(VOTES, rows - number)):
            chance = random.random()
            yield {
                "prompt": "" if chance < EMPTY else prompt,
                "response_a": first,
                "response_b": second,
                "preference": "tie" if chance > 1 - TIES else "ab"[chance > 0.5],
                "annotator_id": f"worker-{random.integers(max(rows // 100, VOTES))}",
            }


def read_and_validate(path: Path) -> dict[str, float]:
    """Return the seconds it took, this process's peak memory, and counts."""
    ingest(SOURCE, Settings())  # imports take seconds and a few hundred megabytes, whatever the size
    before = peak_bytes()
    begin = time.perf_counter()
    result = ingest(str(path), Settings())
    seconds = time.perf_counter() - begin
    assert result.passed, "the benchmark's own annotations are good"
    return {
        "seconds": seconds,
        "peak_bytes": peak_bytes(),
        "before_bytes": before,
        "rows_read": result.summary.rows_read,
        "annotations": result.summary.annotations,
    }


def in_its_own_process(rows: int) -> dict[str, float]:
    """Write the annotations, and read and validate them in a fresh interpreter."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "annotations.jsonl"
        write_annotations(path, rows)
        return child.in_its_own_process("scale.annotations", path) | {"input_bytes": path.stat().st_size}


def measure(rows: int | None = None) -> list[Row]:
    """Return peak memory and time at so many annotations, and the growth from a tenth of them."""
    size = rows or ROWS
    small, large = in_its_own_process(size // 10), in_its_own_process(size)
    whole = size >= ROWS
    result = [row for number, values in ((size // 10, small), (size, large)) for row in _facts(number, values)]
    peak = large["peak_bytes"] / 1e9
    result.append(
        Row(f"{size:.0e} annotations: peak memory, GB", f"≤ {GIGABYTES:g}", peak, peak <= GIGABYTES if whole else None)
    )
    growth = large["seconds"] / size / (small["seconds"] / (size // 10))
    what = f"seconds per annotation, {size:.0e} against {size // 10:.0e}"
    return [*result, Row(what, f"≤ {GROWTH:g}", growth, growth <= GROWTH if whole else None)]


def _facts(number: int, values: dict[str, float]) -> list[Row]:
    name = f"{number:.0e} annotations of {values['input_bytes'] / number:.0f} bytes"
    above = (values["peak_bytes"] - values["before_bytes"]) / number
    return [
        Row(f"{name}: input, GB", "", values["input_bytes"] / 1e9, None),
        Row(f"{name}: seconds", "", values["seconds"], None),
        Row(f"{name}: peak bytes per annotation", "", values["peak_bytes"] / number, None),
        Row(f"{name}: of these, above what the libraries took", "", above, None),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    print(json.dumps(read_and_validate(parser.parse_args().file)))
