import math

import pytest
from mlflow import MlflowClient

from repo.files import tree_digest
from repo.tracking.runs import step_run


@pytest.fixture
def run(parent):
    with step_run(parent, "train") as run:
        yield run


def history(run, name):
    return [(m.step, m.value) for m in MlflowClient().get_metric_history(run.run_id, name)]


def test_metrics_are_kept_with_their_step_and_nan_stays_nan(run):
    run.log_metrics({"rewards/accuracies": 0.75, "loss": math.nan}, step=7)
    assert history(run, "rewards/accuracies") == [(7, 0.75)]
    [(at, value)] = history(run, "loss")
    assert at == 7
    assert math.isnan(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_metric_is_refused_by_name_and_nothing_is_logged(run, value):
    with pytest.raises(ValueError, match="metric loss is infinite"):
        run.log_metrics({"grad_norm": 1.0, "loss": value})
    assert history(run, "grad_norm") == []


def test_a_long_history_is_kept_whole(run):
    run.log_history({"step": s, "loss": 1 / s, "learning_rate": 1e-3} for s in range(1, 301))
    run.log_record({"step": 301, "loss": 1 / 301})
    assert history(run, "loss") == [(s, 1 / s) for s in range(1, 302)]
    assert len(history(run, "learning_rate")) == 300


def test_more_params_and_tags_than_mlflow_takes_at_once_are_kept(run):
    many = {f"key.{i}": i for i in range(250)}
    run.log_params({**many, "loss_options": {"beta": 0.1}})
    run.set_tags(many)
    data = MlflowClient().get_run(run.run_id).data
    assert len(data.params) == 251
    assert data.params["loss_options"] == "{'beta': 0.1}"
    assert {key: data.tags[key] for key in many} == {key: str(value) for key, value in many.items()}


def test_a_published_directory_is_named_by_run_and_digest(run, tmp_path):
    (tmp_path / "result/deep").mkdir(parents=True)
    (tmp_path / "result/deep/a.txt").write_text("é")
    pointer = run.publish(tmp_path / "result", "annotations")
    assert pointer.mlflow_uri == f"runs:/{run.run_id}/annotations"
    assert pointer.digest == tree_digest(tmp_path / "result")


def test_an_empty_directory_is_not_published(run, tmp_path):
    (tmp_path / "result").mkdir()
    with pytest.raises(AssertionError, match="is empty"):
        run.publish(tmp_path / "result", "annotations")
