import pandas as pd
import pytest

from repo.annotations.reading.pseudonyms import KEY_VARIABLE, pseudonymise
from repo.annotations.reading.reader import read_annotations
from repo.annotations.validation.suite import save, validate
from repo.errors import UserError
from repo.settings import DataSettings, Settings

KEY = "a key that nobody will guess"
SETTINGS = Settings(data=DataSettings(pseudonymise=True))


def test_a_pseudonym_is_keyed_hmac_sha256():
    # printf %s worker-1 | openssl dgst -sha256 -hmac 'a key that nobody will guess'
    one, again, other, missing = pseudonymise(pd.Series(["worker-1", "worker-1", "worker-2", ""]), KEY.encode())
    assert one == again == "annotator-0bc17a3df2bd75d3"
    assert other != one
    assert missing == ""
    assert pseudonymise(pd.Series(["worker-1"]), b"another key of length").tolist() != [one]


@pytest.mark.parametrize("key", [None, "", "too short"])
def test_without_a_proper_key_nothing_is_read(write, vote, monkeypatch, key):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    if key is not None:
        monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(UserError, match=KEY_VARIABLE) as caught:
        read_annotations(write([vote()]), SETTINGS.data)
    assert "openssl rand" in caught.value.remedy


def test_no_id_is_written_anywhere_quarantine_included(write, vote, monkeypatch, tmp_path):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    bad = [vote(1, "Ada Lovelace", prompt=""), vote(2, "Ada Lovelace", prompt=None), vote(3, "Ada Lovelace", "?")]
    rows = [vote(number, "Ada Lovelace", worker_email="Ada Lovelace") for number in range(4, 30)]
    result = validate(read_annotations(write([*bad, *rows]), SETTINGS.data), SETTINGS)
    assert len(result.quarantine) == 3
    save(result, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert b"Lovelace" not in path.read_bytes(), path.name
    assert result.annotations["annotator_id"].str.fullmatch("annotator-[0-9a-f]{16}").all()
