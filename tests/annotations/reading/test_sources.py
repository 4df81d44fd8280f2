import functools
import gzip
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import fsspec
import pytest

from repo.annotations.reading.reader import read_annotations
from repo.annotations.reading.sources import expand_sources
from repo.errors import UserError
from repo.settings import DataSettings

SETTINGS = DataSettings()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_several_files_a_glob_and_a_folder_are_read_once_each(write, vote, tmp_path):
    first, second = write([vote(1)], "one.jsonl"), write([vote(2)], "two.jsonl")
    assert expand_sources(f"{first}, {second}\n{first}") == [first, second]
    assert expand_sources(str(tmp_path / "*.jsonl")) == [first, second]
    assert expand_sources(str(tmp_path)) == [first, second]
    assert read_annotations(str(tmp_path), SETTINGS).annotations["file"].tolist() == [first, second]


def test_an_existing_path_with_a_comma_is_one_file(write, vote):
    path = write([vote()], "a, b.jsonl")
    assert expand_sources(path) == [path]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.jsonl", "no such file"),
        ("nothing-*.jsonl", "no file matches"),
        ("memory://nowhere.jsonl", "no such file"),
        ("nonsense://bucket/file.jsonl", "nonsense"),
        (" ", "no annotations named"),
        ("x" * 5000, "no such file"),
    ],
)
def test_what_is_not_there_is_said_with_a_remedy(source, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        expand_sources(source)
    assert caught.value.remedy


def test_a_misspelt_name_gets_the_nearest_file(write, vote):
    path = write([vote()], "annotations.jsonl")
    with pytest.raises(UserError, match=r"did you mean .*annotations\.jsonl"):
        expand_sources(path.replace("annotations.jsonl", "anotations.jsonl"))


def test_a_folder_without_a_readable_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="no file to read"):
        expand_sources(str(tmp_path))


def test_any_fsspec_uri_is_read_under_its_own_name(vote, write):
    with fsspec.open("memory://bucket/votes.jsonl", "wb") as remote:
        remote.write(Path(write([vote()])).read_bytes())
    for source in ("memory://bucket/votes.jsonl", "memory://bucket/*.jsonl", "memory://bucket"):
        table = read_annotations(source, SETTINGS).annotations
        assert len(table) == 1
        assert table["file"][0].startswith("memory://")
        assert table["file"][0].endswith("bucket/votes.jsonl")


def test_what_is_fetched_over_http_leaves_nothing_behind(vote, write, tmp_path, monkeypatch):
    served, temporary = tmp_path / "served", tmp_path / "temporary"
    served.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for name in ("votes.jsonl", "votes.jsonl.gz"):
        content = Path(write([vote()])).read_bytes()
        (served / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    handler = functools.partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for name in ("votes.jsonl", "votes.jsonl.gz"):
            table = read_annotations(f"{address}/{name}", SETTINGS).annotations
            assert table["file"].tolist() == [f"{address}/{name}"]
        (served / "broken.jsonl").write_text("{")
        with pytest.raises(UserError, match=r"broken\.jsonl, line 1: not valid JSON"):
            read_annotations(f"{address}/broken.jsonl", SETTINGS)
        server.shutdown()
    assert not list(temporary.iterdir())


def test_a_saved_dataset_is_read_by_its_train_split(vote, tmp_path):
    votes = datasets.Dataset.from_list([vote(1), vote(2)])
    votes.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": votes, "test": votes.select([0])}).save_to_disk(str(tmp_path / "many"))
    assert read_annotations(str(tmp_path / "one"), SETTINGS).annotations["line"].tolist() == [1, 2]
    assert len(read_annotations(str(tmp_path / "many"), SETTINGS).annotations) == 2


def test_an_unreachable_hub_is_a_user_error(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="cannot be loaded from the Hugging Face hub"):
        read_annotations("hf://no-such-owner/no-such-name:train", SETTINGS)
