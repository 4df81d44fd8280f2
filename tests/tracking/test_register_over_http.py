"""The small form of benchmarks/scale: a policy behind a server is registered without its weights being fetched."""

from benchmarks.child import in_its_own_process

SIZE = 20_000_000


def test_registering_downloads_the_mlmodel_file_alone() -> None:
    found = in_its_own_process("scale.register", SIZE)
    assert found["files"] == ["MLmodel"]
    assert 0 < found["received_bytes"] < SIZE / 100
