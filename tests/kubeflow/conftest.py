"""A Kubeflow for the tests, and the command line as one of its users calls it."""

import os
from collections.abc import Iterator
from pathlib import Path

import kfp
import pytest
from click.testing import CliRunner, Result
from kubeflow_server import Call, Kubeflow, serving

from pipelines.cli import main


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    with serving(Kubeflow()) as server:
        yield server


@pytest.fixture
def call(kubeflow: Kubeflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run `repo-pipeline`; what the environment says of another Kubeflow does not count."""
    for name in os.environ:
        if name.startswith(("KFP_", "KF_PIPELINES_", "REPO_KFP_", "KUBERNETES_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / ".config" / "kfp" / "context.json"))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kubeflow.url)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run
