"""Annotation files to read: the same synthetic comparisons as JSON lines, CSV or Parquet."""

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.scale.words import text

VOTES = 3
FORMATS = ("jsonl", "csv", "parquet")
_GROUP = 2**17
"""Rows of a Parquet row group."""
_TIES = 0.05


def write_file(path: Path, rows: int) -> int:
    """Write so many annotations in the format that the name ends in; return their size in memory, as Arrow holds them.

    The size in memory is that of a Parquet file alone: the other formats are as large in memory as on the disk.
    """
    if path.suffix == ".parquet":
        return _write_parquet(path, rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in _annotations(rows))
        else:
            _write_csv(csv.writer(file), rows)
    return path.stat().st_size


def _write_csv(writer: Any, rows: int) -> None:
    for number, row in enumerate(_annotations(rows)):
        if not number:
            writer.writerow(row)
        writer.writerow(row.values())


def _write_parquet(path: Path, rows: int) -> int:
    size, remaining = 0, _annotations(rows)
    first = pa.Table.from_pylist(list(islice(remaining, _GROUP)))
    with parquet.ParquetWriter(path, first.schema) as writer:
        while first.num_rows:
            writer.write_table(first)
            size += first.nbytes
            first = pa.Table.from_pylist(list(islice(remaining, _GROUP)), schema=first.schema)
    return size


def _annotations(rows: int) -> Iterator[dict[str, str]]:
    """Yield rows with texts of 20 to 80 characters, three votes a comparison, a hundred an annotator."""
    random = np.random.default_rng(0)
    for number in range(0, rows, VOTES):
        prompt, first, second = (text(random, words) for words in random.integers(5, 16, size=3))
        for chance in random.random(min(VOTES, rows - number)).tolist():
            yield {
                "comparison_id": f"pair-{number // VOTES}",
                "prompt": prompt,
                "response_a": first,
                "response_b": second,
                "preference": "tie" if chance > 1 - _TIES else "ab"[chance > 0.5],
                "annotator_id": f"worker-{random.integers(max(rows // 100, VOTES))}",
            }
