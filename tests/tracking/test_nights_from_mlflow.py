"""A night as it is read back from MLflow: what a pass's steps published becomes what the page and the table tell."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from pipelines.nights import judged_batches, night_of, night_without_a_run
from repo.files import write_json
from repo.inbox.look import Batch, State
from repo.reporting.nights import Estimate, Night, NightBatch
from repo.settings import Settings
from repo.tracking.handover import Pointer
from repo.tracking.passes import Look, save_judged
from repo.tracking.registry import register_version
from repo.tracking.runs import open_parent, step_run

LINE = "line"


def batch(name: str, state: State = State.NEW, note: str = "") -> Batch:
    return Batch(name, "", f"digest of {name}", state, note)


class Steps:
    """Publishes what a pass's steps do."""

    def __init__(self, parent: str, folder: Path) -> None:
        self.parent, self._folder, self._count = parent, folder, 0

    def publish(self, step: str, name: str, **files: dict[str, object]) -> None:
        directory = self._fresh()
        for file, content in files.items():
            write_json(directory / f"{file}.json", content)
        with step_run(self.parent, step) as run:
            run.publish(directory, name)

    def look(self, *batches: Batch, champion: str = "") -> None:
        directory = self._fresh()
        Look(champion, list(batches), True, "").save(directory)
        with step_run(self.parent, "look") as run:
            run.publish(directory, "look")

    def judge(self, *batches: Batch, champion: str = "", step: str = "validate_batches") -> None:
        directory = self._fresh()
        save_judged(batches, champion, Settings(), directory)
        with step_run(self.parent, step) as run:
            run.publish(directory, "batches")

    def train_and_gate(self, *decided: str, drift: dict[str, object] | None = None) -> None:
        """From the training to the verdict, and the promotion if that is decided."""
        rows = [
            {"annotator_id": "ann", "reliability": 0.9, "interval": [0.8, 0.95], "pinned": False},
            {"annotator_id": "pat", "reliability": 0.05, "interval": None, "pinned": True},
        ]
        accuracy = {"value": 0.8, "low": 0.7, "high": 0.9}
        policies = {"candidate": {"gold": {"accuracy": accuracy}}, "base": {}}
        if drift:
            policies["champion"] = {"gold": {"accuracy": {**accuracy, "value": 0.75}}}
        record = {"reliability": {"annotators": rows}, "training": {"annotations": 300}}
        self.publish("train", "training", **record, **({"drift": drift} if drift else {}))
        self.publish("evaluate", "evaluation", evaluation={"policies": policies, "target": "gold"})
        self.publish("gate", "verdict", verdict={"decision": decided[-1], "reasons": ["because"]})
        with step_run(self.parent, "register") as run:
            run.set_tags({"model_version": "2"})
        if "promote" in decided:
            with step_run(self.parent, "promote"):
                pass

    def _fresh(self) -> Path:
        self._count += 1
        directory = self._folder / "steps" / str(self._count)
        directory.mkdir(parents=True)
        return directory


@pytest.fixture
def steps(parent: str, tmp_path: Path) -> Steps:
    return Steps(parent, tmp_path)


@pytest.fixture
def champion(store, tmp_path: Path) -> str:
    """Version 1."""
    client = MlflowClient()
    parent = open_parent("repo", "retraining", "job-0", settings={}, tags={})
    model = client.create_logged_model(client.get_run(parent).info.experiment_id, name="policy", source_run_id=parent)
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return register_version(Pointer(f"models:/{model.model_id}", "0" * 64), LINE, {})


def drift(changed: bool = False, new: tuple[str, ...] = ()) -> dict[str, object]:
    row = {"annotator": "ann", "before": 0.9, "before_interval": [0.85, 0.95], "now": 0.2, "now_interval": [0.1, 0.3]}
    return {"annotators": [{**row, "changed": changed}], "new": list(new)}


