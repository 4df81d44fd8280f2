"""Time and memory of EM at up to 10⁸ annotations, in units of copying the input once.

Each size runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.memory import peak_bytes
from benchmarks.table import Row
from repo.reliability.em.algorithms import Problem, e_step, m_step
from repo.reliability.em.calibration import CalibrationPrior
from repo.reliability.em.expectation import Parameters
from repo.reliability.em.votes import Array, group_votes

VOTES = 4
LABELS_PER_ANNOTATOR = 100
COPIES = 15.0
MEMORY = 3.0


def annotations(size: int) -> dict[str, Array]:
    """Return int32 ids, int8 labels and float32 margins of `size` annotations, four to a comparison, in chunks."""
    random = np.random.default_rng(0)
    annotators, comparisons = max(size // LABELS_PER_ANNOTATOR, 2), size // VOTES
    eta = random.uniform(0.55, 0.97, annotators).astype(np.float32)
    arrays = {
        "annotator": np.empty(size, np.int32),
        "label": np.empty(size, np.int8),
        "comparison": np.empty(size, np.int32),
        "margin": np.empty(size, np.float32),
    }
    for begin in range(0, comparisons, 2**20):
        number = min(2**20, comparisons - begin)
        margin = 2 * random.standard_normal(number, np.float32)
        truth = np.where(random.random(number, np.float32) < 1 / (1 + np.exp(-margin)), 1, -1).astype(np.int8)
        who = random.integers(0, annotators, number * VOTES, np.int32)
        right = random.random(number * VOTES, np.float32) < eta[who]
        rows = slice(begin * VOTES, (begin + number) * VOTES)
        arrays["annotator"][rows] = who
        arrays["label"][rows] = np.where(right, 1, -1) * np.repeat(truth, VOTES)
        arrays["comparison"][rows] = np.repeat(np.arange(begin, begin + number, dtype=np.int32), VOTES)
        arrays["margin"][rows] = np.repeat(margin, VOTES)
    return arrays


def best_of(times: int, action: Callable[[], object]) -> float:
    """Return the shortest wall time in seconds."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def measure(size: int) -> dict[str, float]:
    """Time one copy of the input, its preparation, and EM iterations with calibration; report peak memory."""
    arrays = annotations(size)
    before = peak_bytes()
    nbytes = sum(array.nbytes for array in arrays.values())
    # One array at a time, so that the copy does not set the peak.
    copy = sum(best_of(2, array.copy) for array in arrays.values())
    begin = time.perf_counter()
    votes = group_votes(**arrays, dtype=np.float32)
    preparation = time.perf_counter() - begin
    count = len(votes.annotators)
    prior, fixed = np.full((count, 1, 2), 0.5), np.zeros(count, bool)
    problem = Problem.of(votes, 1, prior, fixed, CalibrationPrior.of(votes, True, False), None)
    parameters = Parameters(np.full((count, 1), 0.9))

    def iterate() -> None:
        nonlocal parameters
        parameters = m_step(problem, parameters, e_step(problem, parameters))

    iteration = best_of(3, iterate)
    peak = peak_bytes()
    return {
        "annotations": size,
        "input_bytes": nbytes,
        "memory_before_bytes": before,
        "copy_seconds": copy,
        "preparation_seconds": preparation,
        "iteration_seconds": iteration,
        "peak_bytes": peak,
        "iteration_in_copies": iteration / copy,
        "peak_in_inputs": peak / nbytes,
    }


def in_its_own_process(size: int) -> dict[str, float]:
    """Run measure() in a fresh interpreter."""
    command = [sys.executable, "-m", "benchmarks.reliability.scale", str(size)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(result.stdout)
    return values


def rows(quick: bool = False) -> list[Row]:
    """Return iteration time, memory and linearity at 10⁶, 10⁷ and 10⁸ annotations (10⁵ and 10⁶ in the quick form)."""
    sizes = [10**5, 10**6] if quick else [10**6, 10**7, 10**8]
    measured = [in_its_own_process(size) for size in sizes]
    result = []
    for values in measured:
        name = f"{int(values['annotations']):.0e} annotations"
        copies, memory = values["iteration_in_copies"], values["peak_in_inputs"]
        detail = f"{values['iteration_seconds']:.3g} s; preparation {values['preparation_seconds']:.3g} s"
        # A small input is outweighed by the interpreter and its libraries.
        judged = values["annotations"] >= 10**8
        result.append(
            Row(
                f"{name}: iteration, in copies of the input ({detail})",
                f"≤ {COPIES:g}",
                copies,
                copies <= COPIES if judged else None,
            )
        )
        result.append(
            Row(f"{name}: peak memory, in inputs", f"≤ {MEMORY:g}", memory, memory <= MEMORY if judged else None)
        )
    per_row = [values["iteration_seconds"] / values["annotations"] for values in measured]
    growth = per_row[-1] / per_row[0]
    result.append(Row("time per annotation, largest against smallest", "≤ 3", growth, None if quick else growth <= 3))
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=int)
    print(json.dumps(measure(parser.parse_args().annotations)))
