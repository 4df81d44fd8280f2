"""This machine, annotations and inboxes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]
VOTE = '{"prompt": "p", "chosen": "a", "rejected": "b"}\n'


def model_of(directory: Path, parameters: int) -> Path:
    """Write a model directory whose weights' header says how many there are; the weights themselves are missing."""
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    shards = [parameters // 2, parameters - parameters // 2]
    for number, size in enumerate(shards):
        header = json.dumps(
            {"__metadata__": {}, "w": {"dtype": "BF16", "shape": [size], "data_offsets": [0, 2 * size]}}
        )
        file = directory / f"model-{number}.safetensors"
        file.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    return directory


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of a machine without one must not hang on the machine."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def test_a_small_base_needs_no_gpu_and_a_large_one_is_warned_of(doctor: Doctor, tmp_path: Path) -> None:
    small, large = model_of(tmp_path / "small", 500_000_000), model_of(tmp_path / "large", 1_500_000_001)
    _, found = doctor("--store", tmp_path / "s", "--set", f"policy.base={small}")
    assert (found["policy"]["state"], "500 M parameters" in found["policy"]["words"]) == ("ok", True)
    code, found = doctor("--store", tmp_path / "s", "--set", f"policy.base={large}")
    assert (code, found["policy"]["state"]) == (0, "warning")
    assert "1,500 M parameters, and no GPU here" in found["policy"]["words"]


def test_a_base_that_is_not_fetched_is_skipped_unless_the_hub_is_switched_off(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    _, found = doctor("--store", tmp_path, "--set", "policy.base=nobody/nothing")
    assert found["policy"]["state"] == "skipped"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, found = doctor("--store", tmp_path, "--set", "policy.base=nobody/nothing")
    assert (code, found["policy"]["state"]) == (1, "failed")
    assert "HF_HUB_OFFLINE" in found["policy"]["remedy"]


def test_a_missing_base_and_a_missing_pseudonym_key_are_told_as_by_run(doctor: Doctor, tmp_path: Path) -> None:
    code, found = doctor("--store", tmp_path, "--set", "policy.base=./nowhere")
    assert (code, found["settings"]["state"]) == (1, "failed")
    _, found = doctor("--store", tmp_path, "--set", "data.pseudonymise=true")
    assert "REPO_PSEUDONYM_KEY" in found["settings"]["words"] + found["settings"]["remedy"]


def test_a_disk_that_is_nearly_full_is_a_warning(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, (1 << 40) - 5, 5))
    code, found = doctor("--store", tmp_path)
    assert (code, found["disk"]["state"]) == (0, "warning")


def test_an_inbox_is_listed_and_its_first_file_read(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    _, found = doctor("--store", tmp_path / "s", "--inbox", tmp_path / "inbox")
    assert found["inbox"]["state"] == "warning"
    for day in "ab":
        (tmp_path / "inbox" / f"{day}.jsonl").write_text(VOTE)
    (tmp_path / "inbox" / "_SUCCESS").touch()
    code, found = doctor("--store", tmp_path / "s", "--inbox", f"file://{tmp_path}/inbox")
    assert (code, found["inbox"]["state"]) == (0, "ok")
    assert "2 files" in found["inbox"]["words"]


def test_an_inbox_that_is_not_there_fails(doctor: Doctor, tmp_path: Path) -> None:
    code, found = doctor("--store", tmp_path / "s", "--inbox", tmp_path / "none")
    assert (code, found["inbox"]["state"]) == (1, "failed")


@pytest.mark.parametrize("option", ["--data", "--inbox"])
def test_a_missing_driver_is_named(doctor: Doctor, tmp_path: Path, option: str) -> None:
    if _has("gcsfs"):
        pytest.skip("the driver is installed here")
    code, found = doctor("--store", tmp_path, option, "gs://bucket/votes")
    assert code == 1
    assert 'pip install "repo-pipeline[gcs]"' in found[option.removeprefix("--")]["remedy"]


def test_data_is_counted_and_its_first_file_read(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "votes.jsonl").write_text(VOTE)
    code, found = doctor("--store", tmp_path / "s", "--data", tmp_path / "votes.jsonl")
    assert (code, found["data"]["state"]) == (0, "ok")
    assert "1 source" in found["data"]["words"]
    _, found = doctor("--store", tmp_path / "s", "--data", "simulated")
    assert found["data"]["words"] == "simulated"


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None
