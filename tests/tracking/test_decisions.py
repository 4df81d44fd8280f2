"""What people decide about versions: approval, force, rollback, copies; and that no reason is ever lost."""

import json
from functools import partial

import pytest
from mlflow import MlflowClient

from repo.errors import UserError
from repo.tracking import promotion
from repo.tracking.copying import copy_version
from repo.tracking.decisions import Decision, checked, decisions_in, record
from repo.tracking.handover import Pointer, content_digest, verify
from repo.tracking.lease import holding, take
from repo.tracking.promotion import (
    Change,
    Wish,
    decline,
    finish_promotion,
    known_version,
    promote_by_hand,
    promote_candidate,
    promote_version,
    roll_back,
    unfinished_promotion,
)
from repo.tracking.registry import Tag, list_models, register_version, version_tags
from repo.tracking.store import store_option

NAME = "repo-policy"
ANN = Wish("ann", reason="looks right")
SOON = 0.02
"""Seconds to settle: nobody else is at work here."""


def tags(verdict="promote", compared_with="", manual=False, simulated=False):
    return version_tags(
        loss="ipo",
        accuracy=0.75,
        annotators=10,
        mean_reliability=0.8,
        data_digest="d" * 64,
        config_digest="c" * 64,
        verdict=verdict,
        reasons=[],
        run_id="the-run",
        exam=Pointer("runs:/the-run/exam", "e" * 64),
        simulated=simulated,
        compared_with=compared_with,
        manual=manual,
    )


@pytest.fixture
def register(pointer):
    """Registers another version; without a word more it passed the gate, compared with the present champion."""

    def make(**facts) -> str:
        facts.setdefault("compared_with", aliases().get("champion", ""))
        return register_version(pointer(), NAME, tags(**facts))

    return make


@pytest.fixture
def champions(register):
    """Three that followed each other."""
    made = []
    for _ in range(3):
        version = register()
        promote_version(NAME, version, made[-1] if made else None)
        made.append(version)
    return made


def aliases(name=NAME):
    found = [model for model in MlflowClient().search_registered_models() if model.name == name]
    return {alias: str(version) for model in found for alias, version in model.aliases.items()}


def decided(version, name=NAME):
    found = decisions_in(MlflowClient().get_model_version(name, version).tags)
    return [(decision.what, decision.by, decision.reason, decision.champion) for decision in found]


def test_what_waits_for_approval_is_promoted_by_no_run(register):
    first = register(manual=True)
    assert promote_candidate(NAME, first, None, "run") == (
        f"{NAME} version {first} waits for approval: "
        f"repo-pipeline models promote 1 --model {NAME}{store_option()} --approve --by NAME"
    )
    assert unfinished_promotion(NAME) is None
    assert finish_promotion(NAME, "next run", SOON) is None
    assert aliases() == {"challenger": first}


@pytest.mark.parametrize("version", ["1", None])
def test_what_waits_is_promoted_by_who_approves_and_by_nobody_else(register, version):
    register(manual=True)
    with pytest.raises(UserError, match="waits") as caught:
        promote_by_hand(NAME, version, ANN, SOON)
    assert f"promote 1 --model {NAME}{store_option()} --approve --by NAME" in caught.value.remedy
    forced = Wish("ann", reason="hurry", force=True)
    with pytest.raises(UserError, match="waits for approval"):
        promote_by_hand(NAME, "1", forced, SOON)
    approved = promote_by_hand(NAME, version, Wish("bob", approve=True), SOON)
    assert approved == Change(NAME, "1", "")
    assert decided("1") == [("approved", "bob", "", ""), ("promoted", "bob", "", "")]
    [info] = list_models(NAME)
    assert (info.approval, info.aliases) == ("approved", ["champion"])


