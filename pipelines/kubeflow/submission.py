"""One run on Kubeflow: what it is given, and following it to its end."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.graphs import containers
from pipelines.kubeflow.client import Client, RequestError, quiet
from pipelines.kubeflow.uploads import SOURCE, Graph, Version, upload
from repo.errors import UserError
from repo.settings import Settings, to_parameters

FINAL = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
"""States that a run stays in; kfp's own wait knows no CANCELED and would wait for ever."""
PAUSE = 5.0
"""Seconds between two looks at a run."""
_PATIENCE = 5
"""Failed looks in a row after which the wait is given up."""


@dataclass(frozen=True)
class Submitted:
    """A run that Kubeflow has taken.

    Attributes:
        run_id: Kubeflow's id.
        name: its name, and that of its MLflow run.
        experiment: in Kubeflow and in MLflow.
        version: of the pipeline.
        page: its address in the user interface.
    """

    run_id: str
    name: str
    experiment: str
    version: Version
    page: str


@dataclass(frozen=True)
class Step:
    """A step of a run.

    Attributes:
        name: the step's.
        state: Kubeflow's word.
        error: what it failed of, as far as Kubeflow says.
    """

    name: str
    state: str
    error: str = ""


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        state: the run's; Kubeflow's word.
        steps: by Kubeflow's id, in the order they were first seen.
    """

    state: str = "PENDING"
    steps: dict[str, Step] = field(default_factory=dict)

    def failed(self) -> list[Step]:
        """Return the steps that failed."""
        return [step for step in self.steps.values() if step.state == "FAILED"]


def submit(client: Client, graph: Graph, source: str, settings: Settings) -> Submitted:
    """Start one run.

    Args:
        client: of the Kubeflow to run on.
        graph: which pipeline.
        source: where its annotations or batches are, as sources.check_source allows.
        settings: all settings, likewise.

    Raises:
        RequestError: Kubeflow does not take it.
    """
    version = upload(client, graph)
    experiment = settings.registry.experiment
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    parameters = {SOURCE[graph]: source, "name": name, **to_parameters(settings)}
    run = _start(client, version, f"{version.pipeline} {name}", experiment, parameters)
    return Submitted(run.run_id, name, experiment, version, client.connection.run_page(run.run_id))


def open_experiment(client: Client, name: str) -> str:
    """Return the id of Kubeflow's experiment of that name; make it where it is missing."""
    with quiet():
        try:
            return str(client.create_experiment(name).experiment_id)
        except RequestError as error:
            if error.status != 409:
                raise
            return str(client.get_experiment(experiment_name=name).experiment_id)  # made meanwhile


def follow(client: Client, graph: Graph, run_id: str, say: Callable[[str], None]) -> Progress:
    """Wait for a run's end, and say each change of a step's state; return how it ended.

    Raises:
        RequestError: Kubeflow does not tell, or has not answered several times in a row.
    """
    known = steps_of(graph)
    seen = Progress()
    started = time.monotonic()
    while True:
        run = _look(client, run_id, say)
        for key, step in _steps(run, known):
            if seen.steps.get(key) != step:
                say(f"{time.monotonic() - started:6.0f} s  {step.name}  {step.state.lower()}")
            seen.steps[key] = step
        seen.state = run.state or seen.state
        if seen.state in FINAL:
            return seen
        time.sleep(PAUSE)


def check_succeeded(progress: Progress, submitted: Submitted) -> None:
    """Check that a run that came to its end succeeded.

    Raises:
        UserError: it did not; with the failed steps and what they say.
    """
    if progress.state == "SUCCEEDED":
        return
    failed = [f"  {step.name}: {step.error or 'see its log'}" for step in progress.failed()]
    problem = "\n".join([f"run {submitted.name}: {progress.state.lower()}", *failed])
    raise UserError(problem, "the steps' logs are on the run's page, whose address is given above")


def steps_of(graph: Graph) -> set[str]:
    """Return the names of a pipeline's steps; Kubeflow lists conditions, drivers and executors beside them."""
    return set(containers(graph))


def _start(client: Client, version: Version, title: str, experiment: str, parameters: dict[str, Any]) -> Any:
    experiment_id = open_experiment(client, experiment)
    try:
        with quiet():
            return client.run_pipeline(
                experiment_id,
                title,
                params=parameters,
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
            )
    except RequestError as error:
        if not error.unclear:
            raise
        # Tried again unseen, it would be two runs.
        problem = f"{error.problem}; the run {title} may have begun all the same"
        raise RequestError(problem, "look for it on Kubeflow's pages before you submit again", error.status) from None


def _look(client: Client, run_id: str, say: Callable[[str], None]) -> Any:
    """Ask for a run; a server that is away for a while does not end the wait."""
    for _ in range(_PATIENCE - 1):
        try:
            return client.get_run(run_id)
        except RequestError as error:
            if not error.passing:
                raise
            say(f"{error.problem}; asked again")
            time.sleep(PAUSE)
    return client.get_run(run_id)


def _steps(run: Any, known: set[str]) -> Iterator[tuple[str, Step]]:
    details = (run.run_details and run.run_details.task_details) or []
    for task in details:
        if task.display_name in known and task.state:
            message = " ".join((task.error.message or "").split()) if task.error else ""
            yield task.task_id, Step(task.display_name, task.state, message)
