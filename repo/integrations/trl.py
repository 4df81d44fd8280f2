"""RE-PO inside TRL: DPOTrainer with a weight for every vote, and reliabilities of those who gave them.

TRL runs the model, the reference, the optimiser and its own metrics; its preference loss is left out and RE-PO's stands
in its place. A row is one vote and a comparison of its own: `chosen` is what its annotator preferred.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import TrainerCallback

from repo.errors import UserError
from repo.files import text_digest
from repo.ids import id_text
from repo.policy.losses import DPO, PairLogps, PreferenceLoss
from repo.policy.objective import MStep, annotation_losses, both_orientations
from repo.policy.reliabilities import note_memorisation
from repo.reliability.em.empirical_bayes import WEAK
from repo.reliability.estimate import Estimate, estimate
from repo.reliability.online.estimators import (
    BatchVotes,
    Estimator,
    FullTrust,
    IncrementalReliability,
    MovingReliability,
)
from repo.reliability.online.visits import LATE, memorisation
from repo.settings import ReliabilitySettings

try:
    from trl import DPOConfig, DPOTrainer
except ImportError as error:
    raise ImportError("TRL is not installed: pip install 'repo-pipeline[trl]'") from error

if TYPE_CHECKING:
    from datasets import Dataset

STATE_FILE = "repo.safetensors"
"""In every checkpoint of TRL's: what RE-PO knows."""

_ROW = "repo_row"
_NEVER = -1

_DEFAULTS: dict[str, Any] = {
    "loss_type": ["sigmoid"],
    "loss_weights": None,
    "label_smoothing": 0.0,
    "use_weighting": False,
    "ld_alpha": None,
    "f_divergence_type": "reverse_kl",
    "use_liger_kernel": False,
    "torch_compile": False,
    "deepspeed": None,
    "auto_find_batch_size": False,
}
"""Options of TRL's that RE-PO has no counterpart of, and the one value of each that goes together with it."""


@dataclass
class _Visits:
    """Margins S of every row's label as given, recorded before the update that the visit led to; shape [N] each.

    Attributes:
        first, last: at the first and at the last visit; 0 before.
        order: how many rows had been visited before the first visit, or _NEVER.
    """

    first: Tensor
    last: Tensor
    order: Tensor

    @classmethod
    def none(cls, rows: int) -> "_Visits":
        return cls(torch.zeros(rows), torch.zeros(rows), torch.full((rows,), _NEVER))

    def record(self, rows: Tensor, margin: Tensor) -> None:
        rows, margin = rows.cpu(), margin.float().cpu()
        new = self.order[rows] == _NEVER  # [n]
        seen = int((self.order != _NEVER).sum())
        self.order[rows[new]] = torch.arange(seen, seen + int(new.sum()))
        self.first[rows[new]] = margin[new]
        self.last[rows] = margin


class _UpdateReliabilities(TrainerCallback):
    """One step of η after every step of the optimiser, before anything is logged or saved."""

    def __init__(self, update: Callable[[], None]) -> None:
        self.update = update

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.update()


