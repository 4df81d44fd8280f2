import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
BUILD = ROOT / "infra/images/build.py"
ENGINE = ROOT / ".ci/engine"
TARGETS = ("base", "train")
BOUNDS = {"base": 1.0e9, "train": 2.5e9}
TRAINS = """
import accelerate, peft, torch, transformers
import repo.policy.loading, repo.reliability.online.equations
assert (torch.eye(2) @ torch.ones(2, 2)).sum() == 4
print(torch.__version__, torch.cuda.is_available())
"""


def test_the_images_are_the_ones_that_the_components_name(images):
    from components import images as named

    assert images == {"base": named.BASE, "train": named.TRAIN}


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_says_what_it_was_built_from(images, target):
    labels = json.loads(_inspect(images[target], "{{json .Config.Labels}}"))
    assert labels["org.opencontainers.image.version"] == VERSION
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.title"] == images[target].partition(":")[0]
    assert "org.opencontainers.image.source" in labels


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_no_larger_than_it_may_be(images, target):
    assert int(_inspect(images[target], "{{.Size}}")) < BOUNDS[target]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_names_a_user_who_is_not_root(images, target):
    assert _inspect(images[target], "{{.Config.User}}") == "10001:0"


@pytest.mark.parametrize("target", TARGETS)
def test_a_user_whom_nobody_knows_writes_to_tmp_alone(images, run, target):
    script = """
import getpass, os, pathlib, tempfile
assert os.getuid() == 1000770000
assert getpass.getuser() == "repo"
pathlib.Path.home().joinpath("written").write_text("")
tempfile.NamedTemporaryFile()
for folder in ("/", "/opt/venv", "/var/tmp", os.path.dirname(__import__("repo").__file__)):
    try:
        pathlib.Path(folder, "written").write_text("")
    except OSError:
        continue
    raise SystemExit(f"{folder} can be written to")
"""
    run(images[target], "python3", "-c", script)


@pytest.mark.parametrize("target", TARGETS)
def test_the_drivers_and_kubeflow_are_inside_and_pip_and_compilers_are_not(images, run, target):
    modules = (
        "kfp, kfp.kubernetes, s3fs, boto3, gcsfs, psycopg2, mlflow.server.auth, great_expectations, matplotlib.pyplot"
    )
    run(images[target], "python3", "-c", f"import {modules}")
    for command in ("pip", "pip3", "gcc", "cc", "make", "git"):
        assert run(images[target], "sh", "-c", f"command -v {command}", check=False).returncode != 0, command
    own = run(images[target], "python3", "-c", "import sys; print(sys._base_executable)").stdout.strip()
    for python in ("python3", own):
        assert "No module named pip" in run(images[target], python, "-m", "pip", check=False).stderr


def test_only_the_train_image_has_torch_and_it_is_the_cpu_s(images, run):
    assert run(images["train"], "python3", "-c", TRAINS).stdout.split() == ["2.13.0+cpu", "False"]
    for package in ("torch", "transformers", "peft", "accelerate", "setuptools"):
        found = run(images["base"], "python3", "-c", f"import {package}", check=False)
        assert f"No module named '{package}'" in found.stderr


def test_the_command_line_runs_in_the_base_image_and_names_the_extra_it_lacks(images, run):
    assert "Commands:" in run(images["base"], "repo-pipeline", "--help").stdout
    asked = run(images["base"], "repo-pipeline", "run", "--data", "simulated", check=False)
    assert asked.returncode == 1
    assert 'pip install "repo-pipeline[train]"' in asked.stderr
    assert "Traceback" not in asked.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_every_package_has_the_version_that_the_lock_names(images, run, target):
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").split())
    found = _packages(run, images[target])
    assert found.pop("repo-pipeline") == VERSION
    assert {name: version.partition("+")[0] for name, version in found.items()} == {name: lock[name] for name in found}


@pytest.mark.parametrize("target", TARGETS)
def test_every_package_finds_what_it_requires(images, run, target):
    script = """
from importlib.metadata import distributions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
found = {canonicalize_name(one.metadata["Name"]): one for one in distributions()}
for one in found.values():
    for line in one.requires or ():
        needs = Requirement(line)
        if needs.marker is None or needs.marker.evaluate({"extra": ""}):
            version = found[canonicalize_name(needs.name)].version
            assert needs.specifier.contains(version, prereleases=True), (one.name, line, version)
"""
    run(images[target], "python3", "-c", script)


