"""The small form of benchmarks/scale: what a comparison costs in memory while it is tokenized and batched."""

from benchmarks.child import in_its_own_process

SIZES = (5_000, 15_000)
"""Both larger than the chunks that are tokenized at once, whose memory is the same at any size."""
BOUND = 8_000
"""Bytes a comparison, its texts of 1.1 kB included: a million stay within a third of 24 GB, which leaves room for
several annotations each. With all texts and tokens as Python objects at once it was 33 kB."""


def test_more_comparisons_take_that_much_more_memory() -> None:
    small, large = (in_its_own_process("scale.comparisons", size) for size in SIZES)
    assert (small["comparisons"], large["comparisons"]) == SIZES
    assert (large["peak_bytes"] - small["peak_bytes"]) / (SIZES[1] - SIZES[0]) < BOUND