class REPOTrainer(DPOTrainer):
    """DPOTrainer that believes every vote as far as its annotator can be believed, and finds out how far that is.

    In each micro-batch w = P(the label is right) follows from θ and η (RE-PO Eq. 4); the loss is the mean over its rows
    of −[w log σ(S) + (1 − w) log σ(−S)] (Eq. 5); after each optimiser step η takes one step on those same w. Evaluation
    takes every label for right, and changes nothing. Metrics have TRL's names and are computed by it; besides them
    `reliability/mean`, `/min`, `/max` (η) and `reliability/posterior_mean` (w) are logged.

    Args:
        model, ref_model, args: as for DPOTrainer. Also a loss that needs no reference has TRL score one, for its
            metrics.
        train_dataset: TRL's columns and the annotators' ids.
        loss: any preference loss; None: DPO with `args.beta`.
        m_step: "likelihood" (Eq. 5) or "weighted", see repo.policy.objective.
        reliability: estimator, η₀, step size, pinned annotators, and how the final estimates are made. By default as in
            our own training.
        annotator_column: where the ids stand.
        options: everything else that DPOTrainer takes.

    Raises:
        UserError: an option of TRL's does not go together with RE-PO, there is more than one process, or ids are
            missing.
    """

    _tag_names = ("trl", "re-po")
    _name = "RE-PO"
    _paper = {  # noqa: RUF012
        "title": "RE-PO: Robust Enhanced Policy Optimization",
        "id": "2509.24159",
        "citation": "S. Cao et al. RE-PO: Robust Enhanced Policy Optimization. ICLR 2026.",
    }

    train_dataset: Any
    data_collator: Any
    loss_types: list[str]
    loss_weights: list[float]

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        args: DPOConfig | None = None,
        *,
        train_dataset: "Dataset",
        loss: PreferenceLoss | None = None,
        m_step: MStep = "likelihood",
        reliability: ReliabilitySettings | None = None,
        annotator_column: str = "annotator_id",
        **options: Any,
    ) -> None:
        reliability = reliability or ReliabilitySettings()
        if args is not None:
            _refuse_options(args)
        _refuse_settings(reliability)
        _annotators_of(train_dataset, annotator_column)  # before a model is loaded
        super().__init__(model, ref_model, args, train_dataset=train_dataset, **options)
        if self._is_vision_dataset:
            raise UserError("the dataset has images, which RE-PO does not read", "use a dataset of texts")
        ids = _annotators_of(self.train_dataset, annotator_column)  # TRL has left out prompts that are too long
        self.train_dataset = self.train_dataset.add_column(_ROW, list(range(len(ids))))
        self.data_collator = _WithRows(self.data_collator)
        self.preference_loss = loss or DPO(self.beta)
        # With every label believed, the weighted M-step is the plain loss itself (w = 1).
        self.m_step: MStep = "weighted" if reliability.estimator == "none" else m_step
        self.reliability_settings = reliability
        self.annotators = sorted(set(ids))
        place = {name: number for number, name in enumerate(self.annotators)}
        self._annotator = torch.tensor([place[name] for name in ids])  # [N]
        self._estimator = _make_estimator(reliability, self.annotators, self._annotator)
        self._estimator.to(self.accelerator.device)
        self._visits = _Visits.none(len(ids))
        # TRL goes on to compute the metrics, and adds what stands beside a preference loss (of mixtures of experts).
        self.loss_types, self.loss_weights = [], []
        self.add_callback(_UpdateReliabilities(self._update_reliabilities))

    def reliabilities(self) -> Estimate:
        """Estimate everybody's reliability anew from all votes and the margins recorded so far.

        `record` is what our own training writes as reliability.json, warnings included; `fitted` the
        AnnotatorReliability behind it (None for estimator "none"); `posterior` w of each row of `train_dataset`.

        Raises:
            UserError: nothing has been trained on yet.
        """
        first, last, order = (part.numpy() for part in (self._visits.first, self._visits.last, self._visits.order))
        if not (order != _NEVER).any():
            raise UserError("no margins are recorded yet", "call train() first")
        settings = self.reliability_settings
        measured = memorisation(first.astype(float), last.astype(float), order >= int(LATE * len(order)))
        visit = measured.visit if settings.margins == "auto" else settings.margins
        given = None
        if settings.estimator == "paper" and not settings.calibrated:
            given = dict(zip(self.annotators, self._estimator.value.tolist(), strict=True))
        margin = np.asarray(first if visit == "first_visit" else last, np.float64)  # [N]
        found = estimate(self._votes_table(), settings, margin, visit, None, given)
        note_memorisation(found, measured, visit)
        return found

    def _votes_table(self) -> pd.DataFrame:
        """Return the votes in the canonical layout, the chosen response as a."""
        rows = len(self._annotator)
        return pd.DataFrame(
            {
                "annotator_id": [self.annotators[number] for number in self._annotator.tolist()],
                "comparison_id": range(rows),
                "preference": "a",
                "weight": 1.0,
            }
        )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if _ROW not in self._signature_columns:
            self._signature_columns.append(_ROW)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        inputs = dict(inputs)
        rows = inputs.pop(_ROW, None)  # [n]
        with _outputs_of(self.model, self.ref_model) as outputs:
            computed = super()._compute_loss(model, inputs, return_outputs)
        beside, shown = computed if return_outputs else (computed, None)
        loss = self._objective(_pair_of(outputs, inputs), rows) + beside
        return (loss, shown) if return_outputs else loss

    def _objective(self, pair: PairLogps, rows: Tensor | None) -> Tensor:
        """Return the mean loss of a micro-batch; in training, show the estimator its posteriors."""
        orientations = both_orientations(self.preference_loss, pair)
        margin = orientations.margin.detach()  # [n]
        each = torch.arange(len(margin), device=margin.device)  # [n]
        as_given = torch.ones_like(each, dtype=torch.bool)  # [n]
        w = torch.ones_like(margin)  # [n]
        if self.model.training:
            assert rows is not None, "a training batch without its rows"
            votes = self._votes(rows, each, margin)
            w = self._estimator.posterior(votes)
            self._estimator.observe(votes, w)
            self._visits.record(rows, margin)
            self._metrics["train"]["reliability/posterior_mean"].append(float(w.mean()))
        return annotation_losses(orientations, each, as_given, w, self.m_step).mean()

    def _votes(self, rows: Tensor, each: Tensor, margin: Tensor) -> BatchVotes:
        return BatchVotes(
            row=rows,
            comparison=each,
            annotator=self._annotator.to(rows.device)[rows],
            label=torch.ones_like(rows),
            weight=torch.ones_like(margin),
            gold=torch.zeros_like(rows),
            margin=margin,
        )

    def _update_reliabilities(self) -> None:
        self._estimator.update()
        eta = self._estimator.value  # [A]
        for name, value in (("mean", eta.mean()), ("min", eta.min()), ("max", eta.max())):
            self._metrics["train"][f"reliability/{name}"] = [float(value)]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        # First of all: what is left of an interrupted save has no trainer_state.json, and TRL does not resume from it.
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"first": self._visits.first, "last": self._visits.last, "order": self._visits.order}
        tensors |= {f"estimator.{name}": value.cpu() for name, value in self._estimator.state().items()}
        save_file(tensors, folder / STATE_FILE, {"identity": json.dumps(self._identity())})
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._restore(Path(resume_from_checkpoint) / STATE_FILE)
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _restore(self, file: Path) -> None:
        """Go on with the reliabilities and margins of a checkpoint.

        Raises:
            UserError: the checkpoint has none, or they are of other votes or another objective.
        """
        if not file.is_file():
            raise UserError(
                f"{file.parent}: there is no {STATE_FILE} in this checkpoint, so it holds no reliabilities",
                "resume from a checkpoint that REPOTrainer wrote, or load its model and train anew",
            )
        with safe_open(file, "pt") as stored:
            kept, now = json.loads(stored.metadata()["identity"]), self._identity()
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        other = [f"{name} (then {kept.get(name)}, now {value})" for name, value in now.items() if kept[name] != value]
        if other:
            raise UserError(
                f"{file.parent}: this checkpoint is of another training: {', '.join(other)}",
                "make the trainer as it was made then, or train anew in another output_dir",
            )
        self._visits = _Visits(tensors["first"], tensors["last"], tensors["order"])
        prefix = "estimator."
        self._estimator.restore({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})

    def _identity(self) -> dict[str, str]:
        """Return what must be the same for a checkpoint to be continued."""
        settings = self.reliability_settings
        return {
            "votes": text_digest(*self.annotators, str(self._annotator.tolist()))[:16],
            "loss": repr(self.preference_loss),
            "m_step": self.m_step,
            "reliability": json.dumps(settings.model_dump(include={"estimator", "initial", "step_size", "pinned"})),
        }


