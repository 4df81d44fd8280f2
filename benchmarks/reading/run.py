"""Measure what reading a file costs beside `datasets.load_dataset` alone in the same run; fail when a target is missed.

    python -m benchmarks.reading.run [--only FORMAT …] [--rows N] [--pairs N] [--output DIR]

Each reading is a process of its own. The two read in turns, and the medians over the pairs of readings are compared.
What was measured at fewer rows than promised is printed, not judged.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.child import in_its_own_process
from benchmarks.reading.files import FORMATS, write_file
from benchmarks.reading.readers import READERS
from benchmarks.table import Row, conclude, print_rows

ROWS = 10**6
PAIRS = 3
TIMES, SIZES = 3.0, 2.0
"""As much time as loading alone; memory above loading's, in sizes of the file."""
RESULTS = Path(__file__).resolve().parents[1] / "results/reading"


def measure(file_format: str, rows: int, pairs: int) -> list[Row]:
    """Return time and peak memory of reading so many rows beside those of loading alone."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"annotations.{file_format}"
        unpacked = write_file(path, rows)
        runs = [_pair(path, rows) for _ in range(pairs)]
        return _rows(f"{rows:.0e} rows", path.stat().st_size, unpacked, runs, judged=rows >= ROWS)


def _pair(path: Path, rows: int) -> dict[str, dict[str, float]]:
    values = {reader: in_its_own_process("reading.readers", reader, path) for reader in READERS}
    assert all(measured["rows"] == rows for measured in values.values()), "every row is read"
    return values


def _rows(name: str, size: int, unpacked: int, runs: list[dict[str, dict[str, float]]], judged: bool) -> list[Row]:
    times = median(run["read"]["seconds"] / run["alone"]["seconds"] for run in runs)
    above = median(_taken(run["read"]) - _taken(run["alone"]) for run in runs)
    return [
        Row(f"{name}: file, MB", "", size / 1e6, None),
        *_facts(name, "datasets alone", [run["alone"] for run in runs]),
        *_facts(name, "read_annotations", [run["read"] for run in runs]),
        Row(f"{name}: seconds, against datasets alone", f"≤ {TIMES:g}", times, times <= TIMES if judged else None),
        Row(
            f"{name}: peak memory above datasets alone, in sizes of the file",
            f"≤ {SIZES:g}",
            above / size,
            above / size <= SIZES if judged else None,
        ),
        Row(f"{name}: the same, in sizes of the file unpacked", "", above / unpacked, None),
    ]


def _taken(run: dict[str, float]) -> float:
    return run["peak_bytes"] - run["before_bytes"]


def _facts(name: str, reader: str, runs: list[dict[str, float]]) -> list[Row]:
    return [
        Row(f"{name}: seconds, {reader}", "", median(run["seconds"] for run in runs), None),
        Row(f"{name}: peak MB above the imports, {reader}", "", median(map(_taken, runs)) / 1e6, None),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure the formats named; return 1 when a target is missed."""
    options = _parse(arguments)
    results: dict[str, list[Row]] = {}
    for file_format in options.only or FORMATS:
        begin = time.perf_counter()
        results[file_format] = measure(file_format, options.rows, options.pairs)
        print_rows(file_format, results[file_format], time.perf_counter() - begin)
    return conclude(results, options.output, {"rows": options.rows, "pairs": options.pairs})


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FORMATS, help="these formats only")
    parser.add_argument("--rows", type=int, default=ROWS, help="another size than the promised one")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="readings by each of the two")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory for the table and JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
