import json
from contextlib import suppress
from dataclasses import asdict
from functools import partial, partialmethod

import pytest
from mlflow import MlflowClient

from repo.errors import UserError
from repo.tracking.handover import Pointer
from repo.tracking.promotion import Wish, finish_promotion, promote_by_hand, promote_version
from repo.tracking.registry import (
    Tag,
    champion,
    check_line,
    line_exam,
    list_models,
    register_version,
    version_tags,
)

TAGS = version_tags(
    loss="ipo",
    accuracy=0.75,
    annotators=10,
    mean_reliability=0.8,
    data_digest="d" * 64,
    config_digest="c" * 64,
    verdict="promote",
    reasons=["accuracy 0.75 ≥ 0.5", "gain over base 0.1 ≥ 0"],
    run_id="the-run",
    exam=Pointer("runs:/the-run/exam", "e" * 64),
    simulated=False,
    compared_with="",
)
NAME = "repo-policy"
ANN = Wish("ann")
WRITES = (
    "set_model_version_tag",
    "set_registered_model_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)
"""All that a promotion may call."""


def aliases():
    return {alias: str(version) for alias, version in MlflowClient().get_registered_model(NAME).aliases.items()}


def test_nothing_registered_is_no_model_and_no_champion(store):
    assert list_models(NAME) == []
    assert champion(NAME) is None


def test_what_was_registered_is_listed(pointer):
    made = pointer()
    version = register_version(made, NAME, TAGS)
    [info] = list_models(NAME)
    assert (info.version, info.aliases) == (version, ["challenger"])
    assert (info.loss, info.accuracy, info.annotators, info.mean_reliability) == ("ipo", 0.75, 10, 0.8)
    assert (info.verdict, info.data_digest, info.run_id) == ("promote", "d" * 64, "the-run")
    assert info.pointer == made
    assert info.created.endswith("+00:00")
    json.dumps(asdict(info), allow_nan=False)
    tags = MlflowClient().get_model_version(NAME, version).tags
    assert tags[Tag.VERDICT_REASONS].splitlines() == ["accuracy 0.75 ≥ 0.5", "gain over base 0.1 ≥ 0"]


def test_a_number_that_is_not_finite_is_listed_as_unknown(pointer):
    register_version(pointer(), NAME, {**TAGS, Tag.ACCURACY: "nan", Tag.MEAN_RELIABILITY: "inf"})
    [info] = list_models(NAME)
    assert (info.accuracy, info.mean_reliability) == (None, None)


def test_a_version_that_somebody_registered_by_hand_is_listed_too(pointer):
    client = MlflowClient()
    client.create_registered_model(NAME)
    client.create_model_version(NAME, source=pointer().mlflow_uri)
    [info] = list_models(NAME)
    assert (info.loss, info.accuracy, info.annotators, info.verdict) == ("", None, None, "")


def test_the_same_policy_registers_once_and_its_tags_follow(pointer):
    made = pointer()
    first = register_version(made, NAME, {**TAGS, Tag.VERDICT: "reject"})
    assert register_version(made, NAME, TAGS) == first
    [info] = list_models(NAME)
    assert info.verdict == "promote"


def test_versions_are_listed_newest_first_and_the_newest_is_challenger(pointer):
    versions = [register_version(pointer(), NAME, TAGS) for _ in range(11)]
    assert [info.version for info in list_models(NAME)] == versions[::-1]
    assert aliases() == {"challenger": "11"}


def test_a_promotion_moves_champion_and_keeps_the_previous_one(pointer):
    first, second = register_version(pointer(), NAME, TAGS), register_version(pointer(), NAME, TAGS)
    promote_version(NAME, first, expected_champion=None)
    assert aliases() == {"champion": first, "challenger": second}
    promote_version(NAME, second, expected_champion=first)
    assert aliases() == {"champion": second, "previous-champion": first}
    found = champion(NAME)
    assert found is not None
    assert (found.version, found.aliases) == (second, ["champion"])
    tags = MlflowClient().get_model_version(NAME, second).tags
    assert tags[Tag.PROMOTED_FROM] == first
    assert tags[Tag.PROMOTED_AT].endswith("+00:00")


def test_promoting_the_champion_again_changes_nothing(pointer):
    made = pointer()
    first, second = register_version(pointer(), NAME, TAGS), register_version(made, NAME, TAGS)
    promote_version(NAME, first, None)
    promote_version(NAME, second, first)
    before = MlflowClient().get_model_version(NAME, second).tags
    assert register_version(made, NAME, TAGS) == second
    promote_version(NAME, second, expected_champion=first)
    assert aliases() == {"champion": second, "previous-champion": first}
    assert MlflowClient().get_model_version(NAME, second).tags == before


def test_a_champion_that_changed_meanwhile_is_not_overthrown(pointer):
    first, second, third = (register_version(pointer(), NAME, TAGS) for _ in range(3))
    promote_version(NAME, first, None)
    promote_version(NAME, second, first)
    before = aliases()
    with pytest.raises(UserError, match="compared with version 1, but the champion is now version 2") as caught:
        promote_version(NAME, third, expected_champion=first)
    assert "run the pipeline again" in caught.value.remedy
    with pytest.raises(UserError, match="compared with no champion, but the champion is now version 2"):
        promote_version(NAME, third, expected_champion=None)
    assert aliases() == before
    assert Tag.PROMOTED_AT not in MlflowClient().get_model_version(NAME, third).tags


def test_a_pass_that_promotes_late_does_not_overthrow_what_a_newer_one_promoted(pointer):
    first = register_version(pointer(), NAME, TAGS)
    promote_version(NAME, first, None)
    late, newer = (register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: first}) for _ in range(2))
    promote_version(NAME, newer, first)
    before = aliases()
    with pytest.raises(UserError, match="compared with version 1, but the champion is now version 3"):
        promote_version(NAME, late, first)
    with pytest.raises(UserError, match="compared with version 1, but the champion is now version 3"):
        promote_by_hand(NAME, late, ANN)
    assert finish_promotion(NAME, "next run") is None
    assert aliases() == before