def test_a_register_step_that_is_tried_again_takes_no_approval_back(pointer):
    policy = pointer()
    for _ in range(2):
        register_version(policy, NAME, tags(manual=True))
        assert list_models(NAME)[0].approval == "waiting"
    promote_by_hand(NAME, None, Wish("bob", approve=True), SOON)
    register_version(policy, NAME, tags(manual=True))
    [info] = list_models(NAME)
    assert (info.approval, info.aliases) == ("approved", ["champion"])


def test_what_was_declined_is_promoted_by_no_run_and_asked_for_no_more(champions, pointer):
    policy = pointer()
    waiting = register_version(policy, NAME, tags(compared_with="3", manual=True))
    assert decline(NAME, "challenger", Wish("ann", reason="rude"), SOON) == waiting
    for _ in range(2):
        assert finish_promotion(NAME, "next run", SOON) is None
        assert promote_candidate(NAME, waiting, "3", "run") == f"{NAME} version {waiting} was declined meanwhile"
        register_version(policy, NAME, tags(compared_with="3", manual=True))  # the step is tried again
        register_version(policy, NAME, tags(compared_with="3"))
    assert (info_of(waiting).approval, aliases()) == ("declined", {"champion": "3", "previous-champion": "2"})
    assert decided(waiting) == [("declined", "ann", "rude", "3")]


def test_only_what_waits_is_declined(champions, register):
    register(verdict="reject", manual=True)
    for version in ("3", "4"):
        with pytest.raises(UserError, match="does not wait for approval"):
            decline(NAME, version, ANN, SOON)
        assert decided(version) == []
    with pytest.raises(UserError, match="no version 5"):
        decline(NAME, "5", ANN, SOON)


def test_what_was_declined_is_promoted_by_force_only_and_both_stay_on_record(register):
    version = register(manual=True)
    decline(NAME, version, Wish("ann", reason="rude"), SOON)
    for wish in (ANN, Wish("bob", approve=True)):
        with pytest.raises(UserError, match="was declined") as caught:
            promote_by_hand(NAME, version, wish, SOON)
        assert "--force --reason" in caught.value.remedy
    with pytest.raises(UserError, match="no version waits"):
        promote_by_hand(NAME, None, ANN, SOON)
    promote_by_hand(NAME, version, Wish("bob", reason="it was the old one", force=True), SOON)
    assert [(what, by) for what, by, *_ in decided(version)] == [("declined", "ann"), ("forced", "bob")]
    assert aliases() == {"champion": version}


def test_a_decision_against_a_version_that_is_cut_short_leaves_it_waiting_or_declined(register, monkeypatch):
    version = register(manual=True)
    for calls in range(12):
        done = ends_within(calls, monkeypatch, lambda: decline(NAME, version, Wish("ann", reason="rude"), SOON))
        forget_the_lease()
        info = info_of(version)
        assert info.approval in ("waiting", "declined")
        assert finish_promotion(NAME, "next run", SOON) is None
        if done or info.approval == "declined":
            break
    assert (info.approval, info.aliases, info.decisions[-1].reason) == ("declined", [], "rude")


def test_what_does_not_wait_cannot_be_approved(register):
    version = register()
    with pytest.raises(UserError, match="does not wait for approval"):
        promote_by_hand(NAME, version, Wish("ann", approve=True), SOON)
    assert decided(version) == []


def test_a_rejected_version_is_not_approved_of_but_forced_with_a_reason_that_stays(register):
    version = register(verdict="reject", manual=True)
    [info] = list_models(NAME)
    assert info.approval == ""
    with pytest.raises(UserError, match="did not pass the gate") as caught:
        promote_by_hand(NAME, version, ANN, SOON)
    assert "--force --reason" in caught.value.remedy
    promote_by_hand(NAME, version, Wish("ann", reason="only this one is polite", force=True), SOON)
    promote_version(NAME, register(), version)
    [_, info] = list_models(NAME)
    assert info.forced
    assert decided(version) == [("forced", "ann", "only this one is polite", "")]


