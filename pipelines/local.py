"""Run the compiled pipelines on this machine by kfp's own runners: a process or a container for each step."""

import contextlib
import io
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pipelines.compiling import COMPILED
from pipelines.containers.mounts import Seen, seen
from pipelines.containers.runner import Containers, remove_left
from pipelines.forkserver import processes
from pipelines.stopping import StoppedError, alone, end_children, signals_as_errors, temporary_files_in
from repo.console import PREFIX
from repo.errors import UserError
from repo.lifeline import COMMAND
from repo.settings import Settings, to_parameters
from repo.tracking.store import Server, Store
from repo.uris import public_name

if TYPE_CHECKING:
    from repo.tracking.passes import Look


@dataclass(frozen=True)
class LocalRun:
    """A pipeline run that came to its end.

    Attributes:
        run_id: its parent MLflow run.
        log: everything the steps printed.
    """

    run_id: str
    log: Path


def run_training(
    data: str,
    settings: Settings,
    store: Store | Server,
    scratch: Path,
    verbose: bool,
    containers: Containers | None = None,
) -> LocalRun:
    """Run the training pipeline and wait for it.

    Args:
        data: where the annotations are.
        settings: all settings.
        store: where MLflow keeps runs and models.
        scratch: directory for logs and Kubeflow's own small files.
        verbose: show everything the steps print.
        containers: how to run the steps in containers; None: as processes of this environment.

    What an earlier command left undone when it was killed is put in order first: its runs are closed, its temporary
    files removed, a promotion is finished; its training goes on from the last checkpoint. Of two commands on one model
    line the later waits.

    Raises:
        UserError: the store cannot be used, or a step failed; the message is the step's own.
        StoppedError: a signal ended the command, and with it every step; the runs are closed.
    """
    with _at_work(settings, store, scratch):
        return _run_alone("training", data, settings, store, scratch, verbose, containers)


def run_retraining(
    inbox: str,
    settings: Settings,
    store: Store | Server,
    scratch: Path,
    verbose: bool,
    containers: Containers | None = None,
) -> tuple["Look", LocalRun | None]:
    """Look into an inbox and, where something is new, run the retraining pipeline and wait for it.

    Args and what is put in order first: as run_training.

    Returns:
        What was found, and the run; None where nothing was new.

    Raises:
        UserError: the inbox or the store cannot be used, or a step failed; the message is the step's own.
        StoppedError: a signal ended the command, and with it every step; the runs are closed.
    """
    from pipelines.preflight import check_settings

    with _at_work(settings, store, scratch):
        from repo.tracking.passes import look_into
        from repo.tracking.promotion import unfinished_promotion

        with store.opened():
            found = look_into(inbox, settings)
            undone = unfinished_promotion(settings.registry.model)
        if not found.train and undone is None:
            return found, None
        check_settings(settings)
        return found, _run_alone("retraining", inbox, settings, store, scratch, verbose, containers)


@contextlib.contextmanager
def _at_work(settings: Settings, store: Store | Server, scratch: Path) -> Iterator[None]:
    """Be the only command at work on the model line, and close the runs of one that was killed at it."""
    from repo.tracking.rights import refusals_told
    from repo.tracking.runs import close_abandoned

    store.open_experiment(settings.registry.experiment)
    os.environ.update(store.environment())
    # The steps' output is read as UTF-8, whatever the terminal can show.
    os.environ["PYTHONIOENCODING"] = "utf-8:backslashreplace"
    line = settings.registry.model
    with (
        signals_as_errors(end_children),
        alone(scratch / "locks" / f"{line}.lock", print) as holder,
        temporary_files_in(scratch / "tmp" / line),
        refusals_told(),
    ):
        remove_left(scratch, line, holder)
        checkpoints = scratch / "checkpoints" / line
        os.environ |= {COMMAND: str(os.getpid()), "REPO_RUN_HOLDER": holder, "REPO_CHECKPOINTS": str(checkpoints)}
        with store.opened():
            abandoned = close_abandoned(holder)
        if abandoned:
            print(f"runs of a command that was killed, closed now: {abandoned}")
        started = time.time()
        yield
        _remove_checkpoints(checkpoints, started)


