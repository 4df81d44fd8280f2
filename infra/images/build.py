"""Build both images, hold their sizes to bounds, write what each is made of to infra/images/build/: `make images`."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
WHEELHOUSE = FOLDER / "wheelhouse"
BILLS = FOLDER / "build"
CYCLONEDX = ROOT / ".venv-sbom/bin/cyclonedx-py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GIGABYTE = 1e9


@dataclass(frozen=True)
class Image:
    """A target of the Dockerfile."""

    target: str
    name: str
    bound: float
    """Bytes, with torch for the CPU."""

    @property
    def tag(self) -> str:
        """Its name, at the package's version."""
        return f"{self.name}:{PROJECT['version']}"


IMAGES = (
    Image("base", "repo-pipeline-python", 1.0 * GIGABYTE),
    Image("train", "repo-pipeline-python-train", 2.5 * GIGABYTE),
)


def main() -> None:
    """Build, measure, and write the bills of materials; exit 1 where an image is over its bound."""
    options = _options()
    _find_engine()
    if options.torch == "cpu":
        _fill_wheelhouse()
    over = []
    for image in IMAGES:
        _build(image, options)
        size = int(_output("docker", "image", "inspect", "--format", "{{.Size}}", image.tag))
        bounded = image.target == "base" or options.torch == "cpu"
        bound = f" (bound {image.bound / GIGABYTE:.1f} GB)" if bounded else ""
        print(f"{image.tag}: {size / GIGABYTE:.2f} GB{bound}, {_write_bill(image).relative_to(ROOT)}", flush=True)
        if bounded and size >= image.bound:
            over.append(image.tag)
    if over:
        sys.exit(f"over the bound: {', '.join(over)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--torch", choices=("cpu", "cuda"), default="cpu", help="which build of torch the train image has"
    )
    parser.add_argument("--python", help="the image to build upon, instead of the Dockerfile's")
    parser.add_argument("--source", default="", help="the address of the source repository, for the images' label")
    return parser.parse_args()


def _find_engine() -> None:
    try:
        subprocess.run(["docker", "version"], capture_output=True, text=True, check=True, timeout=30)
    except FileNotFoundError:
        sys.exit("no docker command here: install Docker's client (Debian: docker.io)")
    except subprocess.TimeoutExpired:
        sys.exit(f"the Docker engine does not answer ({os.environ.get('DOCKER_HOST', 'its usual socket')})")
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"no Docker engine: {error.stderr.strip().splitlines()[-1]} (DOCKER_HOST names one, .ci/engine starts one)"
        )


def _fill_wheelhouse() -> None:
    """Fetch torch's CPU build where pip's own configuration has it at hand; else the Dockerfile asks torch's index."""
    locked = re.search(r"^torch==(\S+)$", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked, "requirements.lock names no torch"
    for wheel in WHEELHOUSE.glob("*.whl"):
        if not wheel.name.startswith(f"torch-{locked[1]}+cpu-"):
            wheel.unlink()
    if not any(WHEELHOUSE.glob("*.whl")):
        # Python and platform are the image's, whatever this one's are.
        kind = ("--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-index", "--no-deps", *kind)
        subprocess.run([*pip, "--dest", WHEELHOUSE, f"torch=={locked[1]}+cpu"], capture_output=True, check=False)


def _build(image: Image, options: argparse.Namespace) -> None:
    given = {"VERSION": PROJECT["version"], "REVISION": _revision(), "SOURCE": options.source}
    if image.target == "train":
        given["TORCH"] = options.torch
    if options.python:
        given["PYTHON"] = options.python
    arguments = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
    command = ["docker", "build", "--network", "host", "--file", FOLDER / "Dockerfile", "--target", image.target]
    if subprocess.run([*command, "--tag", image.tag, *arguments, ROOT], check=False).returncode:
        sys.exit(f"{image.tag} was not built; why stands above")


def _revision() -> str:
    """Return the commit, marked where the files are not the commit's."""
    commit = _output("git", "-C", str(ROOT), "rev-parse", "HEAD")
    return f"{commit}-dirty" if _output("git", "-C", str(ROOT), "status", "--porcelain") else commit


def _write_bill(image: Image) -> Path:
    """Write the CycloneDX bill of materials of the image's environment, read from the metadata of its packages."""
    BILLS.mkdir(exist_ok=True)
    bill = BILLS / f"{image.name}.cdx.json"
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        venv.create(environment)
        packages = next(environment.glob("lib/python*/site-packages"))
        listing = "cd /opt/venv/lib/python3*/site-packages && tar -c *.dist-info"
        archive = subprocess.run(
            ["docker", "run", "--rm", "--network", "none", image.tag, "sh", "-c", listing],
            capture_output=True,
            check=True,
        ).stdout
        subprocess.run(["tar", "-x", "-C", packages], input=archive, check=True)
        # Validated in the tests: that takes ten times as long as writing it.
        about = (
            "--pyproject",
            ROOT / "pyproject.toml",
            "--output-reproducible",
            "--no-validate",
            "--output-format",
            "JSON",
        )
        subprocess.run([CYCLONEDX, "environment", *about, "--output-file", bill, environment], check=True)
    return bill


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
