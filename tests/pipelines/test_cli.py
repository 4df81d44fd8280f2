"""The command line: help everywhere, no work before it is needed, mistakes as text."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from pipeline_runs import Run

from pipelines.compiling import COMPILED, check_compiled
from repo.errors import UserError
from repo.settings import Settings, from_parameters, load_settings, to_parameters
from repo.tracking.store import Store

COMMANDS = (
    "demo",
    "fortnight",
    "retrain",
    "inspect",
    "inbox",
    "run",
    "reliability",
    "models",
    "submit",
    "schedule",
    "hooks",
    "ui",
    "settings",
    "simulate",
    "compile",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(repo_pipeline: Run, command: str) -> None:
    done = repo_pipeline(command, "--help")
    assert done.returncode == 0
    assert f"repo-pipeline {command}" in done.stdout


def test_starting_imports_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "kfp", "pandas", "datasets")
    code = f"import sys, pipelines.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_where_torch_is_not_installed_the_extra_that_brings_it_is_named() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from pipelines.cli import main; main(['run', '--data', 'simulated'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == 'error: torch is not installed here\n  → pip install "repo-pipeline[train]"\n'


def test_printed_settings_are_a_valid_configuration(repo_pipeline: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(repo_pipeline("settings", "--set", "train.loss=ipo", "--set", "policy.lora.rank=4").stdout)
    assert load_settings(file) == load_settings(None, ["train.loss=ipo", "policy.lora.rank=4"])


@pytest.mark.parametrize(
    "overrides",
    [[], ["train.loss=cpo", "train.loss_options={beta: 0.5}", "policy.lora.rank=4", "train.learning_rate=1e-5"]],
)
def test_settings_survive_as_pipeline_parameters(overrides: list[str]) -> None:
    settings = load_settings(None, overrides)
    parameters = to_parameters(settings)
    config = parameters.pop("config")
    assert from_parameters(parameters, config) == settings
    assert isinstance(parameters["learning_rate"], str)


def test_a_setting_given_both_as_parameter_and_in_config_is_refused() -> None:
    parameters = to_parameters(Settings())
    parameters.pop("config")
    with pytest.raises(UserError, match="pipeline parameter loss"):
        from_parameters(parameters, "train: {loss: ipo}")


def test_the_committed_yaml_is_what_the_code_compiles_to() -> None:
    check_compiled(COMPILED)


def test_stale_yaml_is_noticed(repo_pipeline: Run, tmp_path: Path) -> None:
    assert repo_pipeline("compile", "--output", tmp_path).returncode == 0
    file = tmp_path / "training.yaml"
    file.write_text(file.read_text() + "\n")
    done = repo_pipeline("compile", "--output", tmp_path, "--check")
    assert done.returncode == 1
    assert "training.yaml" in done.stderr


def test_no_step_of_the_compiled_pipeline_is_cached() -> None:
    def tasks(node: object) -> list[dict[str, object]]:
        if not isinstance(node, dict):
            return []
        here = list(node["tasks"].values()) if isinstance(node.get("tasks"), dict) else []
        return here + [task for child in node.values() for task in tasks(child)]

    spec = next(iter(yaml.safe_load_all((COMPILED / "training.yaml").read_text())))
    found = [task for task in tasks(spec) if str(task["componentRef"]["name"]) not in ("comp-exit-handler-1",)]  # type: ignore[index]
    assert len(found) >= 10
    assert not [task for task in found if task.get("cachingOptions", {}).get("enableCache")]  # type: ignore[attr-defined]


def test_the_compiled_pipeline_has_no_default_data() -> None:
    spec = next(iter(yaml.safe_load_all((COMPILED / "training.yaml").read_text())))
    data = spec["root"]["inputDefinitions"]["parameters"]["data"]
    assert "defaultValue" not in data
    assert not data.get("isOptional")


def test_simulated_annotations_are_written_as_an_example(repo_pipeline: Run, tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    done = repo_pipeline("simulate", "--output", file, "--set", "simulation.comparisons=5")
    assert done.returncode == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"prompt", "response_a", "response_b", "preference", "annotator_id"} <= set(rows[0])


def test_a_simulated_inbox_is_written_whole_into_a_directory_of_its_own(repo_pipeline: Run, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    simulate = ("simulate", "--batches", "3", "--output", inbox, "--set", "simulation.comparisons=9")
    assert repo_pipeline(*simulate).returncode == 0
    assert sorted(path.name for path in inbox.iterdir()) == ["day-01.jsonl", "day-02.jsonl", "day-03.jsonl"]
    again = repo_pipeline(*simulate)
    assert again.returncode == 1
    assert "holds 'day-01.jsonl', and only a new or empty directory will do" in again.stderr
    assert "choose another --output, or empty that directory" in again.stderr


def test_models_of_a_store_that_is_not_there_says_how_to_make_one(repo_pipeline: Run, tmp_path: Path) -> None:
    done = repo_pipeline("models", "--store", tmp_path / "none")
    assert (done.returncode, "repo-pipeline demo" in done.stdout) == (0, True)
    assert json.loads(repo_pipeline("models", "--json", "--store", tmp_path / "none").stdout) == []
    assert not (tmp_path / "none").exists()


def test_a_port_in_use_is_named_with_a_free_one(repo_pipeline: Run, tmp_path: Path) -> None:
    Store(tmp_path).open_experiment("repo")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = repo_pipeline("ui", "--store", tmp_path, "--port", str(port))
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr.replace(f"port {port}", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "train.los=ipo"], "train.loss"),
        (["--set", "train.loss=dop"], "dpo, ipo, simpo, cpo"),
        (["--set", "train.learning_rate=-1"], "train.learning_rate = -1"),
        (["--set", "train.max_gradient_norm=.nan"], "train.max_gradient_norm = nan"),
        (["--set", "policy.tiny.hidden=130"], "policy.tiny.hidden to a multiple of 8"),
        (["--set", "policy.max_length=256"], "policy.max_prompt_length=128"),
        (["--set", "policy.base=./no-such-model"], "no-such-model"),
        (["--set", "policy.base=~/few"], "policy.max_length=256"),
        (["--set", "policy.base=~nobody/gpt2"], "~nobody/gpt2"),
        (["--set", "data.pseudonymise=true"], "REPO_PSEUDONYM_KEY"),
        (["--set", "reliability.prior_state=gone.json"], "gone.json"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--store", "file"], "--store"),
    ],
    ids=[
        "misspelt key",
        "unknown loss",
        "negative rate",
        "no number",
        "unequal heads",
        "no room for a response",
        "missing model",
        "few positions",
        "missing home",
        "no key",
        "missing prior state",
        "missing config",
        "missing data",
        "unusable store",
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    repo_pipeline: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "config.json").write_text('{"model_type": "gpt2", "n_positions": 256}')
    (tmp_path / "votes.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    defaults = {"--data": "votes.jsonl", "--store": "store"}
    given = defaults | dict(zip(arguments[::2], arguments[1::2], strict=True))
    done = repo_pipeline("run", *(part for pair in given.items() for part in pair), cwd=tmp_path, HOME=str(tmp_path))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("tags", "words"),
    [({}, "has no tag model_digest"), ({"model_digest": "0" * 64}, "cannot be evaluated")],
    ids=["registered by hand", "files gone"],
)
def test_a_champion_that_nothing_can_be_compared_with_is_told_before_any_training(
    repo_pipeline: Run, tmp_path: Path, tags: dict[str, str], words: str
) -> None:
    store = Store(tmp_path / "store")
    store.open_experiment("repo")
    client = MlflowClient(tracking_uri=store.tracking_uri, registry_uri=store.tracking_uri)
    client.create_registered_model("repo-policy")
    client.create_model_version("repo-policy", source=(tmp_path / "gone").as_uri(), tags=tags)
    client.set_registered_model_alias("repo-policy", "champion", "1")
    rows = ({"prompt": f"p{i}", "chosen": "yes", "rejected": "no"} for i in range(40))
    (tmp_path / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = repo_pipeline("run", "--data", tmp_path / "votes.jsonl", "--store", store.root)
    assert done.returncode == 1
    assert "the champion (version 1)" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((store.root / "pipeline").glob("*"))
