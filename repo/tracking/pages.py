"""Addresses of MLflow's own pages, as they follow the address of the server: `#/experiments/1/runs?…`.

MLflow 3.17 opens every experiment in its view for GenAI applications (traces, latency), whatever the experiment's kind
says, unless the address asks for the other view or the reader has chosen it before. So each address asks for it, and
names the workspace where there is one: without it a page would show the one that the reader looked at last.
"""

import os
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import mlflow
from mlflow.entities import Run

from repo.tracking.registry import CHAMPION, WAITING, list_models, version_called
from repo.tracking.runs import PIPELINE_RUN, steps_of

_VIEW = {"workflowType": "machine_learning"}


@dataclass(frozen=True)
class Page:
    """A page and what is to be seen there."""

    title: str
    address: str


def experiments_page() -> str:
    """Return the address of the list of experiments."""
    return _page("/experiments")


def runs_page(experiment_id: str) -> str:
    """Return the address of an experiment's runs."""
    return _page(f"/experiments/{experiment_id}/runs")


def run_page(experiment_id: str, run_id: str) -> str:
    """Return the address of a run."""
    return _page(f"/experiments/{experiment_id}/runs/{run_id}")


def report_page(experiment_id: str, run_id: str) -> str:
    """Return the address of a report, shown among the artifacts of the step that made it."""
    return _page(f"/experiments/{experiment_id}/runs/{run_id}/artifacts/report/report.html")


def version_page(model_name: str, version: str) -> str:
    """Return the address of a version of a registered model."""
    return _page(f"/models/{quote(model_name, safe='')}/versions/{version}")


def newest_pages() -> list[Page]:
    """Return what somebody who comes back wants to see: the newest pipeline run and its report, and what serves.

    Where no pipeline has run, the list of experiments.
    """
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{PIPELINE_RUN}` LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    if not runs:
        return [Page("experiments", experiments_page())]
    [run] = runs
    return [*_pages_of_run(run), *_pages_of_line(run.data.params.get("registry.model", ""))]


def _pages_of_run(run: Run) -> list[Page]:
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    reports = [step.run_id for step in steps_of(run_id) if (step.name, step.status) == ("report", "FINISHED")]
    return [
        Page("runs", runs_page(experiment_id)),
        Page("newest run", run_page(experiment_id, run_id)),
        *(Page("its report", report_page(experiment_id, report)) for report in reports[-1:]),
    ]


def _pages_of_line(model_name: str) -> list[Page]:
    infos = list_models(model_name)
    champion = version_called(infos, CHAMPION)
    waiting = next((info for info in infos if info.approval == WAITING), None)
    found = (("champion", champion), ("waits for approval", waiting))
    return [Page(title, version_page(model_name, info.version)) for title, info in found if info]


def _page(route: str) -> str:
    workspace = os.environ.get("MLFLOW_WORKSPACE")
    return f"#{route}?{urlencode({**_VIEW, **({'workspace': workspace} if workspace else {})})}"