def test_a_champion_that_changes_while_a_promotion_is_being_checked_is_not_overthrown(pointer, monkeypatch):
    first, late, newer = (register_version(pointer(), NAME, TAGS) for _ in range(3))
    promote_version(NAME, first, None)
    listing = MlflowClient.search_model_versions

    def meanwhile(*arguments, **named):
        slow.undo()
        promote_version(NAME, newer, first)
        return listing(*arguments, **named)

    with monkeypatch.context() as slow:
        slow.setattr(MlflowClient, "search_model_versions", meanwhile)
        with pytest.raises(UserError, match="compared with version 1, but the champion is now version 3"):
            promote_version(NAME, late, first)
    assert aliases() == {"champion": newer, "previous-champion": first}
    assert Tag.PROMOTED_AT not in MlflowClient().get_model_version(NAME, late).tags


def test_promoting_a_version_that_does_not_exist_moves_no_alias(pointer):
    promote_version(NAME, register_version(pointer(), NAME, TAGS), None)
    before = aliases()
    with pytest.raises(Exception, match="not found"):
        promote_version(NAME, "99", expected_champion="1")
    assert aliases() == before


def test_the_first_promotion_freezes_the_line_s_exam(pointer):
    version = register_version(pointer(), NAME, TAGS)
    assert line_exam(NAME) is None
    promote_version(NAME, version, None)
    assert line_exam(NAME) == Pointer("runs:/the-run/exam", "e" * 64)


def test_a_promoted_version_with_a_renewed_exam_brings_it(pointer):
    first = register_version(pointer(), NAME, TAGS)
    promote_version(NAME, first, None)
    renewed = register_version(pointer(), NAME, {**TAGS, Tag.EXAM: "runs:/later/exam", Tag.EXAM_DIGEST: "f" * 64})
    assert line_exam(NAME) == Pointer("runs:/the-run/exam", "e" * 64)
    promote_version(NAME, renewed, first)
    assert line_exam(NAME) == Pointer("runs:/later/exam", "f" * 64)


@pytest.mark.parametrize("simulated", [True, False])
def test_a_line_knows_one_kind_of_annotations(pointer, simulated):
    first = register_version(pointer(), NAME, {**TAGS, Tag.SIMULATED: str(simulated).lower()})
    promote_version(NAME, first, None)
    check_line(NAME, simulated)
    other = register_version(pointer(), NAME, {**TAGS, Tag.SIMULATED: str(not simulated).lower()})
    with pytest.raises(UserError, match="holds models of"):
        promote_version(NAME, other, first)
    assert aliases()["champion"] == first


