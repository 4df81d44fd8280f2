"""A short fortnight through the command line: what it prints, the page, and what it leaves in the registry."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from pipeline_runs import SMALL, Finished, Run, options

from pipelines.fortnight import SLIP_ON, Fortnight, claim_line, fortnight_settings, with_slip
from repo.annotations.nightly import Nightly
from repo.errors import UserError
from repo.tracking.store import Store

TINY = (*(setting for setting in SMALL if "learning_rate" not in setting), "simulation.comparisons=120")


@pytest.fixture(scope="module")
def three_nights(repo_pipeline: Run, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    store = tmp_path_factory.mktemp("fortnight") / "store"
    done = repo_pipeline("fortnight", "--nights", "3", "--store", store, *options(TINY))
    assert done.returncode == 0, done.stdout + done.stderr
    return Finished(store, done.stdout)


@pytest.mark.slow
def test_each_night_is_a_line_when_it_is_over_and_a_row_in_the_end(three_nights: Finished) -> None:
    lines = three_nights.output.splitlines()
    assert lines[0].startswith("3 nights of retraining of repo-fortnight")
    assert [line.split()[0] for line in lines[1:4]] == ["day-01", "day-02", "day-03"]
    assert [line.split()[:2] for line in lines[6:9]] == [[f"day-0{day}", "promoted"] for day in (1, 2, 3)]
    assert "reliabilities in the end: mean absolute error 0." in three_nights.output


@pytest.mark.slow
def test_the_page_has_the_truth_and_says_what_the_gate_asks(three_nights: Finished) -> None:
    folder = three_nights.store / "fortnights" / "repo-fortnight"
    assert f"page: {folder / 'fortnight.html'}" in three_nights.output
    assert sorted(path.name for path in folder.iterdir()) == ["fortnight.html", "inbox"]
    assert [path.name for path in sorted((folder / "inbox").iterdir())] == [f"day-0{day}.jsonl" for day in (1, 2, 3)]
    page = (folder / "fortnight.html").read_text()
    assert "the true reliabilities are known" in page
    assert "lower end must reach −1" in page
    assert "a slip" not in page


@pytest.mark.slow
def test_every_night_s_version_stands_in_a_line_of_its_own(three_nights: Finished, repo_pipeline: Run) -> None:
    listed = repo_pipeline("models", "--json", "--model", "repo-fortnight", "--store", three_nights.store)
    rows = json.loads(listed.stdout)
    assert [(row["version"], row["compared_with"]) for row in rows] == [("3", "2"), ("2", "1"), ("1", "")]
    assert "champion" in rows[0]["aliases"]
    assert repo_pipeline("models", "--json", "--store", three_nights.store).stdout.strip() == "[]"


@pytest.mark.slow
def test_a_second_fortnight_begins_a_line_of_its_own(three_nights: Finished, repo_pipeline: Run) -> None:
    done = repo_pipeline("fortnight", "--nights", "1", "--store", three_nights.store, *options(TINY))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 nights of retraining of repo-fortnight-2" not in done.stdout
    assert "1 night of retraining of repo-fortnight-2" in done.stdout
    assert (three_nights.store / "fortnights" / "repo-fortnight-2" / "fortnight.html").exists()
    taken = ("--set", "registry.model=repo-fortnight")
    refused = repo_pipeline("fortnight", "--nights", "1", "--store", three_nights.store, *taken)
    assert refused.returncode == 1
    assert "there is a model repo-fortnight already" in refused.stderr


def test_a_line_is_claimed_under_the_first_free_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    store.open_experiment("repo")
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    with store.opened():
        names = [claim_line(fortnight_settings(1, ()), ()).registry.model for _ in range(3)]
        own = ("registry.model=mine",)
        assert claim_line(fortnight_settings(1, own), own).registry.model == "mine"
        with pytest.raises(UserError, match="there is a model mine already"):
            claim_line(fortnight_settings(1, own), own)
    assert names == ["repo-fortnight", "repo-fortnight-2", "repo-fortnight-3"]
    assert len(MlflowClient().search_registered_models()) == 4


def test_the_slip_takes_everybody_s_errors_for_their_reliability() -> None:
    settings = fortnight_settings(14, ())
    pinned = with_slip(settings, Nightly(settings.simulation, 14)).reliability.pinned
    assert len(pinned) == 11
    assert (pinned["careful-1"], pinned["careful-4"]) == (pytest.approx(0.05), pytest.approx(0.85))
    certain = fortnight_settings(14, ("simulation.reliabilities={ann: 1.0, careful-4: 0.9}",))
    assert with_slip(certain, Nightly(certain.simulation, 14)).reliability.pinned["ann"] == 0.01
    assert SLIP_ON not in {9, 10, 11}


def test_what_the_user_sets_goes_before_the_fortnight_s_own() -> None:
    settings = fortnight_settings(3, ("gate.min_gain_over_champion=0", "simulation.comparisons=90"))
    assert settings.gate.min_gain_over_champion == 0
    assert settings.simulation.comparisons == 90
    assert fortnight_settings(3, ()).simulation.comparisons == 720


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nights", "14", "--set", "simulation.comparisons=5"), "5 are too few for 14 days"),
        (("--output", "full"), "holds 'mine.txt'"),
        (("--set", "train.loss=nonsense"), "nonsense"),
    ],
)
def test_a_mistake_is_told_before_a_store_is_made(
    repo_pipeline: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    done = repo_pipeline("fortnight", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert "→" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_batches_to_come_are_out_of_the_inbox_s_sight(tmp_path: Path) -> None:
    Fortnight(fortnight_settings(2, ()), 2, tmp_path / "out")
    assert list((tmp_path / "out" / "inbox").iterdir()) == []
    assert len(list((tmp_path / "out" / "to-come").iterdir())) == 2
