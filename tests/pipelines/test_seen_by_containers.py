"""What the steps' containers are shown of this machine: what a run names, and nothing beside it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.containers import engine
from pipelines.containers.mounts import seen
from repo.errors import UserError
from repo.settings import Settings, load_settings


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with two files of annotations, which is also the working directory."""
    home = Path.cwd()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("{}\n")
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(home)


def test_a_file_is_shown_alone_and_by_its_absolute_path(folder: Path) -> None:
    found = seen("a.jsonl", Settings())
    assert (found.source, found.paths) == (str(folder / "a.jsonl"), (str(folder / "a.jsonl"),))


def test_several_files_are_each_shown(folder: Path) -> None:
    found = seen("a.jsonl, b.jsonl", Settings())
    assert found.source == f"{folder}/a.jsonl,{folder}/b.jsonl"
    assert found.paths == (f"{folder}/a.jsonl", f"{folder}/b.jsonl")


def test_a_file_whose_name_holds_a_comma_is_one_file(folder: Path) -> None:
    (folder / "a,b.jsonl").write_text("{}\n")
    found = seen("a,b.jsonl", Settings())
    assert (found.source, found.paths) == (f"{folder}/a,b.jsonl", (f"{folder}/a,b.jsonl",))


@pytest.mark.parametrize("pattern", ["*.jsonl", "**/*.jsonl", "[ab].jsonl"])
def test_of_a_pattern_the_folder_above_its_first_wildcard_is_shown(folder: Path, pattern: str) -> None:
    found = seen(pattern, Settings())
    assert (found.source, found.paths) == (f"{folder}/{pattern}", (str(folder),))


def test_what_links_inside_a_folder_lead_to_is_shown_too(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "c.jsonl").write_text("{}\n")
    (folder / "c.jsonl").symlink_to(elsewhere / "c.jsonl")
    (folder / "d.jsonl").symlink_to(folder / "a.jsonl")
    assert seen(str(folder), Settings()).paths == (str(folder), str(elsewhere / "c.jsonl"))


def test_a_policy_and_an_earlier_state_on_this_machine_are_shown(folder: Path) -> None:
    (folder / "policy").mkdir()
    settings = load_settings(None, ["policy.base=policy", "reliability.prior_state=a.jsonl"])
    found = seen("simulated", settings)
    assert found.paths == (str(folder / "policy"), str(folder / "a.jsonl"))
    assert found.settings.policy.base == str(folder / "policy")
    assert found.settings.reliability.prior_state == str(folder / "a.jsonl")
    assert found.source == "simulated"


def test_nothing_is_shown_of_what_is_elsewhere(folder: Path) -> None:
    settings = load_settings(None, ["policy.base=owner/name", "reliability.prior_state=models:/line@champion"])
    found = seen("s3://bucket/a.jsonl, hf://owner/set", settings)
    assert (found.source, found.paths, found.settings) == ("s3://bucket/a.jsonl,hf://owner/set", (), settings)


def test_a_file_address_is_shown_as_the_file_it_means(folder: Path) -> None:
    address = (folder / "a.jsonl").as_uri()
    found = seen(address, Settings())
    assert (found.source, found.paths) == (address, (str(folder / "a.jsonl"),))


@pytest.mark.parametrize("option", [("--memory", "2g"), ("--network", "bridge")])
@pytest.mark.parametrize("command", [("run", "--data"), ("retrain", "--inbox")])
def test_what_is_said_about_containers_is_refused_where_there_are_none(
    folder: Path, command: tuple[str, str], option: tuple[str, str]
) -> None:
    done = CliRunner().invoke(main, [*command, str(folder), *option])
    assert done.exit_code == 1
    assert f"error: {option[0]} is about containers" in done.output


def test_a_store_that_containers_do_not_see_is_refused_before_it_is_made(folder: Path) -> None:
    done = CliRunner().invoke(main, ["retrain", "--inbox", str(folder), "--runner", "docker", "--store", "store"])
    assert done.exit_code == 1
    assert "the steps' containers do not see it" in done.output
    assert not (folder / "store").exists()


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://192.0.2.1:2375", "ssh://nobody@192.0.2.1"])
def test_an_engine_that_cannot_be_used_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(UserError, match="engine") as caught, engine.engine():
        pass
    assert len(caught.value.problem.splitlines()) == 1
    assert caught.value.remedy
