"""Annotations in an S3 store: a real server (moto's), the real driver (s3fs). make test-stores."""

import gzip
import json
import urllib.request

import boto3
import fsspec
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from repo.annotations.reading.reader import read_annotations
from repo.annotations.reading.sources import expand_sources
from repo.errors import UserError
from repo.settings import DataSettings

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCY"
KEYS = {
    "june/a.jsonl": 1,
    "june/b.jsonl": 2,
    "june/.hidden.jsonl": 1,
    "june/_SUCCESS": 0,
    "june/deep/c.jsonl.gz": 3,
    "odd/what?.jsonl": 1,
    "odd/whats.jsonl": 2,
    "odd/[x].jsonl": 1,
    "odd/x.jsonl": 2,
    "odd/a b, ü+%41#1.jsonl": 1,
    "odd/day=1.jsonl": 1,
    "odd/named.data": 1,
}
"""Key → the rows that it holds."""


def rows_of(key):
    row = {"prompt": f"question of {key}", "response_b": "second", "preference": "a"}
    rows = [row | {"response_a": f"first {number}"} for number in range(KEYS[key])]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return gzip.compress(data) if key.endswith(".gz") else data


@pytest.fixture(scope="module")
def server():
    """Serve a bucket of annotations; returns the server's address."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    address = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=address, **credentials(SECRET), config=Config(retries={"max_attempts": 1}))
    client.create_bucket(Bucket="votes")
    for key in KEYS:
        client.put_object(Bucket="votes", Key=key, Body=rows_of(key))
    yield address
    moto.stop()


@pytest.fixture(autouse=True)
def environment(server, monkeypatch, tmp_path):
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def credentials(secret):
    return {
        "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key": secret,
        "region_name": "us-east-1",
    }


@pytest.fixture
def strict(server):
    """Let the server refuse whoever it does not know."""
    allow_unknown(server, 0)
    yield
    allow_unknown(server, 10**6)


def allow_unknown(server, requests):
    """Set after how many requests the server asks who is there."""
    plain = {"Content-Type": "text/plain"}
    asked = urllib.request.Request(f"{server}/moto-api/reset-auth", str(requests).encode(), plain, method="POST")
    urllib.request.urlopen(asked).close()


def prompts(source):
    return read_annotations(source, DataSettings()).annotations["prompt"].value_counts().to_dict()


def expected(*keys):
    return {f"question of {key}": KEYS[key] for key in keys}


def refused(source):
    """Return the error, which shows no secret."""
    with pytest.raises(UserError) as caught:
        read_annotations(source, DataSettings())
    assert SECRET not in str(caught.value)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_a_file_is_read_and_named_by_its_address(scheme):
    read = read_annotations(f"{scheme}://votes/june/a.jsonl", DataSettings())
    assert read.annotations["file"].tolist() == [f"{scheme}://votes/june/a.jsonl"]
    assert read.annotations["prompt"].tolist() == ["question of june/a.jsonl"]


@pytest.mark.parametrize("folder", ["s3://votes/june", "s3://votes/june/"])
def test_a_prefix_is_a_folder_of_visible_files_compressed_ones_too(folder):
    assert prompts(folder) == expected("june/a.jsonl", "june/b.jsonl", "june/deep/c.jsonl.gz")


def test_globs_are_matched():
    assert prompts("s3://votes/june/*.jsonl") == expected("june/a.jsonl", "june/b.jsonl")
    assert prompts("s3://votes/**/c.*") == expected("june/deep/c.jsonl.gz")
    assert prompts("s3://votes/odd/what?.jsonl, s3://votes/june/[ab].jsonl") == expected(
        "odd/what?.jsonl", "june/a.jsonl", "june/b.jsonl"
    )


@pytest.mark.parametrize("key", ["odd/what?.jsonl", "odd/[x].jsonl", "odd/day=1.jsonl"])
def test_a_key_that_exists_is_no_pattern(key):
    assert prompts(f"s3://votes/{key}") == expected(key)


def test_odd_keys_are_found_in_their_folder():
    odd = [key for key in KEYS if key.startswith("odd/") and not key.endswith(".data")]
    assert prompts("s3://votes/odd") == expected(*odd)
    assert len(expand_sources("s3://votes/odd")) == len(odd)


def test_several_sources_are_read_together():
    assert prompts("s3://votes/june/a.jsonl,s3://votes/odd/x.jsonl") == expected("june/a.jsonl", "odd/x.jsonl")


@pytest.mark.parametrize("source", ["s3://votes/june/z.jsonl", "s3://votes/july/", "s3://nobodys/june/a.jsonl"])
def test_what_is_not_there_is_said_in_one_error(source):
    assert f"{source}: no such file" in refused(source)


def test_a_pattern_that_nothing_matches_is_named():
    assert "s3://votes/july/*.jsonl: no file matches" in refused("s3://votes/july/*.jsonl")


def test_a_key_of_no_known_format_is_refused():
    assert "s3://votes/odd/named.data: unknown file format" in refused("s3://votes/odd/named.data")


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("source", ["s3://votes/june/a.jsonl", "s3://votes/june", "s3://votes/june/*.jsonl"])
def test_wrong_credentials_are_a_matter_of_access(source):
    assert "check the URI and your access to it" in refused(source)
    assert "no such file" not in refused(source)


@pytest.mark.parametrize("lacking", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_missing_credentials_are_a_matter_of_access(lacking, monkeypatch):
    monkeypatch.delenv(lacking)
    assert "check the URI and your access to it" in refused("s3://votes/june/a.jsonl")


def test_a_secret_in_the_address_is_not_shown():
    assert "***@" in refused(f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@nobodys/june/a.jsonl")


def test_a_server_that_is_not_there_is_a_users_error(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "s3://votes/june/a.jsonl" in refused("s3://votes/june/a.jsonl")