class _WithRows:
    """A collator that keeps the rows' numbers beside what it collates."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = dict(self.collate(examples))
        if _ROW in examples[0]:
            batch[_ROW] = torch.tensor([example[_ROW] for example in examples])
        return batch


@contextmanager
def _outputs_of(*models: torch.nn.Module | None) -> Iterator[list[Any]]:
    """Collect what the models return meanwhile: TRL's trainer keeps the log-probabilities of the pairs to itself."""
    outputs: list[Any] = []

    def collect(module: torch.nn.Module, given: Any, output: Any) -> None:
        outputs.append(output)

    hooks = [model.register_forward_hook(collect) for model in models if model is not None]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _pair_of(outputs: list[Any], inputs: dict[str, Any]) -> PairLogps:
    """Return the log-probabilities of (chosen, rejected): the policy ran first, then the reference if it had to."""
    first_length, second_length = inputs["completion_mask"].sum(1).clamp(min=1).float().chunk(2)  # [n] each
    width = inputs["completion_mask"].shape[1] - 1
    # Prompt learning puts tokens of its own before the text's.
    first, second = outputs[0].log_probs[:, -width:].sum(1).chunk(2)  # [n] each
    if "ref_chosen_logps" in inputs:
        reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]  # [n] each
    else:
        reference = outputs[1].log_probs[:, -width:].sum(1).chunk(2)
    return PairLogps(first, second, *reference, first_length, second_length)


