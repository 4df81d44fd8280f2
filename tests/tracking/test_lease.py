import json
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from mlflow import MlflowClient

from repo.errors import UserError
from repo.tracking.lease import Claim, release, renew, take
from repo.tracking.registry import Tag, list_models

NAME = "repo-policy"
QUICK = 0.01
"""Seconds to settle where nobody else asks."""


def lease():
    return json.loads(MlflowClient().get_registered_model(NAME).tags[Tag.LEASE])


def write(owner, expires_in, seconds=900):
    """Leave the lease of somebody whose clock may say anything; return its expiry as it is shown."""
    expires = (datetime.now(UTC) + timedelta(seconds=expires_in)).isoformat(timespec="seconds")
    row = {"owner": owner, "expires": expires, "seconds": seconds}
    MlflowClient().set_registered_model_tag(NAME, Tag.LEASE, json.dumps(row))
    return expires


def seconds_left():
    return (datetime.fromisoformat(lease()["expires"]) - datetime.now(UTC)).total_seconds()


@pytest.fixture
def line(store):
    MlflowClient().create_registered_model(NAME, description="mine")


def test_a_line_without_a_model_is_taken_and_gets_one(store):
    assert take(NAME, "a", settle=QUICK) == Claim(True, "")
    assert lease()["owner"] == "a"
    assert lease()["seconds"] == 900
    assert 890 < seconds_left() <= 900
    assert list_models(NAME) == []
    assert "retraining pass" in MlflowClient().get_registered_model(NAME).description


def test_a_model_that_exists_keeps_its_description(line):
    assert take(NAME, "a", settle=QUICK).held
    assert MlflowClient().get_registered_model(NAME).description == "mine"


def test_a_lease_in_force_is_not_taken_and_its_holder_is_named(line):
    until = write("a", 60)
    before = lease()
    claim = take(NAME, "b", settle=QUICK)
    assert claim == Claim(False, f"a holds the lease on {NAME} until {until}")
    assert lease() == before


def test_taking_it_again_renews(line):
    take(NAME, "a", seconds=60, settle=QUICK)
    assert take(NAME, "a", seconds=900, settle=QUICK) == Claim(True, "")
    assert seconds_left() > 890


def test_a_stale_lease_is_taken_over_and_its_owner_is_named(line):
    expired = write("a", -1)
    claim = take(NAME, "b", settle=QUICK)
    assert claim.held
    assert claim.words == f"a left its lease on {NAME} behind, which ran out at {expired}; it was taken over"
    assert lease()["owner"] == "b"


def test_whoever_writes_last_holds_it(line):
    claims = []
    asking = Thread(target=lambda: claims.append(take(NAME, "a", settle=1.0)))
    asking.start()
    wait_for_lease_of("a")
    until = write("b", 60)
    asking.join()
    assert claims == [Claim(False, f"b holds the lease on {NAME} until {until}")]


def test_a_lease_deleted_while_it_was_being_taken_is_not_held(line):
    claims = []
    asking = Thread(target=lambda: claims.append(take(NAME, "a", settle=1.0)))
    asking.start()
    wait_for_lease_of("a")
    MlflowClient().delete_registered_model_tag(NAME, Tag.LEASE)
    asking.join()
    assert not claims[0].held
    assert "nobody holds the lease" in claims[0].words


@pytest.mark.parametrize("left", [30, -30])
def test_renewing_gives_a_lease_its_full_time_again_even_where_it_ran_out_unnoticed(line, left):
    write("a", left, seconds=300)
    renew(NAME, "a", settle=QUICK)
    assert lease()["owner"] == "a"
    assert lease()["seconds"] == 300
    assert 290 < seconds_left() <= 300


def test_a_lease_that_another_holds_is_lost(line):
    until = write("b", 60)
    with pytest.raises(UserError, match=rf"a has lost the lease.*b holds the lease on {NAME} until") as caught:
        renew(NAME, "a", settle=QUICK)
    assert until in caught.value.problem
    assert "nothing was promoted" in caught.value.remedy
    assert lease()["owner"] == "b"


def test_a_lease_that_another_has_held_in_the_meantime_is_lost_too(line):
    with pytest.raises(UserError, match=r"a has lost the lease.*nobody holds the lease"):
        renew(NAME, "a", settle=QUICK)


def test_a_stale_lease_that_is_renewed_and_taken_over_at_once_has_one_holder(line):
    write("a", -1)
    lost = []

    def renew_late():
        try:
            renew(NAME, "a", settle=1.0)
        except UserError as error:
            lost.append(error.problem)

    owner = Thread(target=renew_late)
    owner.start()
    while seconds_left() < 0:
        time.sleep(0.01)
    write("b", 900)  # somebody who saw it stale
    owner.join()
    assert "b holds the lease" in lost[0]


