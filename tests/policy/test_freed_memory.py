"""What a step frees is there for the next one, and goes back to the system afterwards."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repo.policy.memory import freed_memory_kept

SIZE = 2**23
"""Float32 numbers: 32 MB."""


def faults() -> int:
    """Return how many fresh pages twenty tensors, one after another, cost."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(SIZE)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def main() -> None:
    before = resident()
    with freed_memory_kept():
        faults()  # until there is enough
        kept = faults()
        held = resident() - before
    print(kept, held, faults(), resident() - before)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_is_kept_within_the_block_and_given_back_after_it() -> None:
    done = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    kept, held, given_back, left = map(int, done.stdout.split())
    assert kept < given_back / 2
    assert held > 4 * SIZE * 0.9
    assert left < held / 2


if __name__ == "__main__":
    main()
