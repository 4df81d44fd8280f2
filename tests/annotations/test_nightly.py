"""A simulated fortnight brings its comparisons in nightly files, and its events on their days."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from repo.annotations.nightly import Events, Nightly
from repo.annotations.reading.reader import read_annotations
from repo.errors import UserError
from repo.files import read_jsonl
from repo.settings import DataSettings, SimulationSettings

SMALL = SimulationSettings(comparisons=130, prompts=40)


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inbox")
    Nightly(SMALL, 14).write(directory)
    return directory


def test_every_day_brings_its_files(inbox: Path) -> None:
    nightly = Nightly(SMALL, 14)
    own = [f"day-{day:02}.jsonl" for day in range(1, 15) if day != 11]
    extra = ["day-09-again.jsonl", "day-10-broken.jsonl"]
    assert sorted(path.name for path in inbox.iterdir()) == sorted([*own, *extra])
    assert nightly.files_of(1) == ["day-01.jsonl"]
    assert nightly.files_of(9) == ["day-09.jsonl", "day-09-again.jsonl"]
    assert nightly.files_of(10) == ["day-10.jsonl", "day-10-broken.jsonl"]
    assert nightly.files_of(11) == []


def test_the_days_share_the_comparisons_and_no_pair_comes_twice(inbox: Path) -> None:
    own = {path.name: pd.DataFrame(read_jsonl(path)) for path in sorted(inbox.glob("day-??.jsonl"))}
    assert {rows["comparison_id"].nunique() for rows in own.values()} == {10}
    together = pd.concat(own.values())
    assert together["comparison_id"].nunique() == SMALL.comparisons
    assert len(together) == SMALL.comparisons * SMALL.annotations_per_comparison


def test_a_days_prompts_are_drawn_from_the_whole_pool_and_its_texts_and_votes_are_its_own() -> None:
    nightly = Nightly(SimulationSettings(comparisons=260, prompts=40), 14)
    days = [pd.DataFrame(nightly.rows_of(day)) for day in (1, 2, 14)]
    prompts = [set(rows["prompt"]) for rows in days]
    assert {len(of_a_day) for of_a_day in prompts} == {20}
    assert all(2 < len(prompts[0] & later) < 18 for later in prompts[1:])
    assert len(set.union(*prompts)) <= 40
    for column in ("response_a", "annotator_id", "preference"):
        assert len({tuple(rows[column]) for rows in days}) == 3


def test_a_file_that_comes_again_is_the_same_to_the_byte(inbox: Path) -> None:
    assert (inbox / "day-09-again.jsonl").read_bytes() == (inbox / "day-08.jsonl").read_bytes()


def test_the_reader_refuses_the_broken_file_also_when_its_cut_line_is_taken_away(inbox: Path, tmp_path: Path) -> None:
    broken = inbox / "day-10-broken.jsonl"
    with pytest.raises(UserError, match="cut off"):
        read_annotations(str(broken), DataSettings())
    mended = tmp_path / "mended.jsonl"
    mended.write_text("\n".join(broken.read_text().splitlines()[:-1]))
    with pytest.raises(UserError, match="fit no layout"):
        read_annotations(str(mended), DataSettings())


def test_the_reader_takes_every_other_file(inbox: Path) -> None:
    for path in inbox.glob("day-??.jsonl"):
        assert len(read_annotations(str(path), DataSettings()).annotations) == 30


def test_annotators_are_as_reliable_as_they_are_on_that_day() -> None:
    nightly = Nightly(SimulationSettings(comparisons=8000, annotations_per_comparison=5), 8)
    for day in (3, 4, 6, 7, 8):
        rows = pd.DataFrame(nightly.rows_of(day))
        right = (rows["preference"] == rows["gold"]).groupby(rows["annotator_id"]).agg(["mean", "size"])
        truth = nightly.reliabilities_on(day)
        assert set(right.index) == set(truth)
        for name, reliability in truth.items():
            mean, size = right.loc[name]
            assert abs(mean - reliability) < 4 * np.sqrt(reliability * (1 - reliability) / size), (day, name)


def test_the_truth_tells_who_came_and_who_turned_when() -> None:
    truth = Nightly(SMALL, 14).truth()
    assert truth["careful-4"] == [0.95] * 6 + [0.15] * 8
    assert truth["newcomer-1"] == [None] * 3 + [0.90] * 11
    assert truth["careful-1"] == [0.95] * 14
    assert Nightly(SMALL, 3).truth() == {name: [value] * 3 for name, value in SMALL.reliabilities.items()}


def test_events_beyond_the_last_day_do_not_happen(tmp_path: Path) -> None:
    Nightly(SMALL, 8).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"day-{day:02}.jsonl" for day in range(1, 9)]


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(inbox: Path, tmp_path: Path) -> None:
    Nightly(SMALL, 14).write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in inbox.iterdir()
    }
    other = Nightly(SMALL.model_copy(update={"seed": 1}), 14)
    assert list(other.rows_of(1)) != list(read_jsonl(inbox / "day-01.jsonl"))


def test_more_than_ninety_nine_days_still_sort_by_name() -> None:
    nightly = Nightly(SMALL, 100)
    names = [name for day in range(1, 101) for name in nightly.files_of(day)[:1]]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("settings", "days", "problem"),
    [
        ({"comparisons": 12}, 14, "too few for 14 days"),
        ({"reliabilities": {"ann": 0.9}}, 7, "holds no careful-4, who turns on day 7"),
        ({"reliabilities": {"careful-4": 0.9, "newcomer-1": 0.9}}, 4, "newcomer-1 is there from the first day"),
    ],
)
def test_settings_that_do_not_fit_the_events_are_refused_and_one_step_less_is_not(settings, days, problem) -> None:
    with pytest.raises(UserError, match=problem):
        Nightly(SimulationSettings(**settings), days)
    assert Nightly(SimulationSettings(**settings), days - 1).files_of(1) == ["day-01.jsonl"]


def test_events_may_fall_on_other_days() -> None:
    nightly = Nightly(SMALL, 3, Events(newcomer_from=2, turned_from=3, again_on=2, broken_on=3, silent_on=99))
    assert nightly.files_of(2) == ["day-02.jsonl", "day-02-again.jsonl"]
    assert nightly.files_of(3) == ["day-03.jsonl", "day-03-broken.jsonl"]
    assert nightly.truth()["newcomer-1"] == [None, 0.9, 0.9]
