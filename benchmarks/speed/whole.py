"""A whole training with the command's defaults, the tiny base included, in a process of its own."""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import repo
from repo import load_settings, read_annotations, train, validate


def measure(annotations: Path, overrides: list[str]) -> dict[str, Any]:
    """Return the seconds of the training, what it trained on, and where the package was found."""
    settings = load_settings(None, tuple(overrides))
    table = validate(read_annotations(str(annotations), settings.data), settings).annotations
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        result = train(table, settings, Path(folder))
        seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "annotations": result.summary["annotations"],
        "comparisons": result.summary["comparisons"],
        "package": str(Path(repo.__file__).resolve().parents[1]),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--set", nargs="*", default=[], dest="overrides", help="settings other than the defaults")
    options = parser.parse_args()
    print(json.dumps(measure(options.annotations, options.overrides)))
