"""The pipelines as YAML that Kubeflow takes; the committed copies are what runs."""

import tempfile
from pathlib import Path

from repo.errors import UserError

COMPILED = Path(__file__).parent / "compiled"
"""The committed YAML, one file a pipeline."""


def compile_pipelines(directory: Path) -> list[Path]:
    """Compile every pipeline into `directory` and return the files."""
    from kfp import compiler

    from pipelines.retraining import retraining
    from pipelines.training import training

    directory.mkdir(parents=True, exist_ok=True)
    files = {directory / "training.yaml": training, directory / "retraining.yaml": retraining}
    for file, pipeline in files.items():
        compiler.Compiler().compile(pipeline, str(file))
    return list(files)


def check_compiled(directory: Path) -> None:
    """Check that the YAML in `directory` is what the code compiles to.

    Raises:
        UserError: a file is missing or stale.
    """
    with tempfile.TemporaryDirectory() as fresh:
        stale = [
            file.name
            for file in compile_pipelines(Path(fresh))
            if not (directory / file.name).is_file() or (directory / file.name).read_bytes() != file.read_bytes()
        ]
    if stale:
        raise UserError(
            f"{directory}: not up to date: {', '.join(stale)}", f"repo-pipeline compile --output {directory}"
        )
