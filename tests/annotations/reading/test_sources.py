import functools
import gzip
import json
import sys
import threading
import tomllib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import fsspec
import pytest

from repo.annotations.reading.loading import load
from repo.annotations.reading.reader import read_annotations
from repo.annotations.reading.sources import expand_sources, hub_parts
from repo.errors import UserError
from repo.settings import DataSettings

SETTINGS = DataSettings()
PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path_factory):
    """Serve files of rows by HTTP; returns the address."""
    servers = []

    def serve(files):
        served = tmp_path_factory.mktemp("served")
        for name, rows in files.items():
            (served / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(served)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_several_files_a_glob_and_a_folder_are_read_once_each(write, vote, tmp_path):
    first, second = write([vote(1)], "one.jsonl"), write([vote(2)], "two.jsonl")
    assert expand_sources(f"{first}, {second}\n{first}") == [first, second]
    assert expand_sources(str(tmp_path / "*.jsonl")) == [first, second]
    assert expand_sources(str(tmp_path)) == [first, second]
    assert read_annotations(str(tmp_path), SETTINGS).annotations["file"].tolist() == [first, second]


def test_a_folder_means_its_visible_files_each_once(write, vote, tmp_path):
    folder = tmp_path / ".hidden" / "batches"
    for name in ("june.jsonl", ".june.jsonl", ".ipynb_checkpoints/june.jsonl", "__MACOSX/june.jsonl", "deep/may.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / "_SUCCESS").touch()
    visible = [str(folder / "deep" / "may.csv"), str(folder / "june.jsonl")]
    assert expand_sources(str(folder)) == visible
    assert expand_sources(str(folder / "**" / "*.*")) == visible
    assert expand_sources(f"file://{folder}") == visible
    assert expand_sources(str(folder / ".ipynb_checkpoints" / "*")) == [
        str(folder / ".ipynb_checkpoints" / "june.jsonl")
    ]


def test_a_kubernetes_volume_is_read_under_its_visible_names(vote, write, tmp_path):
    volume = tmp_path / "volume"
    (volume / "..2024_01_01").mkdir(parents=True)
    Path(write([vote()])).rename(volume / "..2024_01_01" / "votes.jsonl")
    (volume / "..data").symlink_to("..2024_01_01")
    (volume / "votes.jsonl").symlink_to("..data/votes.jsonl")
    assert expand_sources(str(volume)) == [str(volume / "votes.jsonl")]
    assert len(read_annotations(str(volume), SETTINGS).annotations) == 1


def test_links_are_followed_and_no_file_is_read_twice(tmp_path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    for path in (folder / "real.csv", folder / "deep" / "also.csv", elsewhere / "linked.csv"):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("x")
    (folder / "a-name.csv").symlink_to("real.csv")
    (folder / "a-folder").symlink_to("deep")
    (folder / "more").symlink_to(elsewhere)
    (folder / "deep" / "round").symlink_to(folder)
    (elsewhere / "round").symlink_to(folder)
    (folder / "broken.csv").symlink_to("nowhere.csv")
    found = [str(folder / name) for name in ("deep/also.csv", "more/linked.csv", "real.csv")]
    assert expand_sources(str(folder)) == found
    assert expand_sources(str(folder / "*.csv")) == [str(folder / "real.csv")]
    assert expand_sources(f"{folder}/a-name.csv,{folder},{folder}/./real.csv") == [f"{folder}/a-name.csv", *found[:2]]


def test_a_remote_folder_means_its_visible_files():
    for name in ("june.jsonl", ".june.jsonl", ".old/june.jsonl", "__MACOSX/june.jsonl", "deep/may.csv", "read.me"):
        fsspec.filesystem("memory").pipe(f"/.cache/visible/{name}", b"x")
    found = ["memory:///.cache/visible/deep/may.csv", "memory:///.cache/visible/june.jsonl"]
    assert [name.replace("memory://.", "memory:///.") for name in expand_sources("memory://.cache/visible")] == found
    assert len(expand_sources("memory://.cache/visible/*.jsonl")) == 1


def test_a_name_that_exists_is_no_pattern():
    fsspec.filesystem("memory").pipe({"/literal/a?.jsonl": b"x", "/literal/ab.jsonl": b"x"})
    assert len(expand_sources("memory://literal/a?.jsonl")) == 1
    assert len(expand_sources("memory://literal/?b.jsonl")) == 1


def test_a_comma_separates_sources_but_not_a_signed_address(web, vote):
    address = web({"a.jsonl": [vote(1)], "b.jsonl": [vote(2)]})
    signed, other = f"{address}/a.jsonl?X-Amz-Signature=f0,0f*&keys=[a,b]", f"{address}/b.jsonl?sig=1"
    for between in (",", ", ", "\n", ",\n", " ,\n\n"):
        assert expand_sources(f"{signed}{between}{other}") == [signed, other]
    assert expand_sources(f"{address}/a.jsonl,{address}/b.jsonl") == [f"{address}/a.jsonl", f"{address}/b.jsonl"]
    table = read_annotations(signed, SETTINGS).annotations
    assert table["file"].tolist() == [f"{address}/a.jsonl?***"]


def test_a_web_address_that_is_not_there_is_no_pattern(web, vote):
    address = web({"a.jsonl": [vote()]})
    assert expand_sources(f"{address}/a.jsonl?sig=*") == [f"{address}/a.jsonl?sig=*"]
    with pytest.raises(UserError, match="no such file"):
        expand_sources(f"{address}/ab.jsonl?sig=?")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://owner/name", ("owner/name", "", "")),
        ("hf://owner/name:split", ("owner/name", "", "split")),
        ("hf://datasets/owner/name?split=test", ("owner/name", "", "test")),
        ("hf://owner/name?config=preference&split=train", ("owner/name", "preference", "train")),
        ("hf://owner/name:test?config=preference", ("owner/name", "preference", "test")),
    ],
)
def test_a_hub_id_takes_a_configuration_and_a_split(address, parts):
    assert expand_sources(address) == [address]
    assert hub_parts(address) == parts


@pytest.mark.parametrize(
    "asked", ["?revision=1", "?split", "?split=", "?split=a&split=b", ":a?split=b", "?config=a&x=b"]
)
def test_what_cannot_be_asked_of_the_hub_is_refused(asked):
    with pytest.raises(UserError, match="hf://owner/name: cannot be asked for") as caught:
        expand_sources(f"hf://owner/name{asked}")
    assert "?config=NAME" in caught.value.remedy


@pytest.mark.parametrize(
    ("uri", "driver", "extra"),
    [
        ("s3://bucket/x.jsonl", "s3fs", "s3"),
        ("gs://bucket/*.jsonl", "gcsfs", "gcs"),
        ("abfs://container@account.dfs.core.windows.net/x.jsonl", "adlfs", "azure"),
    ],
)
def test_a_missing_driver_is_named_by_the_extra_that_brings_it(uri, driver, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, driver, None)
    for reads in (expand_sources, load):
        with pytest.raises(UserError) as caught:
            reads(uri)
        assert f'pip install "repo-pipeline[{extra}]"' in caught.value.remedy
    assert driver in [name.split(">")[0] for name in PROJECT["optional-dependencies"][extra]]
    assert PROJECT["name"] == "repo-pipeline"


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


@pytest.fixture
def repository(vote, tmp_path, monkeypatch):
    """A repository of two configurations as the hub holds it, found under its id without the hub."""
    folder = tmp_path / "owner" / "name"
    for number, name in enumerate(("plain/train", "plain/test", "odd/first", "odd/second"), start=1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jsonl").write_text(json.dumps(vote(number)) + "\n")
    configurations = [
        {"config_name": name, "data_files": [{"split": split, "path": f"{name}/{split}.jsonl"} for split in splits]}
        for name, splits in (("plain", ("train", "test")), ("odd", ("first", "second")))
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configurations)}\n---\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("asked", "number"),
    [
        ("?config=plain", 1),
        ("?config=plain&split=test", 2),
        (":test?config=plain", 2),
        ("?config=odd&split=first", 3),
        (":second?config=odd", 4),
    ],
)
def test_the_hubs_configuration_and_split_are_those_asked_for(asked, number):
    address = f"hf://owner/name{asked}"
    table = read_annotations(address, SETTINGS).annotations
    assert table["prompt"].tolist() == [f"question {number}"]
    assert table["file"].tolist() == [address]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("", "Config name is missing.*plain"),
        ("?config=none", "BuilderConfig 'none' not found.*plain"),
        ("?config=odd", "split 'train' is not among first, second"),
        ("?config=plain&split=none", "split 'none' is not among train, test"),
    ],
)
def test_what_the_hub_does_not_hold_is_said_with_what_it_does(asked, words):
    with pytest.raises(UserError, match=rf"(?s)^hf://owner/name.*{words}") as caught:
        read_annotations(f"hf://owner/name{asked}", SETTINGS)
    assert "name" in caught.value.remedy
