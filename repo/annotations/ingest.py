"""The first step: from a data source to validated annotations."""

import tempfile
from dataclasses import replace
from pathlib import Path

from repo.annotations.reading.reader import read_annotations
from repo.annotations.simulation import SOURCE, is_simulated, simulate
from repo.annotations.validation.suite import ValidationResult, validate
from repo.files import write_jsonl
from repo.settings import Settings


def ingest(source: str, settings: Settings) -> ValidationResult:
    """Read and validate annotations; the source "simulated" writes its own first and reads them like any other file.

    Raises:
        UserError: the source cannot be read, or is not in a layout we know. A batch that fails validation is returned:
            look at `passed`, or call `raise_if_failed`.
    """
    if not is_simulated(source):
        return validate(read_annotations(source, settings.data), settings)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"{SOURCE}.jsonl"
        write_jsonl(file, simulate(settings.simulation))
        read = read_annotations(str(file), settings.data)
    return validate(replace(read, annotations=read.annotations.assign(file=file.name)), settings)
