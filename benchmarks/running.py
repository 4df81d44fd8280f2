"""What the benchmarks that have figures and a quick form share: their options, and one section after another."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.reliability.figures import save
from benchmarks.table import Row, print_rows

Sections = Sequence[tuple[str, Callable[[bool], list[Row]]]]
"""Name → the function that measures it, in its quick form or not."""


def parse_options(
    description: str | None, quick: str, names: Sequence[str], results: Path, arguments: list[str] | None
) -> argparse.Namespace:
    """Return quick, only and output.

    Args:
        description: the module's docstring.
        quick: what the quick form is.
        names: of the benchmarks.
        results: where results go by default.
        arguments: the command line; None: this process's.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--only", nargs="+", choices=names, help="these benchmarks only")
    parser.add_argument("--output", type=Path, default=results, help="directory for table, JSON and figures")
    return parser.parse_args(arguments)


def measure_sections(
    sections: Sections, figures: Mapping[str, Callable[[bool], Figure]], options: argparse.Namespace
) -> dict[str, list[Row]]:
    """Measure the sections asked for, print each as it ends, and save the figures of those that have one."""
    results: dict[str, list[Row]] = {}
    for name, measure in sections:
        if options.only and name not in options.only:
            continue
        begin = time.perf_counter()
        results[name] = measure(options.quick)
        print_rows(name, results[name], time.perf_counter() - begin)
        if name in figures:
            save(figures[name](options.quick), options.output / f"{name}.svg")
    return results
