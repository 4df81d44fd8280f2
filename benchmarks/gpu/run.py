"""Measure the training engine on a GPU beside TRL's; fail when a target is missed.

    python -m benchmarks.gpu.run [--quick] [--only NAME …] [--output DIR]

Policies with the shapes of Qwen2-0.5B, Llama-3.2-1B and Mistral-7B (its adapters trained) and random weights, in
bfloat16, on comparisons of 2,048 tokens. Results are written after every row: what was measured before a limit of time
ended the run stands in them. Without a GPU only the quick form runs, on the CPU.
"""

import sys
import time
from pathlib import Path

from benchmarks.gpu.beside import CONTESTS, rows
from benchmarks.running import parse_options
from benchmarks.table import Row, conclude, print_rows, write_results

RESULTS = Path(__file__).resolve().parents[1] / "results/gpu"
MINUTES = 6.0
"""Time that all shapes together may take."""


def main(arguments: list[str] | None = None) -> int:
    """Run the shapes named; return 1 when a target is missed, 2 when there is no GPU."""
    quick = "small shapes and short comparisons; no target judged"
    options = parse_options(__doc__, quick, tuple(CONTESTS), RESULTS, arguments)
    if not options.quick and not _has_gpu():
        print("no GPU can be seen: --quick runs small shapes on the CPU", file=sys.stderr)
        return 2
    facts = {"quick": options.quick}
    ends = time.monotonic() + 60 * MINUTES
    results: dict[str, list[Row]] = {}
    for name in options.only or CONTESTS:
        begin = time.perf_counter()
        results[name] = []
        for row in rows(name, options.quick, ends):
            results[name].append(row)
            write_results(results, options.output, facts)
        print_rows(name, results[name], time.perf_counter() - begin)
    return conclude(results, options.output, facts)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    sys.exit(main())