def test_a_promotion_cut_short_anywhere_is_finished_by_the_same_call(pointer, monkeypatch):
    """Every write of a promotion fails once; before and after the repair there is a champion and its way back."""
    zeroth, first = register_version(pointer(), NAME, TAGS), register_version(pointer(), NAME, TAGS)
    promote_version(NAME, zeroth, None)
    promote_version(NAME, first, zeroth)
    champions = [first]
    for name in WRITES:
        for before in (0, 1):
            version = register_version(pointer(), NAME, TAGS)
            with monkeypatch.context() as cut:
                cut.setattr(MlflowClient, name, cut_after(getattr(MlflowClient, name), before))
                with suppress(KeyboardInterrupt):
                    promote_version(NAME, version, champions[-1])
            found = aliases()
            assert (found["champion"], found["previous-champion"]) != (champions[-1], champions[-1])
            promote_version(NAME, version, champions[-1])
            assert aliases() == {"champion": version, "previous-champion": champions[-1]}
            champions.append(version)


def test_a_version_that_passed_and_was_not_promoted_is_finished_by_the_next_run(pointer):
    first = register_version(pointer(), NAME, TAGS)
    assert finish_promotion(NAME, "next run") == first
    assert finish_promotion(NAME, "next run") is None
    passed = register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: first})
    register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: first, Tag.VERDICT: "reject"})
    assert finish_promotion(NAME, "next run") == passed
    assert aliases() == {"champion": passed, "previous-champion": first, "challenger": "3"}


def test_a_promotion_cut_after_the_switch_is_repaired_by_the_next_run(pointer, monkeypatch):
    first = register_version(pointer(), NAME, TAGS)
    promote_version(NAME, first, None)
    second = register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: first})
    with monkeypatch.context() as killed:
        name = "set_registered_model_alias"
        killed.setattr(MlflowClient, name, cut_after(getattr(MlflowClient, name), 1))
        with suppress(KeyboardInterrupt):
            promote_version(NAME, second, first)
    assert aliases() == {"champion": second, "challenger": second}
    assert finish_promotion(NAME, "next run") == second
    assert aliases() == {"champion": second, "previous-champion": first}


@pytest.mark.parametrize("writes_done", range(6))
def test_a_promotion_killed_after_any_of_its_writes_is_finished_by_the_next_run(pointer, monkeypatch, writes_done):
    first = register_version(pointer(), NAME, TAGS)
    promote_version(NAME, first, None)
    second = register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: first})
    with monkeypatch.context() as killed:
        write = cut_after(lambda one, *arguments: one(*arguments), writes_done)
        for name in WRITES:
            killed.setattr(MlflowClient, name, partialmethod(partial(write, getattr(MlflowClient, name))))
        with pytest.raises(KeyboardInterrupt):
            promote_version(NAME, second, first)
    assert finish_promotion(NAME, "next run") == second
    assert aliases() == {"champion": second, "previous-champion": first}
    assert champion(NAME).promoted_at
    assert finish_promotion(NAME, "next run") is None


def test_a_version_compared_with_another_champion_or_older_than_it_does_not_wait(pointer):
    old = register_version(pointer(), NAME, TAGS)
    first = register_version(pointer(), NAME, TAGS)
    promote_version(NAME, first, None)
    assert finish_promotion(NAME, "next run") is None
    other = register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: "7"})
    assert finish_promotion(NAME, "next run") is None
    for version in (old, other):
        with pytest.raises(UserError, match="was compared with"):
            promote_by_hand(NAME, version, ANN)
    rejected = register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: first, Tag.VERDICT: "reject"})
    with pytest.raises(UserError, match="did not pass the gate"):
        promote_by_hand(NAME, rejected, ANN)
    passed = register_version(pointer(), NAME, {**TAGS, Tag.COMPARED_WITH: first})
    assert promote_by_hand(NAME, None, ANN).champion == passed


def cut_after(write, calls):
    """A write that happens `calls` times, then never again: the process was killed there."""
    left = [calls]

    def cut(*arguments, **named):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return write(*arguments, **named)

    return cut
