"""The training pipeline, whole and real: compiled YAML, kfp's local runner, sqlite MLflow, a trained policy."""

import json
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from pipeline_runs import SMALL, Finished, Run, options
from public_face import DECISION, frozen, keys

from pipelines.cli import main
from repo.tracking.store import Store

STEPS = ["validate", "split", "train", "report", "evaluate", "gate", "register", "promote"]


@pytest.fixture
def client(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    for name, value in Store(finished.store).environment().items():
        monkeypatch.setenv(name, value)
    return MlflowClient()


def runs(client: MlflowClient, experiment_name: str = "repo-demo") -> list[MlflowRun]:
    experiment = client.get_experiment_by_name(experiment_name)
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))


def parents(client: MlflowClient, experiment_name: str = "repo-demo") -> list[MlflowRun]:
    return [run for run in runs(client, experiment_name) if "mlflow.parentRunId" not in run.data.tags]


def test_the_summary_says_what_a_new_user_asks(finished: Finished) -> None:
    for words in (*STEPS, "adversarial-1", "mean absolute error", "accuracy against gold", "verdict: promote", "ui"):
        assert words in finished.output
    report = next(line for line in finished.output.splitlines() if line.startswith("report: "))
    assert Path(report.removeprefix("report: ")).is_file()


def test_every_step_is_a_child_run_of_one_closed_parent(client: MlflowClient, finished: Finished) -> None:
    parent = parents(client)[0]
    children = [run for run in runs(client) if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in children) == sorted(STEPS)
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert parent.data.params["train.loss"] == "dpo"


def test_json_files_keep_their_keys(finished: Finished) -> None:
    expected = frozen()["json_files"]
    found = {}
    for name in expected:
        file = max(finished.store.glob(f"artifacts/**/{name}"), key=lambda path: path.stat().st_size)
        found[name] = keys(json.loads(file.read_text(encoding="utf-8")))
    assert found == expected, DECISION + "json_files"


def test_training_metrics_reach_mlflow_under_trl_s_names(client: MlflowClient) -> None:
    train = next(run for run in runs(client) if run.info.run_name == "train")
    assert {"loss", "rewards/accuracies", "logps/chosen", "reliability/mean", "grad_norm"} <= set(train.data.metrics)
    assert len(client.get_metric_history(train.info.run_id, "loss")) > 1


def test_the_champion_loads_generates_and_carries_its_reliabilities(client: MlflowClient) -> None:
    uri = "models:/repo-demo@champion"
    generate = mlflow.transformers.load_model(uri)
    assert generate("How do I look after a kite?", max_new_tokens=4)[0]["generated_text"]
    metadata = mlflow.models.get_model_info(uri).metadata
    assert metadata["reliability_annotators"] == 10
    assert metadata["reliability_estimator"] == "full"
    assert 0 < metadata["reliability_interval_width_median"] < 1
    directory = Path(mlflow.artifacts.download_artifacts(uri))
    reliability = json.loads((directory / "reliability.json").read_text())
    found = {row["annotator_id"]: row for row in reliability["annotators"]}
    assert {"careful-1", "adversarial-1"} <= set(found)
    low, high = found["careful-1"]["interval"]
    assert 0 < low < found["careful-1"]["reliability"] < high < 1


def test_models_lists_the_version_for_people_and_machines(repo_pipeline: Run, finished: Finished) -> None:
    nothing = repo_pipeline("models", "--store", finished.store)
    assert "other models here: repo-demo" in nothing.stdout
    table = repo_pipeline("models", "--model", "repo-demo", "--store", finished.store)
    assert table.returncode == 0
    assert "champion" in table.stdout
    rows = json.loads(repo_pipeline("models", "--json", "--model", "repo-demo", "--store", finished.store).stdout)
    assert (rows[0]["version"], rows[0]["verdict"], rows[0]["annotators"]) == ("1", "promote", 10)
    assert "champion" in rows[0]["aliases"]


def test_kubeflow_artifacts_are_pointers_not_bytes(finished: Finished) -> None:
    pointers = list((finished.store / "pipeline").rglob("policy"))
    assert pointers
    assert set(json.loads(pointers[0].read_text())) == {"mlflow_uri", "digest"}


