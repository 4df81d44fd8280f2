"""The training step: from annotations to a policy and its annotators' reliabilities, in one directory."""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from repo.errors import UserError
from repo.files import text_digest, write_json, write_jsonl
from repo.policy.batches import Integers, PreferenceData, tokenize_annotations
from repo.policy.checkpoints import CheckpointFolder, tensors_digest
from repo.policy.earlier import Earlier
from repo.policy.hopper import is_hopper
from repo.policy.loading import (
    TINY,
    Policy,
    add_lora,
    checkpoint_gradients,
    compile_layers,
    compiling,
    frozen_dtype,
    load_policy,
    make_tiny_policy,
    merge_lora,
    mixed_precision,
)
from repo.policy.logprobs import ResponseLogps
from repo.policy.losses import PreferenceLoss, loss_record, make_loss
from repo.policy.reference import first_loss, reference_logps
from repo.policy.reliabilities import (
    Past,
    drift_record,
    final_estimate,
    gold_comparisons,
    make_estimator,
)
from repo.policy.scoring import Scorer, make_scorer, tokens_per_pass
from repo.policy.trainer import Metrics, Trainer
from repo.reliability.drift import DRIFT_FILE
from repo.reliability.online.estimators import Estimator
from repo.reliability.state import ReliabilityState, load_state
from repo.settings import PolicySettings, Settings

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class TrainingResult:
    """What training made.

    Attributes:
        policy: directory of the trained policy in Hugging Face format, adapters merged.
        record: directory with reliability.json, reliability_state.json (for the next training), history.jsonl,
            training.json, for `tiny` its base/ in Hugging Face format, and posteriors.parquet: one row an annotation
            with its margins S, recorded before the update that the visit led to, and its posterior w. After a training
            that went on from an earlier one also drift.json, and only what was new is in the others.
        reliability: the content of reliability.json.
        state: reliability_state.json in the record, for the next training; None after plain training.
        history: logged metrics.
        summary: the content of training.json.
    """

    policy: Path
    record: Path
    reliability: dict[str, Any]
    state: Path | None
    history: list[Metrics]
    summary: dict[str, Any]


