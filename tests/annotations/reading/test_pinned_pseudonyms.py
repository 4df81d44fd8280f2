import pytest

from repo.annotations.reading.pseudonyms import KEY_VARIABLE, with_pseudonyms
from repo.errors import UserError
from repo.settings import DataSettings, ReliabilitySettings, Settings

KEY = "a key that nobody will guess"


def settings(pseudonymise: bool, *names: str) -> Settings:
    pinned = dict.fromkeys(names, 0.7)
    return Settings(data=DataSettings(pseudonymise=pseudonymise), reliability=ReliabilitySettings(pinned=pinned))


def test_pinned_people_get_the_pseudonyms_of_their_annotations_once(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    once = with_pseudonyms(settings(True, "worker-1", "annotator-0123456789abcdef"))
    assert list(once.reliability.pinned) == ["annotator-0bc17a3df2bd75d3", "annotator-0123456789abcdef"]
    monkeypatch.delenv(KEY_VARIABLE)
    assert with_pseudonyms(once) == once


def test_without_pseudonyms_ids_stay(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert with_pseudonyms(settings(False, "worker-1")) == settings(False, "worker-1")
    assert with_pseudonyms(settings(True)) == settings(True)


def test_without_a_key_a_raw_id_goes_nowhere(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(UserError, match=KEY_VARIABLE):
        with_pseudonyms(settings(True, "worker-1"))