def test_the_first_night_promotes_and_everybody_is_new(steps: Steps) -> None:
    steps.look(batch("a.jsonl"))
    steps.judge(batch("a.jsonl"), batch("b.jsonl", State.QUARANTINED, "cut off"))
    steps.train_and_gate("promote")
    night = night_of("one", steps.parent, 3.0, [])
    assert night == Night(
        "one",
        "promoted",
        3.0,
        [NightBatch("a.jsonl", "consumed"), NightBatch("b.jsonl", "quarantined", "cut off")],
        annotations=300,
        version="2",
        champion="2",
        candidate_accuracy=Estimate(0.8, 0.7, 0.9),
        newcomers=["ann"],
        reliabilities={"ann": Estimate(0.9, 0.8, 0.95)},
    )


def test_a_rejected_candidate_leaves_the_champion_and_tells_who_changed(steps: Steps, champion: str) -> None:
    steps.look(batch("a.jsonl"), champion=champion)
    steps.judge(batch("a.jsonl"), batch("monday.jsonl", State.CONSUMED), champion=champion)
    steps.train_and_gate("reject", drift=drift(changed=True, new=("ben", "cleo")))
    night = night_of("two", steps.parent, 3.0, [Night("one", "promoted", 1.0, newcomers=["ben"])])
    assert (night.outcome, night.version, night.champion) == ("rejected", "2", "1")
    assert night.batches == [NightBatch("a.jsonl", "consumed")]
    assert night.champion_accuracy == Estimate(0.75, 0.7, 0.9)
    assert [(found.annotator, found.before.value, found.after.value) for found in night.drift] == [("ann", 0.9, 0.2)]
    assert night.newcomers == ["cleo"]
    assert night.reasons == ["because"]


def test_a_copy_of_what_was_consumed_is_a_duplicate_and_told_once(store, champion: str) -> None:
    copy = batch("again.jsonl", State.DUPLICATE, "of monday.jsonl, consumed by version 1")
    found = Look(champion, [copy, batch("monday.jsonl", State.CONSUMED)], False, "nothing new")
    first = night_without_a_run("one", found, 1.0, [])
    told = [NightBatch("again.jsonl", "duplicate", "of monday.jsonl, consumed by version 1")]
    assert first == Night("one", "nothing new", 1.0, told, champion=champion)
    assert night_without_a_run("two", found, 1.0, [first]).batches == []


def test_where_a_merge_leaves_nothing_its_words_stand(steps: Steps, tmp_path: Path) -> None:
    steps.look(batch("a.jsonl"))
    steps.judge(batch("a.jsonl"))
    steps.judge(batch("a.jsonl", State.NOTHING_NEW, "counts already"), step="merge")
    assert [found.state for found in judged_batches(steps.parent, tmp_path)[1]] == [State.NOTHING_NEW]
    night = night_of("one", steps.parent, 3.0, [])
    assert (night.outcome, night.batches) == ("nothing new", [NightBatch("a.jsonl", "nothing new", "counts already")])


@pytest.mark.parametrize("failed", ["look", "validate_batches", "merge", "train", "register"])
def test_a_failed_night_says_which_step_and_why(steps: Steps, failed: str) -> None:
    def before(step: str) -> bool:
        order = ["look", "validate_batches", "merge", "train", "register"]
        return order.index(step) < order.index(failed)

    if before("look"):
        steps.look(batch("a.jsonl"))
    if before("validate_batches"):
        steps.judge(batch("a.jsonl"))
    if before("merge"):
        steps.publish("merge", "split", split={})
    if before("train"):
        steps.publish("train", "training", training={})
    with pytest.raises(OSError, match="no space"), step_run(steps.parent, failed):
        raise OSError("no space left")
    night = night_of("one", steps.parent, 3.0, [])
    assert (night.outcome, night.reasons) == ("failed", [f"step {failed} failed: OSError: no space left"])
    assert list(night.batches) == ([NightBatch("a.jsonl", "new")] if before("look") else [])
