"""README is executed: its Python runs as it stands, and its commands exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repo.annotations.simulation import simulate
from repo.files import write_jsonl
from repo.settings import SimulationSettings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_library_example_runs_without_kubeflow_and_mlflow(tmp_path: Path) -> None:
    train, own_loss, estimate = blocks("python")
    write_jsonl(tmp_path / "votes.jsonl", simulate(SimulationSettings(comparisons=60, prompts=30)))
    stands_alone = "import sys; assert not {'kfp', 'mlflow'} & set(sys.modules), 'not stand-alone'"
    code = "\n".join([own_loss, train, estimate, stands_alone])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "adversarial-1" in done.stdout
    assert "carl  0.13" in done.stdout
    assert (tmp_path / "trained" / "policy" / "model.safetensors").is_file()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"repo-pipeline ([a-z]+)", README))))
def test_every_command_named_is_there(command: str) -> None:
    from pipelines.cli import main

    assert command in main.commands


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:`|^)make ([a-z-]+)", README, flags=re.MULTILINE))))
def test_every_make_target_named_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_every_setting_named_in_a_command_is_there() -> None:
    from repo.settings import load_settings

    for override in re.findall(r"--set (\S+=(?:\"[^\"]*\"|\S+))", README):
        load_settings(None, [override.replace('"', "")])


def test_every_path_named_is_there() -> None:
    for path in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (ROOT / path).is_file(), path
