"""Time and memory of what computes: a GPU where one can be seen, this process on the CPU else."""

import time

from benchmarks import memory


def now() -> float:
    """Return the time in seconds at which everything asked for so far has been computed."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def held_bytes() -> int:
    """Return the memory that is held: tensors on the GPU, or what is resident."""
    import torch

    return torch.cuda.memory_allocated() if torch.cuda.is_available() else memory.resident_bytes()


def peak_bytes() -> int:
    """Return the most that was held since `reset_peak`."""
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else memory.peak_bytes()


def reset_peak() -> None:
    """Let the peak start anew from what is held now."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        memory.reset_peak()
