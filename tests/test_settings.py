"""Configuration: one shape for file and overrides, and errors that name the key."""

from pathlib import Path

import pytest

from repo.errors import UserError
from repo.settings import Settings, leaves, load_settings, settings_from_json


def test_a_file_and_overrides_fill_the_same_settings(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("train:\n  loss: ipo\n  epochs: 3\n")
    settings = load_settings(file, ["train.epochs=5", "policy.lora.rank=4", "train.loss_options={beta: 0.5}"])
    assert (settings.train.loss, settings.train.epochs) == ("ipo", 5)
    assert settings.policy.lora is not None
    assert settings.policy.lora.rank == 4
    assert settings.train.loss_options == {"beta": 0.5}


def test_settings_survive_the_hand_over_as_json() -> None:
    settings = load_settings(None, ["train.learning_rate=1e-5", "policy.lora.rank=4"])
    assert settings_from_json(settings.model_dump_json()) == settings
    assert settings.train.learning_rate == 1e-5


def test_every_setting_is_described() -> None:
    assert not [name for name, _ in leaves(Settings()) if not _description(name)]


def _description(name: str) -> str | None:
    section: object = Settings()
    *path, last = name.split(".")
    for part in path:
        section = getattr(section, part)
    return type(section).model_fields[last].description  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("text", "overrides", "words"),
    [
        ("train:\n  los: ipo\n", [], r"unknown setting 'train\.los'(.|\n)*'train\.loss'"),
        ("trian: {}\n", [], r"'trian'(.|\n)*'train'"),
        ("train:\n  epochs: 0\n", [], r"train\.epochs = 0"),
        ("train:\n  m_step: both\n", [], r"train\.m_step = 'both'"),
        ("- a\n- b\n", [], "mapping of sections"),
        ("train: [\n", [], "not valid YAML"),
        ("", ["train.epochs"], r"section\.key=value"),
        ("train:\n  epochs: 2\n", ["train.epochs.deep=1"], "epochs is a value"),
        ("", ["train.learning_rate=fast"], r"train\.learning_rate = 'fast'.* 'auto' or a valid number"),
        ("", ["train.learning_rate=-1e-5"], r"train\.learning_rate = .*greater than 0"),
        ("train:\n  weight_decay: .nan\n", [], r"train\.weight_decay = nan: .*finite"),
        ("", ["gate.min_gain_over_base=.nan"], r"gate\.min_gain_over_base = nan: .*finite"),
        ("", ["train.loss_options.beta=.inf"], r"train\.loss_options\.beta = inf: input should be a finite number\n"),
        ("", ["train.loss_options={float: .inf}"], r"train\.loss_options\.float = inf"),
        ("", ["policy.tiny.hidden=130"], r"hidden = 130 with policy\.tiny\.heads = 4(.|\n)*multiple of 8.* 136"),
        ("", ["policy.tiny={hidden: 12, heads: 4}"], r"hidden = 12 with policy\.tiny\.heads = 4(.|\n)*16"),
        ("", ["policy.max_length=256"], r"max_prompt_length = 512 .*max_length = 256(.|\n)*max_prompt_length=128"),
        ("train: 3\n", [], r"train = 3: this is a section"),
    ],
)
def test_a_mistake_names_its_key_and_a_remedy(tmp_path: Path, text: str, overrides: list[str], words: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        load_settings(file, overrides)


def test_a_file_and_an_override_are_both_named_as_the_source(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("train:\n  epochs: 3\n")
    with pytest.raises(UserError, match=r"config\.yaml with --set: train\.epochs = 0"):
        load_settings(file, ["train.epochs=0"])


def test_a_path_may_be_text_as_in_readme(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("train:\n  loss: ipo\n")
    assert load_settings(str(file)).train.loss == "ipo"


def test_a_section_with_nothing_in_it_keeps_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("train:\npolicy:\n  tiny:\n  lora:\n")
    assert load_settings(file) == Settings()
    settings = load_settings(file, ["train.loss=ipo", "policy.tiny.heads=2", "policy.lora.rank=4"])
    assert (settings.train.loss, settings.policy.tiny.heads) == ("ipo", 2)
    assert settings.policy.lora is not None


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "0.00001"])
def test_a_number_in_a_spelling_that_yaml_takes_for_text_is_a_number(text: str) -> None:
    assert load_settings(None, [f"train.learning_rate={text}"]).train.learning_rate == 1e-5


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


def test_ids_that_look_like_numbers_are_text_as_in_annotations() -> None:
    settings = load_settings(None, ["reliability.pinned={7: 0.9, ann: 0.8}"])
    assert settings.reliability.pinned == {"7": 0.9, "ann": 0.8}


def test_a_number_or_a_word_is_named_by_its_key_alone() -> None:
    with pytest.raises(UserError, match=r"reliability\.prior_strength = -1: input should be greater") as caught:
        load_settings(None, ["reliability.prior_strength=-1"])
    assert "constrained" not in str(caught.value)
