"""The public face stays as it is until somebody decides otherwise; JSON keys: see pipelines/test_training_run.py."""

from public_face import DECISION, commands, frozen, names, settings


def test_public_names_keep_their_signatures() -> None:
    assert names() == frozen()["names"], DECISION + "names"


def test_commands_keep_their_options() -> None:
    assert commands() == frozen()["commands"], DECISION + "commands"


def test_settings_keep_their_names_and_defaults() -> None:
    assert settings() == frozen()["settings"], DECISION + "settings"