@pytest.mark.parametrize("target", TARGETS)
def test_modules_are_compiled_when_built(images, run, target):
    script = """
import os, pandas, repo.settings
assert os.path.exists(pandas.__cached__)
assert os.path.exists(repo.settings.__cached__)
"""
    run(images[target], "python3", "-c", script)


@pytest.mark.parametrize("target", TARGETS)
def test_the_bill_of_materials_is_valid(images, target):
    code = """
import json, pathlib, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
version = SchemaVersion.from_version(json.loads(text)["specVersion"])
sys.exit(str(JsonStrictValidator(version).validate_str(text) or "") or None)
"""
    done = subprocess.run(
        [ROOT / ".venv-sbom/bin/python", "-c", code, _bill(images[target])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_the_bill_of_materials_names_every_package_and_version(images, run, target):
    bill = json.loads(_bill(images[target]).read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    listed = {_canonical(one["name"]): one["version"] for one in bill["components"]}
    found = _packages(run, images[target])
    assert bill["metadata"]["component"]["name"] == "repo-pipeline"
    assert {**listed, "repo-pipeline": VERSION} == found
    assert ("torch" in listed) == (target == "train")


def test_a_second_build_takes_every_layer_from_the_cache(images):
    before = [_inspect(images[target], "{{.Id}}") for target in TARGETS]
    built = subprocess.run([sys.executable, BUILD], capture_output=True, text=True, check=True, timeout=300)
    assert "Running in" not in built.stdout
    assert [_inspect(images[target], "{{.Id}}") for target in TARGETS] == before


def test_without_an_engine_the_build_says_so_in_one_line(tmp_path):
    nowhere = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    asked = subprocess.run(
        [sys.executable, BUILD], capture_output=True, text=True, check=False, env=nowhere, timeout=60
    )
    assert asked.returncode == 1
    assert asked.stderr.startswith("no Docker engine: ")
    assert asked.stderr.count("\n") == 1


def test_without_an_engine_no_test_of_containers_passes_by_being_skipped(tmp_path):
    nowhere = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    asked = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=nowhere, timeout=60)
    assert asked.returncode == 1
    assert "no Docker engine: " in asked.stdout + asked.stderr


def test_an_engine_that_may_not_be_started_says_so_in_one_line(tmp_path):
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"] if os.getuid() == 0 else []
    folder = tmp_path / "engine"
    folder.mkdir()
    asked = subprocess.run(
        [*command, "bash", "-s", folder],
        input=ENGINE.read_text(encoding="utf-8"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert asked.returncode == 1
    assert asked.stderr.startswith("no Docker engine: dockerd needs root")
    assert asked.stderr.count("\n") == 1


@pytest.mark.parametrize("folder", ["repo", "components", "pipelines"])
def test_a_change_in_our_code_rebuilds_the_last_layer_alone(images, tmp_path, folder):
    for name in ("pyproject.toml", "requirements.lock", "README.md", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("repo", "components", "pipelines", "infra/images"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "build"))
    with (tmp_path / folder / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("CHANGED = True\n")
    for target in TARGETS:
        tag = f"{images[target]}-changed"
        command = ["docker", "build", "--network", "host", "--file", tmp_path / "infra/images/Dockerfile"]
        try:
            subprocess.run(
                [*command, "--target", target, "--tag", tag, tmp_path], capture_output=True, check=True, timeout=300
            )
            before, after = _layers(images[target]), _layers(tag)
        finally:
            subprocess.run(["docker", "image", "rm", "--force", tag], capture_output=True, check=False)
        assert after[:-1] == before[:-1]
        assert after[-1] != before[-1]


def _bill(tag: str) -> Path:
    return ROOT / f"infra/images/build/{tag.partition(':')[0]}.cdx.json"


def _inspect(tag: str, what: str) -> str:
    command = ["docker", "image", "inspect", "--format", what, tag]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _layers(tag: str) -> list[str]:
    return json.loads(_inspect(tag, "{{json .RootFS.Layers}}"))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _packages(run, tag: str) -> dict[str, str]:
    script = (
        "from importlib.metadata import distributions\nfor d in distributions(): print(d.metadata['Name'], d.version)"
    )
    lines = run(tag, "python3", "-c", script).stdout.splitlines()
    return {_canonical(name): version for name, version in map(str.split, lines)}