def test_a_version_compared_with_an_earlier_champion_is_promoted_by_force_only(champions, register):
    late = register(compared_with=champions[0])
    with pytest.raises(UserError, match="compared with version 1, but the champion is now version 3") as caught:
        promote_by_hand(NAME, late, ANN, SOON)
    assert "run the pipeline again" in caught.value.remedy
    assert decided(late) == []
    assert promote_by_hand(NAME, late, Wish("ann", reason="tried", force=True), SOON) == Change(NAME, late, "3")
    assert aliases() == {"champion": late, "previous-champion": "3"}


def test_force_mixes_no_simulated_model_into_a_line_of_real_ones(champions, register):
    toy = register(simulated=True)
    with pytest.raises(UserError, match="real annotations"):
        promote_by_hand(NAME, toy, Wish("ann", reason="fun", force=True), SOON)
    assert decided(toy) == []


def test_promoting_the_champion_by_hand_changes_nothing(champions):
    before = aliases()
    assert promote_by_hand(NAME, "3", ANN, SOON) == Change(NAME, "3", "2")
    assert (aliases(), decided("3")) == (before, [])


def test_a_rollback_goes_one_step_back_each_time_and_says_who_and_why(champions):
    assert roll_back(NAME, Wish("ann", reason="rude"), SOON) == Change(NAME, "2", "3")
    assert aliases() == {"champion": "2", "previous-champion": "1"}
    assert roll_back(NAME, Wish("bob"), SOON) == Change(NAME, "1", "2")
    assert aliases() == {"champion": "1"}
    assert decided("3") == [("rolled back", "ann", "rude", "3")]
    assert decided("2") == [("rolled back", "bob", "", "2")]
    with pytest.raises(UserError, match="no previous champion"):
        roll_back(NAME, ANN, SOON)
    assert finish_promotion(NAME, "next run", SOON) is None
    assert aliases() == {"champion": "1"}


def test_a_version_rolled_back_can_be_promoted_again(champions):
    roll_back(NAME, ANN, SOON)
    assert promote_by_hand(NAME, "3", ANN, SOON) == Change(NAME, "3", "2")
    assert aliases() == {"champion": "3", "previous-champion": "2"}
    assert [what for what, *_ in decided("3")] == ["rolled back", "promoted"]


def test_a_promote_step_that_is_tried_again_undoes_no_rollback(champions):
    roll_back(NAME, ANN, SOON)
    words = promote_candidate(NAME, "3", "2", "run")
    assert words == f"{NAME} version 3 was champion and was replaced meanwhile"
    assert aliases() == {"champion": "2", "previous-champion": "1"}


def test_by_hand_and_without_a_number_a_promotion_that_was_cut_short_is_finished(champions, register, monkeypatch):
    fourth = register()
    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "set_registered_model_alias", cut_after(MlflowClient.set_registered_model_alias, [1]))
        with pytest.raises(KeyboardInterrupt):
            promote_version(NAME, fourth, "3")
    assert unfinished_promotion(NAME).version == fourth
    assert promote_by_hand(NAME, None, ANN, SOON) == Change(NAME, fourth, "3")
    assert unfinished_promotion(NAME) is None


def test_a_number_means_that_version_also_where_an_alias_reads_the_same(champions, register):
    MlflowClient().set_registered_model_alias(NAME, "1", register())
    assert known_version(NAME, list_models(NAME), "1").version == "1"


def test_a_rollback_past_a_version_that_was_deleted_leaves_no_previous_champion(champions):
    MlflowClient().delete_model_version(NAME, "1")
    roll_back(NAME, ANN, SOON)
    assert aliases() == {"champion": "2"}


def test_nothing_is_rolled_back_where_there_is_nothing(store):
    with pytest.raises(UserError, match="no previous champion"):
        roll_back(NAME, ANN, SOON)


def test_a_rollback_brings_back_the_exam_of_the_version_that_serves_again(champions, pointer):
    renewed = tags(compared_with="3") | {Tag.EXAM: "runs:/other/exam", Tag.EXAM_DIGEST: "f" * 64}
    promote_version(NAME, register_version(pointer(), NAME, renewed), "3")
    roll_back(NAME, ANN, SOON)
    kept = json.loads(MlflowClient().get_registered_model(NAME).tags[Tag.EXAM])
    assert kept["mlflow_uri"] == "runs:/the-run/exam"


