"""Runs that are killed, and what must be true after the same command was given again.

`python tests/pipelines/interruptions.py [MOMENTS] [SEED]` kills a run at random moments; the suite kills it at three.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from mlflow import MlflowClient
from pipeline_runs import SMALL, as_a_terminal_does, options

from repo.annotations.simulation import simulate
from repo.files import tree_digest, write_jsonl
from repo.settings import SimulationSettings
from repo.tracking.store import Store

SETTINGS = (*SMALL, "train.checkpoint_every=2", "train.log_every=1")


def write_votes(path: Path) -> Path:
    write_jsonl(path, simulate(SimulationSettings(comparisons=60, prompts=30)))
    return path


@dataclass
class Command:
    """`repo-pipeline run`, or another command on data, at work in a process and with temporary files of its own."""

    data: Path
    store: Path | None
    settings: tuple[str, ...] = SETTINGS
    verb: tuple[str, str] = ("run", "--data")
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    output: Path = field(init=False)
    temporary: Path = field(init=False)
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        folder = self.folder or Path(tempfile.mkdtemp(prefix="command-", dir=self.data.parent))
        self.output, self.temporary = folder / "output.txt", folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        store = [] if self.store is None else ["--store", str(self.store)]
        arguments = [*self.verb, str(self.data), *store, *options(self.settings)]
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.cli", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**kept, "TMPDIR": str(self.temporary), **self.environment},
                cwd=folder,
                start_new_session=True,
                preexec_fn=as_a_terminal_does,  # noqa: PLW1509
            )

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, happened: Callable[[], bool], seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def descendants(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def kill(self) -> None:
        """Kill the command alone, as the kernel does when memory runs out, and wait for those it had started."""
        started = self.descendants()
        self.process.kill()
        self.process.wait()
        left = psutil.wait_procs(started, timeout=10)[1]
        assert not left, f"left behind: {left}"

    def end(self, signal_number: int) -> int:
        os.kill(self.process.pid, signal_number)
        return self.process.wait(timeout=60)

    def finish(self) -> str:
        """Wait for a good end; return what was said."""
        assert self.process.wait(timeout=280) == 0, self.said()
        return self.said()


def step_at_work(command: Command, step: str) -> bool:
    return f" s  {step}\n" in command.said()


def checkpoint_of(store: Path) -> bool:
    return bool(list((store / "checkpoints").glob("*/*/step-*")))


def client_of(store: Path) -> MlflowClient:
    uri = Store(store).tracking_uri
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def running(store: Path) -> list[str]:
    return running_at(client_of(store))


def running_at(client: MlflowClient) -> list[str]:
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(everywhere, max_results=1000)
    return [run.info.run_name for run in runs if run.info.status == "RUNNING"]


def champion_weights(store: Path) -> str:
    """Digest of the champion's weights; there must be one champion, and no version that passed and waits."""
    client = client_of(store)
    model = client.get_registered_model("repo-policy")
    version = client.get_model_version("repo-policy", model.aliases["champion"])
    assert model.aliases.get("challenger") != model.aliases["champion"]
    assert version.tags["verdict"] == "promote"
    location = Store(store).artifacts
    [weights] = location.glob(f"**/{version.source.removeprefix('models:/')}/**/model.safetensors")
    return tree_digest(weights)


def leftovers(store: Path, command: Command) -> list[Path]:
    """Temporary files that a command left behind."""
    return [path for folder in (store / "tmp", command.temporary) for path in folder.rglob("*") if path.is_file()]


def main(moments: int, seed: int) -> None:
    """Kill a run at random moments, each time in a fresh store; count the good ends."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_votes(folder / "votes.jsonl")
        began = time.monotonic()
        Command(data, folder / "undisturbed").finish()
        length = time.monotonic() - began
        expected = champion_weights(folder / "undisturbed")
        good = 0
        for number in range(moments):
            store = folder / f"store-{number}"
            moment = chance.uniform(0.02, 1.0) * length
            command = Command(data, store)
            time.sleep(moment)
            where = (command.said().strip().splitlines() or ["nothing said yet"])[-1].strip()[:60]
            if command.process.poll() is None:
                command.kill()
            again = Command(data, store)
            code = again.process.wait(timeout=280)
            ended = code == 0 and not running(store) and champion_weights(store) == expected
            ended = ended and not leftovers(store, again)
            good += ended
            print(f"killed after {moment:5.1f} s ({where}): {'good' if ended else 'BAD ' + again.said()}", flush=True)
        print(f"{good} of {moments} ended with one champion, nothing RUNNING, and the undisturbed run's weights")
        sys.exit(good < moments)


if __name__ == "__main__":
    main(*(int(argument) for argument in (sys.argv[1:] + ["20", "0"][len(sys.argv) - 1 :])))