def _refuse_options(args: DPOConfig) -> None:
    for name, only in _DEFAULTS.items():
        if (value := getattr(args, name)) != only:
            raise UserError(
                f"DPOConfig: {name} = {value!r} does not go together with RE-PO",
                f"leave {name} at {only!r}; another loss is REPOTrainer's argument `loss`",
            )
    if args.fsdp:
        raise UserError("DPOConfig: fsdp does not go together with RE-PO", "leave fsdp out")
    if args.world_size > 1:
        raise UserError(
            f"REPOTrainer runs in one process so far, and this is one of {args.world_size}",
            "start it without a multi-process launcher",
        )


def _refuse_settings(settings: ReliabilitySettings) -> None:
    asked = [
        name
        for name, value in (
            ("use_gold", settings.use_gold),
            ("prior_state", settings.prior_state),
            ("coins", settings.coins == 2),
        )
        if value
    ]
    if asked:
        raise UserError(
            f"reliability: {', '.join(asked)} is not offered inside TRL", "leave it out, or train with repo.train"
        )


def _annotators_of(dataset: Any, column: str) -> list[str]:
    """Return who gave each row's vote."""
    if not hasattr(dataset, "add_column"):
        raise UserError(
            f"train_dataset is a {type(dataset).__name__}, whose rows cannot be counted", "use a datasets.Dataset"
        )
    if column not in dataset.column_names:
        raise UserError(
            f"train_dataset has no column {column!r}, only {', '.join(dataset.column_names)}",
            "say who gave each vote, or name the column that does as annotator_column",
        )
    ids = [id_text(value) for value in dataset[column]]
    missing = [number for number, name in enumerate(ids) if not name]
    if missing:
        raise UserError(
            f"train_dataset: {column} is missing in {len(missing)} of {len(ids)} rows, first in row {missing[0]}",
            "fill it in, or leave these rows out",
        )
    return ids


def _make_estimator(settings: ReliabilitySettings, annotators: list[str], annotator: Tensor) -> Estimator:
    """Return what holds η. No two votes share a comparison: before training they say nothing, and η₀ is all there is.

    Args:
        settings: which one, η₀ and pinned annotators.
        annotators: ids.
        annotator: who gave each vote, shape [N].
    """
    if settings.estimator == "none":
        return FullTrust(len(annotators))
    eta = [settings.pinned.get(name, settings.initial) for name in annotators]
    start = torch.tensor(eta, dtype=torch.float64)  # [A]
    fixed = torch.tensor([name in settings.pinned for name in annotators])  # [A]
    if settings.estimator != "incremental":
        return MovingReliability(start, fixed, settings.step_size, shared=False)
    weak = WEAK * torch.tensor([settings.initial, 1 - settings.initial], dtype=torch.float64)  # [2]
    return IncrementalReliability(
        annotator=annotator,
        weight=torch.ones(len(annotator)),
        w=start[annotator],
        prior=weak.expand(len(annotators), 2).clone(),
        pinned=torch.where(fixed, start, torch.nan),
    )