WRITES = ("set_model_version_tag", "set_registered_model_tag", "set_registered_model_alias")


def test_a_rollback_cut_short_anywhere_is_undone_or_finished(champions, monkeypatch):
    """Before the alias moves nothing has happened; after it the next run puts previous-champion right."""
    for calls in range(12):
        done = ends_within(calls, monkeypatch, lambda: roll_back(NAME, ANN, SOON))
        forget_the_lease()
        finish_promotion(NAME, "next run", SOON)
        assert aliases() in (
            {"champion": "3", "previous-champion": "2"},
            {"champion": "2", "previous-champion": "1"},
        )
        if done:
            break
        if aliases()["champion"] == "2":
            promote_by_hand(NAME, "3", ANN, SOON)
    else:
        pytest.fail("never done")


def ends_within(calls, monkeypatch, act):
    """Do something in a process that is killed after so many writes; return whether it came to its end."""
    left = [calls]
    with monkeypatch.context() as patched:
        for name in (*WRITES, "delete_registered_model_alias", "delete_registered_model_tag"):
            patched.setattr(MlflowClient, name, cut_after(getattr(MlflowClient, name), left))
        try:
            act()
        except KeyboardInterrupt:
            return False
    return True


def cut_after(write, left):
    """A write after `left` of which the process is killed."""

    def cut(*arguments, **named):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return write(*arguments, **named)

    return cut


def forget_the_lease():
    """As when it has run out: the process that held it was killed."""
    if Tag.LEASE in MlflowClient().get_registered_model(NAME).tags:
        MlflowClient().delete_registered_model_tag(NAME, Tag.LEASE)


def test_nobody_moves_an_alias_while_another_holds_the_line(champions, register):
    version = register()
    assert take(NAME, "a pass", settle=SOON).held
    words = "another is at work on this model line: a pass holds the lease"
    with pytest.raises(UserError, match=words) as caught, holding(NAME, "somebody else", SOON, patience=0.1):
        pytest.fail("held by two")
    assert "again when that one has ended" in caught.value.remedy
    promote_candidate(NAME, version, "3", "a pass")
    assert aliases()["champion"] == version
    assert Tag.LEASE in MlflowClient().get_registered_model(NAME).tags, "the pass goes on holding it"


def test_a_run_that_cannot_promote_for_another_at_work_is_not_told_to_train_again(champions, register, monkeypatch):
    version = register()
    assert take(NAME, "a pass", settle=SOON).held
    monkeypatch.setattr(promotion, "holding", partial(holding, settle=SOON, patience=0.1))
    with pytest.raises(UserError, match="a pass holds the lease") as caught:
        promote_candidate(NAME, version, "3", "run")
    assert f"repo-pipeline models promote {version} --model {NAME}" in caught.value.remedy
    assert "again" not in caught.value.remedy


def test_decisions_are_kept_in_order_and_none_overwrites_another(register):
    version = register()
    made = [Decision("promoted", f"somebody {number}", "why not", "") for number in range(12)]
    for decision in made:
        record(NAME, version, decision)
    assert decisions_in(MlflowClient().get_model_version(NAME, version).tags) == made


def test_a_tag_of_somebody_else_is_shown_as_it_is():
    [found] = decisions_in({"decision.x": "not ours", "other": "1"})
    assert (found.what, found.reason) == ("unreadable", "not ours")


@pytest.mark.parametrize("text", ["", " \n\t", "x" * 2001])
def test_a_blank_or_endless_reason_is_refused(text):
    with pytest.raises(UserError, match="--reason"):
        checked("--reason", text)


def test_a_reason_is_kept_on_one_line():
    assert checked("--reason", " two\n lines ") == "two lines"


