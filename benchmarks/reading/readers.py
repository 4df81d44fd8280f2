"""Time and memory of reading one file, by us or by the `datasets` library alone; run in a process of its own."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import datasets

from benchmarks.memory import peak_bytes
from benchmarks.reading.files import write_file
from repo.annotations.reading.reader import read_annotations
from repo.settings import Settings

_BUILDERS = {".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


def load_alone(path: Path) -> int:
    """Load a file by the `datasets` library, into a cache of its own; return its rows."""
    with tempfile.TemporaryDirectory() as cache:
        builder = _BUILDERS[path.suffix]
        return len(datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=cache))


def read(path: Path) -> int:
    """Read a file into the canonical table; return its rows."""
    result = read_annotations(str(path), Settings().data)
    assert not result.rejected, "the benchmark's own annotations are good"
    return len(result.annotations)


READERS: dict[str, Callable[[Path], int]] = {"alone": load_alone, "read": read}


def measure(reader: Callable[[Path], int], path: Path) -> dict[str, float]:
    """Return the seconds it took, this process's peak memory before and after, and the rows."""
    _warm_up(reader, path.suffix)
    before, begin = peak_bytes(), time.perf_counter()
    rows = reader(path)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "before_bytes": before, "peak_bytes": peak_bytes(), "rows": rows}


def _warm_up(reader: Callable[[Path], int], suffix: str) -> None:
    """Read a small file: imports take seconds and a few hundred megabytes, whatever the size."""
    with tempfile.TemporaryDirectory() as directory:
        small = Path(directory) / f"small{suffix}"
        write_file(small, 30)
        reader(small)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=list(READERS))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    print(json.dumps(measure(READERS[options.reader], options.file)))
