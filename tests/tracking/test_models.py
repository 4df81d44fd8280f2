import socket

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

from repo.files import read_json, tree_digest
from repo.tracking.handover import fetch
from repo.tracking.models import log_policy, reliability_summary
from repo.tracking.promotion import promote_version
from repo.tracking.registry import register_version
from repo.tracking.runs import step_run


def annotator(name, reliability, interval, pinned=False):
    return {
        "annotator_id": name,
        "reliability": reliability,
        "interval": interval,
        "annotations": 40,
        "first_preference": None,
        "first_preference_interval": None,
        "pinned": pinned,
        "known_before": False,
    }


RELIABILITY = {
    "schema_version": 2,
    "estimator": "full",
    "calibrated": True,
    "coins": 1,
    "initial": 0.9,
    "confidence": 0.9,
    "margins": "first_visit",
    "calibration": {"temperature": 2.5, "intercept": 0.0},
    "population": {"mean": 0.7, "sd": 0.1, "told_apart": True},
    "warnings": ["not converged"],
    "annotators": [
        annotator("careful", 0.95, [0.9, 0.98]),
        annotator("hasty", 0.75, [0.6, 0.8]),
        annotator("adversarial", 0.10, [0.05, 0.35]),
    ],
}


@pytest.fixture(scope="session")
def policy_dir(tmp_path_factory):
    """A random Llama-shaped model of two layers with a byte-level BPE."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        ["some words"], trainers.BpeTrainer(vocab_size=300, special_tokens=["<eos>"], initial_alphabet=alphabet)
    )
    directory = tmp_path_factory.mktemp("policy")
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>", pad_token="<eos>").save_pretrained(directory)
    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture
def logged(parent, policy_dir):
    with step_run(parent, "train") as run:
        return run, log_policy(run, policy_dir, "policy", RELIABILITY, {"loss": "dpo", "base": "tiny"})


def test_the_summary_tells_the_reliabilities_in_flat_facts():
    summary = reliability_summary(RELIABILITY)
    assert summary["reliability_estimator"] == "full"
    assert summary["reliability_calibrated"] == "true"
    assert summary["reliability_temperature"] == 2.5
    assert summary["reliability_margins"] == "first_visit"
    assert summary["reliability_coins"] == 1
    assert summary["reliability_initial"] == 0.9
    assert summary["reliability_annotators"] == 3
    assert summary["reliability_mean"] == pytest.approx(0.6)
    assert (summary["reliability_min"], summary["reliability_median"], summary["reliability_max"]) == (0.1, 0.75, 0.95)
    assert summary["reliability_q25"] == pytest.approx(0.425)
    assert summary["reliability_confidence"] == 0.9
    assert summary["reliability_interval_width_median"] == pytest.approx(0.2)
    assert summary["reliability_population_mean"] == 0.7
    assert summary["reliability_warnings"] == 1
    assert all(type(value) in (str, int, float) for value in summary.values())


def test_pinned_annotators_and_plain_training_have_no_interval_width():
    pinned = annotator("pinned", 0.8, [0.8, 0.8], pinned=True)
    with_pinned = reliability_summary({**RELIABILITY, "annotators": [*RELIABILITY["annotators"], pinned]})
    assert with_pinned["reliability_interval_width_median"] == pytest.approx(0.2)
    plain = {**RELIABILITY, "estimator": "none", "annotators": [annotator("careful", 1.0, None)]}
    assert "reliability_interval_width_median" not in reliability_summary(plain)


def test_the_model_carries_its_reliabilities(logged):
    run, pointer = logged
    path = fetch(pointer)
    assert read_json(path / "reliability.json") == RELIABILITY
    mlmodel = yaml.safe_load((path / "MLmodel").read_text())
    assert mlmodel["metadata"] == {
        **reliability_summary(RELIABILITY),
        "reliability_digest": tree_digest(path / "reliability.json"),
        "loss": "dpo",
        "base": "tiny",
    }
    assert mlmodel["run_id"] == run.run_id
    assert "models:/" + mlmodel["model_id"] == pointer.mlflow_uri
    requirements = (path / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert "+cpu" not in requirements


def test_the_run_names_the_model_and_the_model_its_run(logged):
    run, pointer = logged
    model_id = pointer.mlflow_uri.removeprefix("models:/")
    client = MlflowClient()
    assert [output.model_id for output in client.get_run(run.run_id).outputs.model_outputs] == [model_id]
    model = client.get_logged_model(model_id)
    assert (model.source_run_id, model.status, model.tags["loss"]) == (run.run_id, "READY", "dpo")


def test_the_champion_loads_and_generates_and_stays_as_it_was_published(logged):
    _, pointer = logged
    promote_version("repo-policy", register_version(pointer, "repo-policy", {}), None)
    pipe = mlflow.transformers.load_model("models:/repo-policy@champion")
    [answer] = pipe("some words", max_new_tokens=4, do_sample=False)
    assert answer["generated_text"].startswith("some words")
    pyfunc = mlflow.pyfunc.load_model("models:/repo-policy@champion")
    assert pyfunc.metadata.metadata["reliability_annotators"] == 3
    fetch(pointer)


def test_logging_a_policy_looks_nothing_up_on_the_network(parent, policy_dir, monkeypatch, capfd):
    tried = []

    def refuse(self, address):
        tried.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: refuse(None, host))
    with step_run(parent, "train") as run:
        log_policy(run, policy_dir, "policy", RELIABILITY, {})
    assert tried == []
    assert "WARNING" not in capfd.readouterr().err


def test_a_policy_that_cannot_be_logged_leaves_no_ready_model(parent, tmp_path):
    with pytest.raises(Exception, match=r"config\.json"), step_run(parent, "train") as run:
        log_policy(run, tmp_path, "policy", RELIABILITY, {})
    client = MlflowClient()
    experiment_id = client.get_run(run.run_id).info.experiment_id
    assert [model.status for model in client.search_logged_models([experiment_id])] == ["FAILED"]
