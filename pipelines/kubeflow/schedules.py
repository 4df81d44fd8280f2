"""Retraining on a schedule: one recurring run a model line.

A recurring run cannot be changed in Kubeflow. What is wanted is in its name, as a digest; something else is another
recurring run, which takes the old one's place in an order that never leaves two enabled:

    create the new one, disabled → disable the old ones → enable the new one → delete the old ones

Killed anywhere, the same command finds what is there and goes on. Between disabling and enabling none is enabled.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from pipelines.kubeflow.client import Client, RequestError, equals, every
from pipelines.kubeflow.cron import Cron
from pipelines.kubeflow.submission import open_experiment
from pipelines.kubeflow.uploads import SOURCE, Graph, digest, upload
from repo.errors import UserError
from repo.settings import Settings, to_parameters

_GRAPH: Graph = "retraining"
_NAME = re.compile(r"repo-retrain-(?P<line>.+)-[0-9a-f]{8}")


@dataclass(frozen=True)
class Schedule:
    """A recurring run of ours.

    Attributes:
        line: the registered model it retrains.
        name: holds the line and the digest of everything wanted.
        schedule_id: Kubeflow's id.
        cron: six fields.
        enabled: whether it fires.
        inbox: where it looks for batches.
    """

    line: str
    name: str
    schedule_id: str
    cron: str
    enabled: bool
    inbox: str


@dataclass(frozen=True)
class Wanted:
    """What a line's schedule should be.

    Attributes:
        inbox: where batches come into, as sources.check_source allows.
        settings: all settings, likewise.
        cron: when.
    """

    inbox: str
    settings: Settings
    cron: Cron

    @property
    def line(self) -> str:
        """The registered model it retrains."""
        return self.settings.registry.model

    @property
    def parameters(self) -> dict[str, Any]:
        """The pipeline's parameters; each run is named by its own id."""
        return {SOURCE[_GRAPH]: self.inbox, **to_parameters(self.settings)}

    @property
    def name(self) -> str:
        """The name that tells this schedule from every other one."""
        content = json.dumps([digest(_GRAPH), self.parameters, self.cron.expression], sort_keys=True)
        return f"repo-retrain-{self.line}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Replaced:
    """What `put` did.

    Attributes:
        name: of the line's only schedule now.
        created: whether it was made just now.
        enabled: whether it was enabled just now.
        removed: names of those that are gone.
    """

    name: str
    created: bool
    enabled: bool
    removed: list[str]

    @property
    def unchanged(self) -> bool:
        """Whether everything was as it should be."""
        return not (self.created or self.enabled or self.removed)


def schedules(client: Client, line: str | None = None) -> list[Schedule]:
    """Return our schedules, of all lines or of one, by name.

    Raises:
        RequestError: Kubeflow does not tell.
    """
    namespace = client.get_user_namespace() or None
    rows = every(client.list_recurring_runs, "recurring_runs", namespace=namespace)
    found = [schedule for row in rows if (schedule := _ours(row)) is not None]
    return sorted((one for one in found if line in (None, one.line)), key=lambda one: (one.name, one.schedule_id))


def put(client: Client, wanted: Wanted) -> Replaced:
    """Make what is wanted the line's only schedule, and enable it.

    Raises:
        RequestError: Kubeflow does not do one of the steps; the same call goes on from there.
    """
    there = schedules(client, wanted.line)
    same = sorted((one for one in there if one.name == wanted.name), key=lambda one: not one.enabled)
    schedule_id = same[0].schedule_id if same else _create_disabled(client, wanted)
    others = [one for one in there if one.schedule_id != schedule_id]
    enable = not (same and same[0].enabled)
    try:
        for one in others:
            if one.enabled:
                client.disable_recurring_run(one.schedule_id)
        if enable:
            client.enable_recurring_run(schedule_id)
        for one in others:
            client.delete_recurring_run(one.schedule_id)
    except RequestError as error:
        problem = f"{error.problem}; the schedule of {wanted.line} is only half replaced"
        raise RequestError(problem, f"{error.remedy}; then run the same command again", error.status) from None
    return Replaced(wanted.name, not same, enable, [one.name for one in others])


def pause(client: Client, line: str) -> list[str]:
    """Disable whatever is enabled of a line, and return the names.

    Raises:
        UserError: the line has no schedule.
        RequestError: Kubeflow does not do it.
    """
    paused = [one for one in _some(client, line) if one.enabled]
    for one in paused:
        client.disable_recurring_run(one.schedule_id)
    return [one.name for one in paused]


def resume(client: Client, line: str) -> list[str]:
    """Enable a line's schedule, and return its name where it was not enabled.

    Raises:
        UserError: the line has no schedule, or several: a replacement was interrupted.
        RequestError: Kubeflow does not do it.
    """
    found = _some(client, line)
    if len(found) > 1:
        problem = f"{line}: has {len(found)} schedules: a replacement was interrupted, or somebody cloned one"
        raise UserError(problem, "`repo-pipeline schedule create` with what is wanted leaves one, enabled")
    if found[0].enabled:
        return []
    client.enable_recurring_run(found[0].schedule_id)
    return [found[0].name]


def delete(client: Client, line: str) -> list[str]:
    """Delete a line's schedule, and return the name; runs and models stay.

    Raises:
        UserError: the line has no schedule.
        RequestError: Kubeflow does not do it.
    """
    found = _some(client, line)
    for one in found:
        client.delete_recurring_run(one.schedule_id)
    return [one.name for one in found]


def last_state(client: Client, schedule: Schedule) -> str:
    """Return the state of a schedule's newest run, Kubeflow's word; '' where it has not run.

    Raises:
        RequestError: Kubeflow does not tell.
    """
    page = client.list_runs(
        page_size=1, sort_by="created_at desc", filter=equals("recurring_run_id", schedule.schedule_id)
    )
    return str(page.runs[0].state) if page.runs else ""


def _some(client: Client, line: str) -> list[Schedule]:
    found = schedules(client, line)
    if not found:
        others = sorted({one.line for one in schedules(client)})
        known = f"there are schedules of {', '.join(others)}" if others else "`repo-pipeline schedule create` makes one"
        raise UserError(f"{line}: has no schedule", known)
    return found


def _create_disabled(client: Client, wanted: Wanted) -> str:
    version = upload(client, _GRAPH)
    made = client.create_recurring_run(
        open_experiment(client, wanted.settings.registry.experiment),
        wanted.name,
        description=f"Retrains {wanted.line} on what is new in {wanted.inbox}",
        cron_expression=wanted.cron.expression,
        max_concurrency=1,
        # Without it an outage ends in a run for each time that was missed.
        no_catchup=True,
        params=wanted.parameters,
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        enabled=False,
    )
    return str(made.recurring_run_id)


def _ours(row: Any) -> Schedule | None:
    """Read a recurring run; None where it is not one of ours."""
    named = _NAME.fullmatch(row.display_name or "")
    cron = row.trigger.cron_schedule if row.trigger else None
    if named is None or cron is None:
        return None
    parameters = (row.runtime_config and row.runtime_config.parameters) or {}
    return Schedule(
        line=named["line"],
        name=row.display_name,
        schedule_id=row.recurring_run_id,
        cron=cron.cron,
        enabled=row.mode == "ENABLE",
        inbox=str(parameters.get("inbox", "")),
    )
