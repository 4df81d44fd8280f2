import pytest

from repo.errors import UserError
from repo.uris import file_part, public_name, without_secrets


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://ada:s3cret@host/x.jsonl", "https://***@host/x.jsonl"),
        ("https://ada:s3cret@host:8443/x.jsonl?token=abc#part", "https://***@host:8443/x.jsonl?***"),
        ("http://host:5000", "http://host:5000"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("http://ada:pa,ss@host:5000", "http://***@host:5000"),
        ("http://ada:p@ss@host:5000", "http://***@host:5000"),
        ("https://TOKEN@host/x", "https://***@host/x"),
        ("postgresql+psycopg2://ada:pa/s?s@db:5432/mlflow", "postgresql+psycopg2://***@db:5432/mlflow"),
        ("postgresql://db/mlflow?password=pw", "postgresql://db/mlflow?***"),
        ("s3://KEY:SECRET@bucket/a/*.jsonl", "s3://***@bucket/a/*.jsonl"),
        ("s3://bucket/part-?.jsonl", "s3://bucket/part-?.jsonl"),
        ("https://b.s3.amazonaws.com/x.csv?X-Amz-Signature=f00", "https://b.s3.amazonaws.com/x.csv?***"),
        ("abfs://container@account.dfs.core.windows.net/x.csv", "abfs://container@account.dfs.core.windows.net/x.csv"),
        ("abfs://c@a.dfs.core.windows.net/x.csv?sig=f00", "abfs://c@a.dfs.core.windows.net/x.csv?***"),
        ("simplecache::https://ada:pw@host/x.csv", "simplecache::https://***@host/x.csv"),
        ("hf://owner/name:split", "hf://owner/name:split"),
        ("hf://owner/name?config=a&split=b", "hf://owner/name?config=a&split=b"),
        ("https://host/x.csv?sig=f00,f01&n=1,votes.csv", "https://host/x.csv?***"),
        ("https://host/x.csv?sig=f00,https://host/y.csv?sig=f01", "https://host/x.csv?***,https://host/y.csv?***"),
        ("votes@home/a?b=c#d.jsonl", "votes@home/a?b=c#d.jsonl"),
        ("votes.jsonl", "votes.jsonl"),
        ("View run at: http://a:b@host/#/experiments/1/runs/2", "View run at: http://***@host/#/experiments/1/runs/2"),
        ("sqlite:////home/ada/.repo/mlflow.db", "sqlite:////home/ada/.repo/mlflow.db"),
        (
            "https://ada:pw@host/x.csv?sig=1, votes.csv,s3://K:S@bucket/y.csv",
            "https://***@host/x.csv?***, votes.csv,s3://***@bucket/y.csv",
        ),
        ("404, url='https://host/x?sig=f00' (gone)", "404, url='https://host/x?***' (gone)"),
    ],
)
def test_a_uri_is_shown_without_what_opens_it(uri: str, shown: str) -> None:
    assert public_name(uri) == shown
    assert public_name(shown) == shown


def test_a_library_s_message_loses_the_secrets_that_stand_alone() -> None:
    uri = "https://ada:s%2Fcret@host/x.jsonl?X-Amz-Signature=f00f00&n=1"
    said = f"HTTPSConnectionPool(host='host'): /x.jsonl?X-Amz-Signature=f00f00&n=1, f00f00, s/cret, s%2Fcret, {uri}"
    shown = without_secrets(said, uri)
    assert not [secret for secret in ("f00f00", "cret", "ada") if secret in shown]
    assert "host='host'" in shown


def test_an_error_never_shows_a_secret() -> None:
    error = UserError("https://ada:pw@host/x: gone", "try http://ada:pw@host/y?sig=1")
    assert str(error) == "https://***@host/x: gone\n  → try http://***@host/y?***"


def test_a_query_is_no_part_of_a_file_s_name() -> None:
    assert file_part("https://host/x.jsonl.gz?a=b.c") == "https://host/x.jsonl.gz"
    assert file_part("s3://bucket/a#1.jsonl") == "s3://bucket/a#1.jsonl"
    assert file_part("dir/a?b.jsonl") == "dir/a?b.jsonl"
