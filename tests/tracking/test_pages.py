"""Addresses of MLflow's pages: which ones, and that they name view and workspace."""

import pytest
from mlflow import MlflowClient

from repo.tracking.pages import newest_pages, run_page, version_page
from repo.tracking.promotion import promote_version
from repo.tracking.registry import Tag, register_version
from repo.tracking.runs import open_parent, step_run

VIEW = "?workflowType=machine_learning"


@pytest.fixture(autouse=True)
def no_workspace(monkeypatch):
    monkeypatch.delenv("MLFLOW_WORKSPACE", raising=False)


def test_an_address_names_the_view_and_the_workspace(monkeypatch):
    assert run_page("1", "abc") == f"#/experiments/1/runs/abc{VIEW}"
    assert version_page("größe.1", "2") == f"#/models/gr%C3%B6%C3%9Fe.1/versions/2{VIEW}"
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team a&b")
    assert run_page("1", "abc") == f"#/experiments/1/runs/abc{VIEW}&workspace=team+a%26b"


def test_of_a_store_without_runs_the_experiments_are_shown(store):
    assert [page.address for page in newest_pages()] == [f"#/experiments{VIEW}"]


def test_the_newest_run_its_last_report_and_what_serves_or_waits_are_shown(store, pointer):
    client = MlflowClient()
    champion, waiting = (register_version(pointer(), "line", {}) for _ in range(2))
    promote_version("line", champion, None)
    client.set_model_version_tag("line", waiting, Tag.APPROVAL, "waiting")
    open_parent("repo", "older", "job-1", {"registry.model": "other"}, {})
    run_id = open_parent("elsewhere", "newer", "job-2", {"registry.model": "line"}, {})
    with pytest.raises(RuntimeError), step_run(run_id, "report"):
        raise RuntimeError
    with step_run(run_id, "report") as report:
        pass
    experiment = client.get_run(run_id).info.experiment_id
    assert [(page.title, page.address.removesuffix(VIEW)) for page in newest_pages()] == [
        ("runs", f"#/experiments/{experiment}/runs"),
        ("newest run", f"#/experiments/{experiment}/runs/{run_id}"),
        ("its report", f"#/experiments/{experiment}/runs/{report.run_id}/artifacts/report/report.html"),
        ("champion", f"#/models/line/versions/{champion}"),
        ("waits for approval", f"#/models/line/versions/{waiting}"),
    ]
