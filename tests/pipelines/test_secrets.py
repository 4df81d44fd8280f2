"""What must not be kept or shown: passwords and signatures in addresses, and the ids of people who have pseudonyms."""

import json
from pathlib import Path

import pandas as pd
import pytest
from pipeline_runs import SMALL, Run, options
from web import PASSWORD, USER, guarded_file, served

from repo.annotations.reading.pseudonyms import KEY_VARIABLE
from repo.annotations.simulation import simulate
from repo.settings import SimulationSettings

PEOPLE = {"mary-jackson": 0.95, "katherine-johnson": 0.9, "dorothy-vaughan": 0.7}
SIGNATURE = "5igned-by-the-bucket"
QUERY = f"X-Amz-Signature={SIGNATURE}"
KEY = "a key that nobody will guess"
PINNED = ("data.pseudonymise=true", "reliability.pinned={mary-jackson: 0.55}")


@pytest.fixture(scope="module")
def votes() -> bytes:
    rows = simulate(SimulationSettings(comparisons=60, prompts=30, reliabilities=PEOPLE))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def address(port: int) -> str:
    return f"http://{USER}:{PASSWORD}@127.0.0.1:{port}/votes.jsonl?{QUERY}"


def found_in(directory: Path, words: tuple[str, ...]) -> list[str]:
    """Files in which one of the words stands; tables are looked into as text, since their pages are compressed."""
    return [
        str(path)
        for path in directory.rglob("*")
        if path.is_file()
        for text in [pd.read_parquet(path).to_csv().encode() if path.suffix == ".parquet" else path.read_bytes()]
        if any(word.encode() in text or word in path.name for word in words)
    ]


@pytest.mark.slow
def test_a_run_keeps_and_shows_neither_secrets_nor_people(repo_pipeline: Run, tmp_path: Path, votes: bytes) -> None:
    store = tmp_path / "store"
    with served(guarded_file(votes, QUERY)) as port:
        chosen = ["--data", address(port), "--store", store, *options((*SMALL, *PINNED)), "--verbose"]
        done = repo_pipeline("run", *chosen, **{KEY_VARIABLE: KEY})
    assert done.returncode == 0, done.stdout + done.stderr
    secrets = (PASSWORD, SIGNATURE, *PEOPLE)
    assert not [word for word in secrets if word in done.stdout + done.stderr]
    assert not found_in(store, secrets)
    assert f"training pipeline on http://***@127.0.0.1:{port}/votes.jsonl?***" in done.stdout
    report = next(store.glob("artifacts/**/report/reliability.json"))
    rows = json.loads(report.read_text())["annotators"]
    assert [(row["pinned"], row["reliability"]) for row in rows if row["pinned"]] == [(True, 0.55)]
    table = pd.read_parquet(next(store.glob("artifacts/**/annotations.parquet")))
    assert set(table["file"]) == {f"http://***@127.0.0.1:{port}/votes.jsonl?***"}


def test_the_reliability_command_pins_a_person_and_names_none(repo_pipeline: Run, tmp_path: Path, votes: bytes) -> None:
    output = tmp_path / "out"
    with served(guarded_file(votes, QUERY)) as port:
        chosen = ["--annotations", address(port), "--output", output, *options(PINNED)]
        done = repo_pipeline("reliability", *chosen, **{KEY_VARIABLE: KEY})
    assert done.returncode == 0, done.stderr
    secrets = (PASSWORD, SIGNATURE, *PEOPLE)
    assert not [word for word in secrets if word in done.stdout + done.stderr]
    assert not found_in(output, secrets)
    assert "pinned" in done.stdout


@pytest.mark.parametrize(
    "data",
    [
        "http://reader:wrong-password@127.0.0.1:{port}/votes.jsonl?X-Amz-Signature=5igned-by-nobody",
        "http://reader:wrong-password@127.0.0.1:1/votes.jsonl?X-Amz-Signature=5igned-by-nobody",
        "votes.jsonl,http://reader:wrong-password@127.0.0.1:{port}/votes.jsonl?X-Amz-Signature=5igned-by-nobody",
        "s3://AKIAKEY:wrong-password@bucket/votes.jsonl?X-Amz-Signature=5igned-by-nobody",
        "nowhere://AKIAKEY:wrong-password@bucket/votes.jsonl",
    ],
)
@pytest.mark.parametrize("command", [("run", "--data"), ("reliability", "--annotations")], ids=["run", "reliability"])
def test_an_address_that_fails_is_named_without_its_secrets(
    repo_pipeline: Run, tmp_path: Path, votes: bytes, command: tuple[str, str], data: str
) -> None:
    (tmp_path / "votes.jsonl").write_bytes(votes)
    with served(guarded_file(votes, QUERY)) as port:
        done = repo_pipeline(*command, data.format(port=port), cwd=tmp_path)
    assert done.returncode == 1
    assert "://***@" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [word for word in ("wrong-password", "5igned", "AKIAKEY") if word in done.stdout + done.stderr]
