"""The images that `make images` built, run as a cluster that trusts nobody would run them."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from docker_runs import Desk
from interruptions import write_votes
from tracking_server import MlflowServer, tracking

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]

CONFINED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--user", "1000770000:0"),
)
"""No root, no capability, nothing written but to /tmp, and a user id nobody knows, as OpenShift gives them."""


def pytest_sessionstart() -> None:
    """End at once where no engine answers: these tests never pass by being skipped."""
    try:
        found = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        pytest.exit(f"no Docker engine: {error}", returncode=1)
    if found.returncode:
        pytest.exit(f"no Docker engine: {found.stderr.strip().splitlines()[-1]}", returncode=1)


def _build_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images_build", ROOT / "infra/images/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Return each target's tag."""
    return {image.target: image.tag for image in _build_script().IMAGES}


@pytest.fixture(scope="module")
def server(images: dict[str, str]) -> Iterator[MlflowServer]:
    """MLflow on PostgreSQL, with its address and password in this process's environment."""
    with tracking(images["base"]) as running, pytest.MonkeyPatch.context() as patched:
        for name, value in running.environment().items():
            patched.setenv(name, value)
        yield running


@pytest.fixture
def desk(server: MlflowServer, tmp_path: Path) -> Desk:
    """A desk of the test's own, with annotations on it."""
    write_votes(tmp_path / "votes.jsonl").chmod(0o644)
    return Desk(tmp_path, server, tmp_path.name.replace("_", "-"))


@pytest.fixture(scope="session")
def run() -> Run:
    """Return a function that runs a command in an image, confined, with no network."""

    def inside(tag: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        confined = ["docker", "run", "--rm", "--network", "none", *CONFINED, tag, *command]
        done = subprocess.run(confined, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done

    return inside