@pytest.fixture
def whole(parent, tmp_path, pointer):
    """Registers versions whose bytes exist."""

    def make(**facts) -> str:
        made = pointer()
        content = tmp_path / made.mlflow_uri.removeprefix("models:/")
        content.mkdir()
        (content / "MLmodel").write_text(f"metadata: {{made: {made.mlflow_uri}}}")
        MlflowClient().log_model_artifacts(content.name, str(content))
        facts.setdefault("compared_with", aliases().get("champion", ""))
        return register_version(Pointer(made.mlflow_uri, content_digest(content)), NAME, tags(**facts))

    return make


def info_of(version, name=NAME):
    return next(info for info in list_models(name) if info.version == version)


def test_a_copy_carries_what_is_true_of_the_policy_and_nothing_of_its_line(whole):
    version = whole()
    promote_by_hand(NAME, version, ANN, SOON)
    copy = copy_version(NAME, info_of(version), "production", Wish("bob", reason="release 7"))
    made = info_of(copy, "production")
    assert (made.copied_from, made.aliases, made.digest) == (f"{NAME}/1", ["challenger"], info_of(version).digest)
    assert (made.verdict, made.loss, made.promoted_at, made.promoted_from) == ("promote", "ipo", "", None)
    assert decided(copy, "production") == [("copied", "bob", "release 7", "")]
    assert copy_version(NAME, info_of(version), "production", ANN) == copy
    assert finish_promotion("production", "a run there", SOON) is None, "whoever copied it promotes it"
    assert promote_by_hand("production", None, ANN, SOON).champion == copy


def test_a_copy_counts_as_compared_where_the_champion_there_is_what_it_was_compared_with(whole):
    first = whole()
    promote_version(NAME, first, None)
    second, other = whole(), whole(compared_with="7")
    for version in (first, second, other):
        copy_version(NAME, info_of(version), "production", ANN)
    promote_by_hand("production", "1", ANN, SOON)
    for version in (second, other):
        copy_version(NAME, info_of(version), "later", ANN)
    # In production the copies came before the champion there, in "later" there is none.
    with pytest.raises(UserError, match="compared with no champion, but the champion is now version 1"):
        promote_by_hand("production", "2", ANN, SOON)
    promote_by_hand("later", "1", ANN, SOON)
    third = whole(compared_with=second)
    compared = copy_version(NAME, info_of(third), "later", ANN)
    stranger = copy_version(NAME, info_of(first), "later", ANN)
    assert (info_of(compared, "later").compared_with, info_of(stranger, "later").compared_with) == ("1", None)
    with pytest.raises(UserError, match="compared with no champion"):
        promote_by_hand("later", stranger, ANN, SOON)
    assert promote_by_hand("later", compared, ANN, SOON) == Change("later", compared, "1")


def test_a_copy_outlives_the_version_that_it_is_of(whole):
    version = whole()
    copy = copy_version(NAME, info_of(version), "production", ANN)
    MlflowClient().delete_registered_model(NAME)
    verify(info_of(copy, "production").pointer)


def test_what_was_changed_since_it_was_registered_is_not_copied(whole, store):
    version = whole()
    [file] = store.artifacts.glob("**/MLmodel")
    file.write_text("metadata: {made: by somebody else}")
    with pytest.raises(UserError, match="content has changed"):
        copy_version(NAME, info_of(version), "production", ANN)
    assert list_models("production") == []


def test_a_toy_is_not_copied_into_a_line_of_real_models(whole, register):
    toy = whole(simulated=True)
    MlflowClient().create_registered_model("production")
    real = info_of(toy).source
    MlflowClient().create_model_version("production", real, tags={Tag.SIMULATED: "false"})
    with pytest.raises(UserError, match="holds models of real annotations"):
        copy_version(NAME, info_of(toy), "production", ANN)


def test_a_line_is_not_copied_into_itself(whole):
    with pytest.raises(UserError, match="that is the line"):
        copy_version(NAME, info_of(whole()), NAME, ANN)