def _run_alone(
    pipeline: str,
    source: str,
    settings: Settings,
    store: Store | Server,
    scratch: Path,
    verbose: bool,
    containers: Containers | None,
) -> LocalRun:
    from repo.annotations.simulation import is_simulated
    from repo.tracking.exams import frozen_exam
    from repo.tracking.policies import check_champion
    from repo.tracking.registry import check_line
    from repo.tracking.runs import close_if_running

    check_line(settings.registry.model, is_simulated(source))
    check_champion(settings.registry.model)
    if settings.evaluation.exam == "frozen":
        frozen_exam(settings.registry.model)
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
    log = scratch / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    found = seen(source, settings) if containers else Seen(source, settings, ())
    parameters = {_SOURCE[pipeline]: found.source, "name": name, **to_parameters(found.settings)}
    root = scratch / "pipeline" / name
    status = "CANCELLED"
    try:
        line = settings.registry.model
        places = containers.runner(pipeline, root, scratch, line, found.paths) if containers else processes()
        with places as runner, _captured(log, verbose):
            status = "SUCCEEDED" if _run(pipeline, parameters, runner, root) else "FAILED"
    except Exception:
        status = "FAILED"
        raise
    except StoppedError:
        print("stopped: the same command goes on from the training's last checkpoint", file=sys.stderr)
        raise
    finally:
        # Asked in a hurry: a server that has died meanwhile is told in seconds.
        with store.opened():
            parent = close_if_running(settings.registry.experiment, name, status)
    if parent is None or status == "FAILED":
        raise _failure(parent.info.run_id if parent else None, log)
    return LocalRun(parent.info.run_id, log)


def _remove_checkpoints(folder: Path, started: float) -> None:
    """Remove those that this run used; others are of interrupted runs with other data or settings."""
    for path in folder.glob("*"):
        # What later trainings read again stays (REFERENCES in repo.policy.training, which would import torch).
        if path.stat().st_mtime >= started and path.name != "references":
            shutil.rmtree(path)


_SOURCE = {"training": "data", "retraining": "inbox"}
"""Pipeline → its parameter that says where annotations come from."""


def _run(name: str, parameters: dict[str, object], runner: object, root: Path) -> bool:
    """Run the committed YAML; return whether every step succeeded."""
    from kfp import components, local

    local.init(runner=runner, pipeline_root=str(root))
    pipeline = components.load_component_from_file(str(COMPILED / f"{name}.yaml"))
    try:
        pipeline(**parameters)
    except RuntimeError as error:
        print(error)
        return False
    return True


_TOLD = re.compile(r"^\s*error: (.+)(?:\n\s*→ (.+))?$", re.MULTILINE)
"""What a step says to the user before it ends: all there is where it failed before it had a run to keep it in."""


def _failure(run_id: str | None, log: Path) -> UserError:
    """Turn a failed pipeline into the failed step's own message."""
    from repo.tracking.runs import WITHOUT_A_WORD, steps_of

    failed = [step for step in steps_of(run_id) if step.status == "FAILED"] if run_id else []
    who = f"step {failed[-1].name} failed" if failed else "the pipeline failed"
    told = _TOLD.findall(log.read_text(encoding="utf-8"))
    # Of a step that was killed, whoever saw its container end knows more.
    if failed and failed[-1].error and not (told and failed[-1].error == WITHOUT_A_WORD):
        return UserError(f"{who}: {failed[-1].error}", failed[-1].remedy or f"everything it printed: {log}")
    if told:
        return UserError(f"{who}: {told[-1][0]}", told[-1][1] or f"everything the steps printed: {log}")
    return UserError(f"the pipeline failed; the end of {log}:\n{_tail(log)}", f"everything the steps printed: {log}")


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(f"  {line}" for line in log.read_text(encoding="utf-8").splitlines()[-lines:])


@contextlib.contextmanager
def _captured(log: Path, verbose: bool) -> Iterator[None]:
    """Send what kfp and the steps print to the log file, and what they say to a person to the terminal too."""
    terminal = sys.stdout
    with log.open("w", encoding="utf-8", errors="backslashreplace") as file:
        tee = _Tee(file, terminal, verbose)
        with contextlib.redirect_stdout(tee), contextlib.redirect_stderr(tee):
            yield


_STARTED = re.compile(r"Executing task (?:\x1b\[\d+m)?'(?P<name>[^']+)'")


@dataclass
class _Tee(io.StringIO):
    """Writes everything to a file; shows each step's start and what it says with the time since the beginning."""

    file: TextIO
    terminal: TextIO
    verbose: bool
    started: float = field(default_factory=time.monotonic)
    pending: str = ""

    def write(self, text: str) -> int:
        """Take any piece of text; act on whole lines."""
        *lines, self.pending = (self.pending + text).split("\n")
        for line in map(public_name, lines):
            self.file.write(f"{line}\n")
            self.file.flush()
            self._show(line)
        return len(text)

    def _show(self, line: str) -> None:
        if self.verbose:
            self.terminal.write(f"{line}\n")
        elif found := _STARTED.search(line):
            self.terminal.write(f"{time.monotonic() - self.started:6.0f} s  {found['name']}\n")
        elif line.strip().startswith(PREFIX):
            self.terminal.write(f"{'':10}{line.strip().removeprefix(PREFIX)}\n")
        self.terminal.flush()
