"""What one step hands to the next: the address of bytes kept in MLflow, and the digest they must have.

A Kubeflow artifact holds just this pointer, so the bytes are stored once and lineage shows in both user interfaces.
"""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from repo.errors import UserError
from repo.files import read_json, text_digest, tree_digest, write_json


@dataclass(frozen=True)
class Pointer:
    """An address in MLflow and the digest of what lies there.

    Args:
        mlflow_uri: `runs:/RUN_ID/NAME` for a step's result, `models:/MODEL_ID` for a policy.
        digest: SHA-256 (hex) as `content_digest` computes it.
    """

    mlflow_uri: str
    digest: str

    @property
    def metadata(self) -> dict[str, str]:
        """The pointer as metadata of a Kubeflow artifact (strings only: its backend refuses some other types)."""
        return asdict(self)


def write_pointer(pointer: Pointer, path: Path | str) -> None:
    """Write the pointer as the JSON file that is the Kubeflow artifact."""
    write_json(Path(path), asdict(pointer))


def read_pointer(path: Path | str) -> Pointer:
    """Read what write_pointer wrote."""
    return Pointer(**read_json(Path(path)))


def figures_metadata(figures: Mapping[str, float]) -> dict[str, float | str]:
    """Return figures as metadata of a Kubeflow artifact, where a number that is not finite breaks the whole step."""
    return {name: value if math.isfinite(value) else "not finite" for name, value in figures.items()}


def content_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a directory, leaving out the note that MLflow adds to a model it has loaded."""
    from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME as NOTE

    if not (path / "MLmodel").is_file():
        return tree_digest(path)
    entries = sorted(entry for entry in path.iterdir() if entry.name != NOTE)
    return text_digest(*(text for entry in entries for text in (entry.name, tree_digest(entry))))


def fetch(pointer: Pointer, destination: Path | None = None) -> Path:
    """Download what the pointer names and check it against the digest.

    Args:
        pointer: what to fetch.
        destination: directory to download into. Without it, artifacts on this machine's disk are read where they lie,
            so treat the result as read-only.

    Returns:
        The directory with the content.

    Raises:
        UserError: nothing can be downloaded from there, or the content is not what was published.
    """
    import mlflow

    from repo.tracking.rights import missing_right

    try:
        found_at = location(pointer.mlflow_uri)
        path = Path(mlflow.artifacts.download_artifacts(found_at, dst_path=str(destination) if destination else None))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise missing_right(error) or UserError(
            f"{pointer.mlflow_uri}: cannot be downloaded from {mlflow.get_tracking_uri()}: {error}",
            "check that this is the store it was published to and that its artifacts still exist, then run again",
        ) from error
    found = content_digest(path)
    if found != pointer.digest:
        raise UserError(
            f"{pointer.mlflow_uri}: content has changed since it was published\n"
            f"  published: {pointer.digest}\n  found:     {found}",
            "restore the artifact, or run the pipeline again to publish it anew",
        )
    return path


def verify(pointer: Pointer) -> None:
    """Check what the pointer names against the digest; what has to be downloaded for that is not kept.

    Raises:
        UserError: as `fetch`.
    """
    with tempfile.TemporaryDirectory() as directory:
        fetch(pointer, None if lies_here(location(pointer.mlflow_uri)) else Path(directory))


def lies_here(address: str) -> bool:
    """Whether what `location` returned is on this machine's disk, where it can be read as it lies."""
    return urlsplit(address).scheme in ("", "file")


def location(mlflow_uri: str) -> str:
    """Where the bytes lie. Asked for by run, MLflow copies even local files; by model, it adds its note to them."""
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository
    from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

    kind = ModelsArtifactRepository if mlflow_uri.startswith("models:/") else RunsArtifactRepository
    return str(kind.get_underlying_uri(mlflow_uri))
