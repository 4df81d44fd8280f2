"""The look into an inbox of many small files, nearly all of them consumed: seconds and memory, in its own process."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient

from benchmarks import child
from benchmarks.memory import peak_bytes
from benchmarks.table import Row
from repo.annotations.simulation import simulate
from repo.files import write_jsonl
from repo.inbox.look import State, Taken, look
from repo.settings import InboxSettings, Settings, SimulationSettings
from repo.tracking.ledger import Ledger, ledger_tags, save_ledger
from repo.tracking.passes import look_into
from repo.tracking.runs import open_parent, step_run
from repo.tracking.store import Store

FILES, NEW = 10_000, 10
SECONDS, GROWTH_MB = 20.0, 50.0
_MODEL = Settings().registry.model
_SMALL = (
    "policy.tiny={vocabulary: 400, hidden: 32, layers: 1, heads: 2, warm_start_steps: 1}",
    "policy.max_length=128",
    "policy.max_prompt_length=48",
    "gate.min_judgements=1",
    "gate.min_held_out=1",
    "gate.min_accuracy=0",
    "gate.min_gain_over_base=-1",
)


def measure(files: int | None = None) -> list[Row]:
    """Return seconds and peak memory of the look at so many files, and at a tenth of them."""
    number = files or FILES
    with tempfile.TemporaryDirectory() as folder:
        store, inbox = Path(folder, "store"), Path(folder, "inbox")
        _one_pass(store, Path(folder, "first"))
        found = {}
        for size in (number // 10, number):
            _fill(inbox, size)
            _consume_all_but_new(store, inbox)
            found[size] = child.in_its_own_process("retraining.look", store, inbox)
    whole = number >= FILES
    large = found[number]
    growth = (large["peak_bytes"] - found[number // 10]["peak_bytes"]) / 1e6
    rows = [
        Row(f"a look at {size:,} files, {NEW} of them new: seconds", "", values["seconds"], None)
        for size, values in found.items()
    ]
    assert large["new"] == NEW, "the others were consumed"
    return [
        *rows,
        Row(
            f"{number:,} files: seconds",
            f"< {SECONDS:g}",
            large["seconds"],
            large["seconds"] < SECONDS if whole else None,
        ),
        Row(
            f"{number:,} files: peak memory beyond {number // 10:,} files, MB",
            f"≤ {GROWTH_MB:g}",
            growth,
            growth <= GROWTH_MB if whole else None,
        ),
    ]


def _one_pass(store: Path, inbox: Path) -> None:
    """Make a champion."""
    inbox.mkdir(parents=True)
    write_jsonl(inbox / "first.jsonl", simulate(SimulationSettings(comparisons=40, prompts=30)))
    settings = [part for setting in _SMALL for part in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "retrain",
        "--inbox",
        str(inbox),
        "--store",
        str(store),
        *settings,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _fill(inbox: Path, size: int) -> None:
    """Write so many batches of one annotation."""
    inbox.mkdir(exist_ok=True)
    for number in range(size):
        file = inbox / f"{number:05}.jsonl"
        if not file.exists():
            row = {"prompt": f"question {number}", "chosen": "yes", "rejected": "no", "annotator_id": "ann"}
            file.write_text(json.dumps(row) + "\n", encoding="utf-8")


def _consume_all_but_new(store: Path, inbox: Path) -> None:
    """Let the champion's ledger name all batches but the newest few."""
    os.environ |= Store(store).environment()
    batches = look(str(inbox), InboxSettings(settle_seconds=0))
    client = MlflowClient()
    champion = client.get_model_version_by_alias(_MODEL, "champion")
    parent = open_parent(Settings().registry.experiment, "ledger", f"ledger-{len(batches)}", {}, {})
    with tempfile.TemporaryDirectory() as folder, step_run(parent, "ledger") as run:
        taken = [Taken(batch.digest, batch.name, str(champion.version)) for batch in batches[:-NEW]]
        save_ledger(Ledger(taken), [], Path(folder))
        pointer = run.publish(Path(folder), f"ledger-{len(batches)}")
    for key, value in ledger_tags(pointer).items():
        client.set_model_version_tag(_MODEL, champion.version, key, value)


def _look(store: Path, inbox: Path) -> dict[str, float]:
    os.environ |= Store(store).environment()
    settings = Settings()
    before = peak_bytes()
    begin = time.perf_counter()
    found = look_into(str(inbox), settings)
    seconds = time.perf_counter() - begin
    new = sum(batch.state is State.NEW for batch in found.batches)
    return {"seconds": seconds, "peak_bytes": peak_bytes(), "before_bytes": before, "new": new}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("inbox", type=Path)
    options = parser.parse_args()
    print(json.dumps(_look(options.store, options.inbox)))
