"""Print the requirements of pyproject.toml, those of the extras named with them: `requirements.py s3 gcs`.

The image's dependencies have a layer of their own, which our code must not be needed for.
"""

import sys
import tomllib
from pathlib import Path


def main(*extras: str) -> None:
    """Print one requirement a line."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    print(*project["dependencies"], *(name for extra in extras for name in optional[extra]), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
