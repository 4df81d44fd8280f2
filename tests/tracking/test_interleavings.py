"""Three processes decide about one model line at the same moment, 200 times: it is always as if one came after another.

Each waits a random moment before every call to MLflow, so that the calls mix in another way each time. What they say
they did, what they refused, the aliases and the reasons kept must all be those of *some* order of the three.
"""

import itertools
import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from mlflow import MlflowClient

from repo.errors import UserError
from repo.tracking.decisions import decisions_in
from repo.tracking.promotion import Wish, finish_promotion, promote_by_hand, promote_candidate, roll_back
from repo.tracking.registry import Tag, list_models
from repo.tracking.store import Store

pytestmark = pytest.mark.slow

TRIALS = 200
ACTORS = 3
LANES = 4
"""Lines at work side by side, each in a thread of every process."""
LONGEST_WAIT = 0.04
CALLS = (
    "get_registered_model",
    "get_model_version",
    "search_model_versions",
    "set_model_version_tag",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "delete_registered_model_tag",
)
ACTIONS = ("promote 2", "promote 3", "force 4", "force 2", "roll back", "finish", "candidate 3")
PASSED = ("2", "3")
"""Compared with version 1, the champion at the start; version 4 was rejected."""


@dataclass
class Model:
    """What a line does when nobody disturbs it."""

    champion: str = "1"
    replaced: dict[str, str] = field(default_factory=lambda: {"1": ""})
    reasons: list[tuple[str, str]] = field(default_factory=list)

    def does(self, actor: int, action: str) -> str:
        """Return what the actor is told: the champion after it, or refused."""
        verb, _, version = action.rpartition(" ")
        if action == "roll back":
            return self._rolls_back(actor)
        if action == "finish":
            waiting = [v for v in PASSED if v not in self.replaced and self.champion == "1"]
            return self._promotes(max(waiting)) if waiting else "nothing"
        if version == self.champion or (verb == "candidate" and version in self.replaced):
            return version  # a step that is tried again brings back nothing that was replaced
        if verb != "force" and self.champion != "1":
            return "refused"
        if verb != "candidate":
            self.reasons.append((version, f"reason of {actor}"))
        return self._promotes(version)

    def _promotes(self, version: str) -> str:
        self.replaced[version], self.champion = self.champion, version
        return version

    def _rolls_back(self, actor: int) -> str:
        earlier = self.replaced[self.champion]
        if not earlier:
            return "refused"
        self.reasons.append((self.champion, f"reason of {actor}"))
        self.champion = earlier
        return earlier

    @property
    def aliases(self) -> dict[str, str]:
        previous = self.replaced[self.champion]
        return {"champion": self.champion, **({"previous-champion": previous} if previous else {})}


def really_does(line: str, actor: int, action: str) -> str:
    verb, _, version = action.rpartition(" ")
    wish = Wish(f"actor {actor}", reason=f"reason of {actor}", force=verb == "force")
    try:
        if action == "roll back":
            return roll_back(line, wish).champion
        if action == "finish":
            return finish_promotion(line, f"run of {actor}") or "nothing"
        if verb == "candidate":
            promote_candidate(line, version, "1", f"run of {actor}")
            return version
        return promote_by_hand(line, version, wish).champion
    except UserError as error:
        return "refused" if "at work" not in error.problem else f"waited in vain: {error}"


def plan(trial: int) -> list[str]:
    return random.Random(trial).choices(ACTIONS, k=ACTORS)


def work(actor: int, uri: str, barriers: list[Barrier], told: "Queue[Any]") -> None:
    """Play one actor in all trials."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    moments = threading.local()
    for name in CALLS:
        setattr(MlflowClient, name, delayed(getattr(MlflowClient, name), moments))
    lanes = [
        threading.Thread(target=lane, args=(actor, number, barriers[number], moments, told)) for number in range(LANES)
    ]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()


def lane(actor: int, number: int, barrier: Barrier, moments: threading.local, told: "Queue[Any]") -> None:
    for trial in range(number, TRIALS, LANES):
        moments.chance = random.Random(f"{trial} {actor}")
        barrier.wait(timeout=120)
        try:
            told.put((trial, actor, really_does(f"line-{trial}", actor, plan(trial)[actor])))
        except Exception as error:
            told.put((trial, actor, f"failed: {error!r}"))


def delayed(call: Callable[..., Any], moments: threading.local) -> Callable[..., Any]:
    def wait_and_call(*arguments: Any, **named: Any) -> Any:
        time.sleep(moments.chance.uniform(0, LONGEST_WAIT))
        return call(*arguments, **named)

    return wait_and_call


def make_lines(source: str) -> None:
    """Lines with a champion and three versions that want to be."""
    client = MlflowClient()
    for trial in range(TRIALS):
        line = f"line-{trial}"
        client.create_registered_model(line)
        for version in "1234":
            verdict = "reject" if version == "4" else "promote"
            compared = "" if version == "1" else "1"
            tags = {Tag.VERDICT: verdict, Tag.COMPARED_WITH: compared, Tag.MODEL_DIGEST: "0" * 64}
            first = {Tag.PROMOTED_FROM: "", Tag.PROMOTED_AT: "2026-01-01T00:00:00+00:00"} if version == "1" else {}
            client.create_model_version(line, source, tags={**tags, **first})
        client.set_registered_model_alias(line, "champion", "1")


def kept(line: str) -> list[tuple[str, str]]:
    versions = MlflowClient().search_model_versions(f"name = '{line}'")
    return sorted((str(v.version), decision.reason) for v in versions for decision in decisions_in(v.tags))


def explained(trial: int, said: dict[int, str]) -> bool:
    """Whether some order of the actors gives what they were told and what is there now."""
    line, actions = f"line-{trial}", plan(trial)
    model = MlflowClient().get_registered_model(line)
    there = {alias: str(version) for alias, version in model.aliases.items()}
    assert Tag.LEASE not in model.tags, "the line was given back"
    reasons = kept(line)
    for order in itertools.permutations(range(ACTORS)):
        reference = Model()
        answers = {actor: reference.does(actor, actions[actor]) for actor in order}
        if answers == said and reference.aliases == there and sorted(reference.reasons) == reasons:
            return True
    return False


def test_whatever_three_processes_decide_at_once_is_as_if_one_came_after_another(
    store: Store, pointer: Callable[[], Any]
) -> None:
    make_lines(pointer().mlflow_uri)
    context = multiprocessing.get_context("spawn")
    barriers = [context.Barrier(ACTORS) for _ in range(LANES)]
    told: Queue[tuple[int, int, str]] = context.Queue()
    workers = [
        context.Process(target=work, args=(actor, store.tracking_uri, barriers, told), daemon=True)
        for actor in range(ACTORS)
    ]
    for worker in workers:
        worker.start()
    said: dict[int, dict[int, str]] = {trial: {} for trial in range(TRIALS)}
    for _ in range(TRIALS * ACTORS):
        trial, actor, answer = told.get(timeout=240)
        said[trial][actor] = answer
    for worker in workers:
        worker.join(timeout=30)
    wrong = {
        trial: (plan(trial), answers, {info.version: info.aliases for info in list_models(f"line-{trial}")})
        for trial, answers in said.items()
        if not explained(trial, answers)
    }
    assert not wrong
    answers = [answer for trial in said.values() for answer in trial.values()]
    assert answers.count("refused") > TRIALS / 10, "they did get into each other's way"
