"""The small form of benchmarks/scale: what an annotation costs in memory does not depend on how many there are."""

import pytest

from benchmarks.scale.annotations import in_its_own_process

SIZES = (100_000, 300_000)
"""Both larger than the chunks that files are read in, whose memory is the same at any size."""
BOUND = 2_400
"""Bytes an annotation: 24 GB hold 10⁷ of them at that. It takes about 1,700."""


@pytest.mark.slow
def test_reading_and_validating_more_annotations_takes_that_much_more_memory() -> None:
    small, large = (in_its_own_process(size) for size in SIZES)
    assert (small["rows_read"], large["rows_read"]) == SIZES
    assert (large["peak_bytes"] - small["peak_bytes"]) / (SIZES[1] - SIZES[0]) < BOUND