def test_a_second_run_meets_the_champion_and_a_rejection_is_a_normal_end(
    finished: Finished, repo_pipeline: Run, client: MlflowClient
) -> None:
    """Stands last of the tests on this store: it leaves a second version there, trained with what the first learnt."""
    strict = [
        *SMALL,
        "gate.min_gain_over_champion=1",
        "train.loss=simpo",
        "train.loss_options={gamma: 0.5}",
        "reliability.prior_state=models:/repo-demo@champion",
    ]
    done = repo_pipeline("demo", "--store", finished.store, *options(tuple(strict)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "champion" in done.stdout
    assert "verdict: reject" in done.stdout
    assert "gain in accuracy over the champion" in done.stdout
    assert str(client.get_model_version_by_alias("repo-demo", "champion").version) == "1"
    challenger = client.get_model_version_by_alias("repo-demo", "challenger")
    assert (str(challenger.version), challenger.tags["verdict"]) == ("2", "reject")
    carried = mlflow.artifacts.download_artifacts("models:/repo-demo/2/reliability.json")
    assert json.loads(Path(carried).read_text())["prior"]["annotators"] == 10
    assert [run.info.status for run in parents(client)] == ["FINISHED", "FINISHED"]


def test_the_registry_s_commands_tell_what_is_known_and_keep_what_was_decided(
    finished: Finished, client: MlflowClient
) -> None:
    """Stands after the second run; champion is what it was before."""

    def models(*command: str, code: int = 0) -> str:
        line = ["--store", str(finished.store), "--model", "repo-demo"]
        done = CliRunner().invoke(main, ["models", *command, *line])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.output

    shown = models("show", "challenger")
    assert "repo-demo version 2 (challenger)" in shown
    assert "compared with  version 1" in shown
    for words in ("simpo", "gain over champion", "FAILED  gain in accuracy over the champion", "adversarial-1"):
        assert words in shown
    assert "cannot be had" not in shown
    known = json.loads(models("show", "2", "--json"))
    assert known["changed"]["train.loss"] == {"value": "simpo", "default": "dpo"}
    assert len(known["reliability"]["annotators"]) == 10
    assert known["missing"] == []
    differ = json.loads(models("compare", "1", "2", "--json"))
    assert differ["settings"]["train.loss"] == ["dpo", "simpo"]
    assert differ["same_exam"]
    assert differ["common_annotators"] == 10
    assert "train.loss" in models("compare", "1", "2")

    assert "did not pass the gate" in models("promote", "2", code=1)
    assert "no reason is given" in models("promote", "2", "--force", code=1)
    assert "version 2 is champion" in models("promote", "2", "--force", "--reason", "to see it", "--by", "ann")
    copied = json.loads(models("copy", "--to", "production", "--json"))
    assert (copied["copied_from"], copied["digest"]) == ("repo-demo/2", known["info"]["digest"])
    assert "version 1 is champion again" in models("rollback", "--reason", "seen", "--by", "bob")
    assert "reject (forced, rolled back)" in models("list")
    shown = models("show", "2")
    assert ("forced by ann" in shown, ": to see it" in shown, "rolled back by bob" in shown) == (True, True, True)
    note = client.get_run(known["info"]["run_id"]).data.tags["mlflow.note.content"]
    assert note.startswith("**Rolled back**: ")
    assert "no version 9" in models("show", "9", code=1)


def votes(path: Path, preferences: list[str]) -> Path:
    rows = [
        {"prompt": f"prompt {i}", "response_a": f"yes {i}", "response_b": f"no {i}", "preference": preference}
        for i, preference in enumerate(preferences)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("preferences", "settings", "words"),
    [
        (["tie"] * 40, (), "tie"),
        (["a", "b"] * 40, ("train.learning_rate=1e6", "train.max_gradient_norm=1e9"), "train.learning_rate"),
    ],
    ids=["all ties", "divergence"],
)
def test_a_failure_names_its_step_and_remedy_and_registers_nothing(
    repo_pipeline: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    preferences: list[str],
    settings: tuple[str, ...],
    words: str,
) -> None:
    data = votes(tmp_path / "votes.jsonl", preferences)
    store = Store(tmp_path / "store")
    done = repo_pipeline("run", "--data", data, "--store", store.root, *options((*SMALL, *settings)))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 25
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    client = MlflowClient()
    assert [run.info.status for run in parents(client, "repo")] == ["FAILED"]
    assert not client.search_registered_models()