def train(
    annotations: pd.DataFrame,
    settings: Settings,
    output: Path,
    loss: PreferenceLoss | None = None,
    prior_state: ReliabilityState | None = None,
    on_log: Callable[[Metrics], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
    checkpoints: Path | None = None,
    earlier: Earlier | None = None,
) -> TrainingResult:
    """Train a policy with RE-PO (or plainly, with reliability.estimator "none").

    Running the same call again after an interruption goes on from the newest checkpoint.

    Args:
        annotations: canonical table (see repo.annotations.schema) without ties.
        settings: the sections policy, train and reliability are read.
        output: directory to write: policy/, record/, and checkpoints/ while training.
        loss: an instance of your own loss; default: train.loss by name.
        prior_state: what an earlier training found out about the annotators; default: the file that
            reliability.prior_state names, if any.
        on_log: receives each logged record.
        on_note: receives what a person should know, such as where an interrupted training goes on.
        checkpoints: directory for the checkpoints of many trainings, each in a folder of its own, named by what decides
            it (tokens, votes, weights, gold, base, settings); default: `output`/checkpoints, for this training alone.
            In its folder `references` lie the reference's log-probabilities, which later trainings read again.
        earlier: the model version to go on from. Its state is the prior, its votes are trained on and not counted anew.

    Raises:
        UserError: the checkpoints under `output` are of another training (it says what differs), the policy cannot be
            loaded, nothing is left to train on, training diverges, or this process has trained in another precision.
    """
    started = time.monotonic()
    loss = loss or make_loss(settings.train.loss, settings.train.loss_options)
    accelerator = _accelerator(settings.policy)
    if accelerator.num_processes > 1:
        raise UserError("training runs in one process so far", "start it without a multi-process launcher")
    known = earlier.known(settings) if earlier else {}
    reliability = settings.reliability.model_copy(update={"pinned": {**settings.reliability.pinned, **known}})
    if earlier:
        prior_state = earlier.state
        annotations = pd.concat([annotations, earlier.stand_ins], ignore_index=True)
    policy = _initial_policy(annotations, settings, output, earlier)
    data = tokenize_annotations(
        annotations, policy.tokenizer, settings.policy.max_length, settings.policy.max_prompt_length
    )
    policy.model.to(accelerator.device)
    reference = None
    if loss.needs_reference:
        kept = checkpoints / REFERENCES if checkpoints else None
        reference = _reference(policy, data, settings, accelerator, earlier, kept)
    if prior_state is None and settings.reliability.prior_state:
        prior_state = load_state(settings.reliability.prior_state)
    gold = gold_comparisons(data, settings.reliability)
    estimator = make_estimator(reliability, data, gold, prior_state)
    identity = _identity(policy, data, gold, estimator, loss, settings)
    if reference is not None and earlier:
        identity["reference"] = tensors_digest([reference.a, reference.b])
    policy = add_lora(policy, settings.policy, settings.train.seed)
    if settings.train.gradient_checkpointing:
        checkpoint_gradients(policy)
    with accelerator.autocast():
        scorer = make_scorer(policy, data.encoded, accelerator.device, tokens_per_pass(settings.policy))
    if scorer.unpacked:
        on_note(f"prompts are computed once a response, and padded: {scorer.unpacked}")
    elif is_hopper(accelerator.device) and (because := _without_kernel(scorer, accelerator)):
        on_note(f"the head is computed in chunks, not by Liger's kernel: {because}")
    if settings.train.compile:
        compile_layers(policy)  # after packing was checked: what fails here is no reason to pad
    trainer = Trainer(
        scorer=scorer,
        reference=reference,
        data=data,
        loss=loss,
        estimator=estimator,
        gold_comparisons=gold,
        # With every label believed, the weighted M-step is the plain loss itself (w = 1).
        m_step="weighted" if settings.reliability.estimator == "none" else settings.train.m_step,
        settings=settings.train,
        learning_rate=learning_rate(settings),
        checkpoints=(
            CheckpointFolder.among(checkpoints, identity, settings.train.keep_checkpoints)
            if checkpoints
            else CheckpointFolder(output / "checkpoints", identity, settings.train.keep_checkpoints)
        ),
        accelerator=accelerator,
        on_log=on_log,
        on_note=on_note,
    )
    first = None
    with compiling(settings.train.compile):
        if reference is not None and (earlier is None or earlier.policy is None):
            first = _first_loss(scorer, reference, data, accelerator, on_note)
        trainer.run()
    past = Past(known, earlier.version, settings.retrain.drift_odds) if earlier else None
    result = _save(trainer, settings, output, prior_state, past, first, time.monotonic() - started)
    if checkpoints is None:
        shutil.rmtree(output / "checkpoints", ignore_errors=True)
    return result


def _without_kernel(scorer: Scorer, accelerator: "Accelerator") -> str:
    """Return why the head is computed in chunks; "" where Liger's kernel computes it."""
    with accelerator.autocast():
        return scorer.without_kernel()


def _first_loss(
    scorer: Scorer,
    reference: ResponseLogps,
    data: PreferenceData,
    accelerator: "Accelerator",
    on_note: Callable[[str], None],
) -> float:
    """Return DPO's loss before the first step, and say so where it is not ln 2."""
    with accelerator.autocast():
        first = first_loss(scorer, reference, data.encoded)
    if not abs(first - math.log(2)) <= _LN_2_WITHIN[accelerator.mixed_precision]:  # NaN is said too
        on_note(
            f"before its first step the policy is not its reference: DPO's first loss is {first:.4f}, not ln 2 = "
            f"{math.log(2):.4f}"
        )
    return first


_LN_2_WITHIN = {"no": 1e-3, "bf16": 1e-2}
"""By precision, how far rounding takes DPO's first loss from ln 2."""

REFERENCES = "references"
"""Where a directory of checkpoints keeps what trainings share: log-probabilities under their references."""

_NOT_THE_RUN_S = {"loss", "loss_options", "learning_rate", "log_every", "checkpoint_every", "keep_checkpoints"}
"""Settings of the section train that change nothing of the trained policy, or stand in the identity by themselves."""


def _identity(
    policy: Policy, data: PreferenceData, gold: Integers, estimator: Estimator, loss: PreferenceLoss, settings: Settings
) -> dict[str, Any]:
    """Return everything that decides the training: whether a checkpoint may be continued is asked of this alone."""
    identity = {
        "tokens": tensors_digest(part for e in data.encoded for part in (e.prompt, e.response_a, e.response_b)),
        "votes": text_digest(tensors_digest([data.comparison, data.annotator, data.prefers_a]), *data.annotators),
        "weights of the votes": tensors_digest([data.weight]),
        "gold": tensors_digest([gold]),
        "base weights": tensors_digest(policy.model.parameters()),
        "reliabilities at the start": tensors_digest(estimator.state().values()),
        "loss": repr(loss),
        "settings": {
            **{f"train.{name}": value for name, value in settings.train if name not in _NOT_THE_RUN_S},
            "train.learning_rate": learning_rate(settings),
            "policy.precision": settings.policy.precision,
            "policy.tokens_per_pass": tokens_per_pass(settings.policy),
            "policy.lora": settings.policy.lora and settings.policy.lora.model_dump(),
            "reliability.estimator": settings.reliability.estimator,
            "reliability.step_size": settings.reliability.step_size,
            "reliability.pinned": settings.reliability.pinned,
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    return plain


def learning_rate(settings: Settings) -> float:
    """Return the peak learning rate; "auto" depends on what is trained."""
    if settings.train.learning_rate != "auto":
        return settings.train.learning_rate
    if settings.policy.base == TINY:
        return 1e-3
    return 1e-5 if settings.policy.lora else 1e-6


def _accelerator(settings: PolicySettings) -> "Accelerator":
    from accelerate import Accelerator

    try:
        return Accelerator(mixed_precision=mixed_precision(settings))
    except ValueError:  # accelerate keeps one precision for the life of a process
        problem = f"policy.precision = {settings.precision}: this process has already trained in another precision"
        raise UserError(problem, "train this one in a process of its own") from None


def _initial_policy(annotations: pd.DataFrame, settings: Settings, output: Path, earlier: Earlier | None) -> Policy:
    """Load the policy to start from; a tiny base is made once and kept: an interrupted run finds the same one."""
    if earlier:
        if settings.policy.base == TINY:
            _keep_base(Path(earlier.base), output)
        return earlier.start(settings)
    dtype = frozen_dtype(settings.policy) if settings.policy.lora else torch.float32
    if settings.policy.base != TINY:
        return load_policy(settings.policy.base, settings.policy.revision, dtype, settings.policy.max_length)
    base = output / "record" / "base"
    if not base.exists():
        partial = output / "base.partial"
        make_tiny_policy(annotations, settings).save(partial)
        base.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(base)
    return load_policy(base, dtype=dtype)


def _keep_base(base: Path, output: Path) -> None:
    """A tiny policy's base is nowhere but in the records of those who started from it."""
    kept = output / "record" / "base"
    if not kept.exists():
        partial = output / "base.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(base, partial)
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(kept)


def _reference(
    policy: Policy,
    data: PreferenceData,
    settings: Settings,
    accelerator: "Accelerator",
    earlier: Earlier | None,
    kept: Path | None,
) -> ResponseLogps:
    """Score every comparison once under the base policy: no second model, no second forward in the loop."""
    if earlier and earlier.policy is not None:
        policy = load_policy(earlier.base, earlier.revision, frozen_dtype(settings.policy))
        policy.model.to(accelerator.device)
    with accelerator.autocast():
        scorer = make_scorer(policy, data.encoded, accelerator.device, tokens_per_pass(settings.policy))
        return reference_logps(scorer, data.encoded, kept)


def _save(
    trainer: Trainer,
    settings: Settings,
    output: Path,
    state: ReliabilityState | None,
    past: Past | None,
    first: float | None,
    seconds: float,
) -> TrainingResult:
    policy, record = output / "policy", output / "record"
    model = trainer.accelerator.unwrap_model(trainer.model)
    merge_lora(Policy(model, trainer.policy.tokenizer)).save(policy)
    record.mkdir(parents=True, exist_ok=True)
    final = final_estimate(trainer, settings.reliability, state, past)
    found = final.estimate
    final.labels.to_parquet(record / "posteriors.parquet")
    summary = _summary(trainer, settings, past, first, seconds)
    if past:
        write_json(record / DRIFT_FILE, drift_record(final, state, past))
    write_json(record / "reliability.json", found.record)
    state_file = None
    if found.fitted is not None:
        state_file = record / "reliability_state.json"
        found.fitted.state_.save(state_file)
    write_jsonl(record / "history.jsonl", trainer.history)
    write_json(record / "training.json", summary)
    return TrainingResult(policy, record, found.record, state_file, trainer.history, summary)


def _base_name(base: str) -> str:
    """Return the base as it can be found again from another working directory."""
    return str(Path(base).expanduser().resolve()) if base != TINY and Path(base).expanduser().is_dir() else base


def _summary(
    trainer: Trainer, settings: Settings, past: Past | None, first: float | None, seconds: float
) -> dict[str, Any]:
    stand_ins = past.known if past else {}
    without_kernel = _without_kernel(trainer.scorer, trainer.accelerator)
    annotations = len(trainer.data.table)
    retained = int(trainer.data.table["annotator_id"].isin(list(stand_ins)).sum())
    return {
        "base": _base_name(settings.policy.base),
        "base_revision": settings.policy.revision,
        **loss_record(trainer.loss),
        "m_step": trainer.m_step,
        "learning_rate": trainer.learning_rate,
        "first_dpo_loss": first,
        "steps": trainer.total_steps,
        "seconds": round(seconds, 2),
        "device": str(trainer.accelerator.device),
        "precision": trainer.accelerator.mixed_precision,
        "packing": {
            "used": not trainer.scorer.unpacked,
            "unpacked_because": trainer.scorer.unpacked,
            "largest_difference": trainer.scorer.difference if math.isfinite(trainer.scorer.difference) else None,
            "tokens_per_pass": trainer.scorer.tokens,
        },
        "head_kernel": {
            "used": not without_kernel,
            "unused_because": without_kernel,
        },
        "parameters": sum(p.numel() for p in trainer.policy.model.parameters()),
        "comparisons": len(trainer.data.encoded),
        "annotations": annotations - retained,
        "retained_annotations": retained,
        "tokenization": {
            name: asdict(count) for name, count in sorted(trainer.data.counts.items()) if name not in stand_ins
        },
    }