def test_a_lease_is_not_renewed_where_there_is_no_model(store):
    with pytest.raises(UserError, match="a has lost the lease"):
        renew(NAME, "a", settle=QUICK)


def test_a_released_line_is_free(line):
    take(NAME, "a", settle=QUICK)
    release(NAME, "a")
    assert Tag.LEASE not in MlflowClient().get_registered_model(NAME).tags
    assert take(NAME, "b", settle=QUICK) == Claim(True, "")


def test_nobody_releases_what_is_not_theirs(line):
    write("b", 60)
    before = lease()
    release(NAME, "a")
    assert lease() == before


def test_releasing_where_there_is_no_lease_or_no_model_does_nothing(store):
    release(NAME, "a")
    MlflowClient().create_registered_model(NAME)
    release(NAME, "a")


def test_a_clock_set_back_an_hour_lets_nobody_in_and_locks_nobody_out_for_longer_than_a_lease(line):
    said = write("a", 3600, seconds=2)
    claim = take(NAME, "b", settle=QUICK)
    assert not claim.held
    assert lease()["owner"] == "a"
    assert seconds_left() <= 2
    assert claim.words.startswith(f"a holds the lease on {NAME} until {lease()['expires'].replace('Z', '+00:00')}; ")
    assert f"it said {said}, though a lease lasts 2 seconds" in claim.words
    assert "clock was set back" in claim.words
    time.sleep(2)
    assert take(NAME, "b", settle=QUICK).held


def test_an_owner_whose_clock_was_set_back_goes_on(line):
    write("a", 3600)
    take(NAME, "b", settle=QUICK)
    renew(NAME, "a", settle=QUICK)
    assert lease()["owner"] == "a"
    assert 890 < seconds_left() <= 900


@pytest.mark.parametrize(
    "text",
    [
        "",
        "held",
        "[]",
        '{"owner": "a"}',
        '{"owner": "", "expires": "2030-01-01T00:00:00Z", "seconds": 900}',
        '{"owner": "a", "expires": "2030-01-01T00:00:00", "seconds": 900}',
        '{"owner": "a", "expires": "tomorrow", "seconds": 900}',
        '{"owner": "a", "expires": "2030-01-01T00:00:00Z", "seconds": 0}',
        '{"owner": "a", "expires": "2030-01-01T00:00:00Z", "seconds": 1e300}',
    ],
)
@pytest.mark.parametrize("act", [take, renew, release])
def test_a_tag_that_is_no_lease_is_left_alone_and_explained(line, text, act):
    MlflowClient().set_registered_model_tag(NAME, Tag.LEASE, text)
    with pytest.raises(UserError, match=f"{NAME}: tag lease of the registered model is no lease") as caught:
        act(NAME, "a")
    assert "delete that tag in MLflow" in caught.value.remedy
    assert MlflowClient().get_registered_model(NAME).tags[Tag.LEASE] == text


PROCESSES = 4
FREE, STALE = 10, 3


def test_of_processes_that_ask_at_once_exactly_one_takes_a_line_that_is_free_or_stale(store):
    spawn = multiprocessing.get_context("spawn")
    together, claims = spawn.Barrier(PROCESSES + 1), spawn.Queue()
    workers = [spawn.Process(target=ask, args=(f"pass-{i}", together, claims)) for i in range(PROCESSES)]
    for worker in workers:
        worker.start()
    try:
        rounds = [one_round(together, claims, stale=number >= FREE) for number in range(FREE + STALE)]
    finally:
        for worker in workers:
            worker.join(5)
            worker.kill()
    winners = [[claim for claim in claimed if claim.held] for claimed in rounds]
    assert [len(claimed) for claimed in winners] == [1] * (FREE + STALE)
    assert [winner.words != "" for [winner] in winners] == [False] * FREE + [True] * STALE


def one_round(together, claims, *, stale):
    if stale:
        write("the-dead", -1)
    together.wait(120)  # the first time they still import MLflow
    claimed = [claims.get(timeout=60) for _ in range(PROCESSES)]
    together.wait(60)
    together.wait(60)
    return claimed


def ask(owner, together, claims):
    for _ in range(FREE + STALE):
        together.wait(120)
        claims.put(take(NAME, owner))
        together.wait(60)
        release(NAME, owner)
        together.wait(60)


def wait_for_lease_of(owner):
    while Tag.LEASE not in MlflowClient().get_registered_model(NAME).tags or lease()["owner"] != owner:
        time.sleep(0.01)
