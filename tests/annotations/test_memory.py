"""The small form of benchmarks/scale: what an annotation costs in memory does not depend on how many there are."""

from benchmarks.scale.annotations import in_its_own_process

SIZES = (100_000, 200_000)
BOUND = 1_800
"""Bytes an annotation. 24 GB hold 10⁷ of them at 2,400, and a tenth is left for what the libraries take and do at any
size. Two tables of texts take .5 kB an annotation each, numbers .2 kB; dicts of Python strings alone took 1.8 kB."""


def test_reading_and_validating_more_annotations_takes_that_much_more_memory() -> None:
    small, large = (in_its_own_process(size) for size in SIZES)
    assert (small["rows_read"], large["rows_read"]) == SIZES
    assert (large["peak_bytes"] - small["peak_bytes"]) / (SIZES[1] - SIZES[0]) < BOUND
