"""Measure the training engine on a GPU beside TRL's; fail when a target is missed.

    python -m benchmarks.gpu.run [--quick] [--only NAME …] [--minutes M] [--output DIR]

Policies with the shapes of Qwen2-0.5B, Llama-3.2-1B and Mistral-7B (its adapters trained) and random weights, in
bfloat16, on comparisons of 2,048 tokens. Results are written after every row: what was measured before a limit of time
ended the run stands in them. Without a GPU only the quick form runs, on the CPU.
"""

import sys
import time
from pathlib import Path

from benchmarks.gpu.beside import CONTESTS, rows
from benchmarks.running import options_parser
from benchmarks.table import Row, conclude, print_rows, write_results

RESULTS = Path(__file__).resolve().parents[1] / "results/gpu"
MINUTES = 6.0


def main(arguments: list[str] | None = None) -> int:
    """Run the shapes named; return 1 when a target is missed, 2 when there is no GPU."""
    parser = options_parser(__doc__, "small shapes and short comparisons; no target judged", tuple(CONTESTS), RESULTS)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time that all shapes together may take")
    options = parser.parse_args(arguments)
    if not options.quick and not _has_gpu():
        print("no GPU can be seen: --quick runs small shapes on the CPU", file=sys.stderr)
        return 2
    facts = {"quick": options.quick, "minutes": options.minutes}
    ends = time.monotonic() + 60 * options.minutes
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
