"""RE-PO's training loop (Cao et al., ICLR 2026): in each step w from θ and η, then θ, then η with that same w."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from repo.errors import UserError
from repo.policy.batches import Integers, PreferenceData, epoch_batches
from repo.policy.checkpoints import Checkpoint, CheckpointFolder
from repo.policy.loading import Policy
from repo.policy.logprobs import ResponseLogps, pair_logps
from repo.policy.losses import PairLogps, PreferenceLoss
from repo.policy.memory import freed_memory_kept
from repo.policy.objective import MStep, annotation_losses, both_orientations
from repo.policy.scoring import Scorer
from repo.reliability.online.estimators import BatchVotes, Estimator
from repo.settings import TrainSettings

Metrics = dict[str, float]

_NAMED = 8
"""Comparisons that an error names."""


@dataclass(frozen=True)
class _Step:
    """A step that is not logged yet: its comparisons, its metrics (on the device) and its learning rate."""

    comparisons: Integers
    metrics: dict[str, Tensor]
    learning_rate: float


@dataclass
class Trainer:
    """Trains a policy in place and re-estimates the annotators' reliabilities as it goes.

    Attributes:
        scorer: scores comparisons under the policy, whose weights change.
        reference: log-probabilities of all comparisons under the reference, or None when the loss needs none.
        data: tokenized comparisons with their annotations.
        loss: any preference loss.
        estimator: holds η; see repo.reliability.online.estimators.
        m_step: which M-step for the policy.
        settings: optimiser, schedule, logging.
        learning_rate: peak learning rate.
        gold_comparisons: +1 (a is better), −1 or 0 (unknown) of each comparison, for the E-step.
        checkpoints: where the state is kept.
        on_log: receives every logged record.
        on_note: receives what a person should know.
    """

    scorer: Scorer
    reference: ResponseLogps | None
    data: PreferenceData
    loss: PreferenceLoss
    estimator: Estimator
    m_step: MStep
    settings: TrainSettings
    learning_rate: float
    gold_comparisons: Integers
    checkpoints: CheckpointFolder
    accelerator: Accelerator
    on_log: Callable[[Metrics], None] = lambda _: None
    on_note: Callable[[str], None] = lambda _: None
    history: list[Metrics] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        device = self.accelerator.device
        optimizer = torch.optim.AdamW(
            (p for p in self.policy.model.parameters() if p.requires_grad),
            lr=self.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        self._fused: Any = optimizer
        self.model, self.optimizer = self.accelerator.prepare(self.policy.model, optimizer)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate_at)
        self.estimator.to(device)
        self.annotator = torch.tensor(self.data.annotator, device=device)  # [N]
        self.prefers_a = torch.tensor(self.data.prefers_a, device=device)  # [N]
        self.weight = torch.tensor(self.data.weight, device=device, dtype=torch.float32)  # [N]
        self.gold = torch.tensor(self.gold_comparisons, device=device)  # [C]
        # S of "a is better" of each comparison at its first and at its last visit, before the update that saw it; 0
        # before that.
        self.first_margins = torch.zeros(len(self.data.encoded), device=device)  # [C]
        self.last_margins = torch.zeros(len(self.data.encoded), device=device)  # [C]
        self._recent: list[_Step] = []

    @property
    def policy(self) -> Policy:
        """The policy that is trained."""
        return self.scorer.policy

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps an epoch."""
        return math.ceil(len(self.data.encoded) / self.settings.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.settings.epochs

    def run(self) -> None:
        """Train to the end, going on from the newest checkpoint of the same run if there is one.

        Raises:
            UserError: the loss, a gradient or a reliability stopped being finite.
        """
        done = self._restore()
        kept = freed_memory_kept() if self.accelerator.device.type == "cpu" else nullcontext()
        with (
            kept,
            self.scorer.attention(),
            tqdm(total=self.total_steps, initial=done, desc="training", unit="step", disable=None) as progress,
        ):
            for epoch in range(done // self.steps_per_epoch, self.settings.epochs):
                self._first_epoch = epoch == 0
                batches = epoch_batches(len(self.data.encoded), self.settings.batch_size, self.settings.seed, epoch)
                for number, comparisons in enumerate(batches, start=epoch * self.steps_per_epoch + 1):
                    if number <= done:
                        continue
                    self._step(comparisons)
                    progress.update()
                    self._after_step(number)

    def _step(self, comparisons: Integers) -> None:
        """Take one optimiser step on a batch, pass by pass, and one step of η on its posteriors."""
        total_weight = self.weight[torch.from_numpy(self.data.annotations_of(comparisons)[0])].sum()
        passes = self.scorer.passes(self.data.encoded[comparisons])
        parts = [self._forward_backward(comparisons[chosen], total_weight) for chosen in passes]
        norm = torch.as_tensor(
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_gradient_norm)
        )
        rate = float(self.schedule.get_last_lr()[0])
        step = {name: sum((p[name] for p in parts[1:]), parts[0][name]) for name in parts[0]}
        # What is not finite changes no weight; the fused optimiser needs no word from the host to see to that.
        self._fused.found_inf = (~(torch.isfinite(norm) & torch.isfinite(step["loss"]))).float()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.estimator.update()
        self._recent.append(_Step(comparisons, {**step, "grad_norm": norm}, rate))

    def _forward_backward(self, comparisons: Integers, total_weight: Tensor) -> dict[str, Tensor]:
        """Add this pass's gradient and show the estimator its posteriors; return its share of the batch's metrics."""
        pair = self._pair(comparisons)
        orientations = both_orientations(self.loss, pair)
        votes = self._votes(comparisons, orientations.margin.detach())
        w = self.estimator.posterior(votes)  # [n]
        self.estimator.observe(votes, w)
        share = votes.weight / total_weight  # [n]
        prefers_a = votes.label > 0  # [n]
        loss = (share * annotation_losses(orientations, votes.comparison, prefers_a, w, self.m_step)).sum()
        self.accelerator.backward(loss)
        metrics = self._metrics(pair, votes.comparison, prefers_a, share)
        return metrics | {"loss": loss.detach(), "reliability/posterior_mean": (share * w).sum()}

    def _votes(self, comparisons: Integers, margin: Tensor) -> BatchVotes:
        """Return these comparisons' annotations, and record the margins."""
        rows, within = (torch.from_numpy(i).to(margin.device) for i in self.data.annotations_of(comparisons))  # [n]
        places = torch.from_numpy(comparisons).to(margin.device)  # [c]
        self.last_margins[places] = margin.float()
        if self._first_epoch:
            self.first_margins[places] = margin.float()
        label = torch.where(self.prefers_a[rows], 1, -1)  # [n]
        return BatchVotes(
            row=rows,
            comparison=within,
            annotator=self.annotator[rows],
            label=label,
            weight=self.weight[rows],
            gold=self.gold[places],
            margin=margin,
        )

    def _pair(self, comparisons: Integers) -> PairLogps:
        """Run the policy on a pass's comparisons."""
        encoded = self.data.encoded[comparisons]
        with self.accelerator.autocast():
            logps = self.scorer(encoded)
        rows = torch.from_numpy(comparisons)  # [c]
        reference = self.reference and ResponseLogps(self.reference.a[rows], self.reference.b[rows])
        return pair_logps(logps, reference, encoded)

    @torch.no_grad()
    def _metrics(self, pair: PairLogps, position: Tensor, prefers_a: Tensor, share: Tensor) -> dict[str, Tensor]:
        """TRL's names; chosen and rejected are what each annotator said, weighted as in the loss."""
        reward_a, reward_b = (reward[position] for reward in self.loss.rewards(pair))  # [n] each
        logp_a, logp_b = pair.first[position], pair.second[position]  # [n] each
        chosen, rejected = torch.where(prefers_a, reward_a, reward_b), torch.where(prefers_a, reward_b, reward_a)
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "rewards/margins": chosen - rejected,
            "logps/chosen": torch.where(prefers_a, logp_a, logp_b),
            "logps/rejected": torch.where(prefers_a, logp_b, logp_a),
        }
        return {name: (share * value).sum() for name, value in values.items()}

    def _after_step(self, step: int) -> None:
        every, last = self.settings.checkpoint_every, step == self.total_steps
        # What follows a training can be interrupted too: its end is kept as well.
        due = every and (last or step % every == 0)
        if due or last or step % self.settings.log_every == 0:
            self._log(step)
        elif self.accelerator.device.type == "cpu":
            newest = self._recent[-1:]
            self._check_finite(step, newest, _on_host(newest))
        if due:
            self.checkpoints.save(self._checkpoint(step))

    def _log(self, step: int) -> None:
        """Log the mean of the steps since the last record: one host synchronisation for all of them."""
        values = _on_host(self._recent)  # [steps, names]
        self._check_finite(step, self._recent, values)
        record = dict(zip(self._recent[0].metrics, values.mean(dim=0).tolist(), strict=True))
        eta = self.estimator.value  # [A]
        record |= {
            "learning_rate": sum(one.learning_rate for one in self._recent) / len(self._recent),
            "reliability/mean": float(eta.mean()),
            "reliability/min": float(eta.min()),
            "reliability/max": float(eta.max()),
        }
        self._recent.clear()
        self.history.append({"step": step, "epoch": step / self.steps_per_epoch, **record})
        self.on_log(self.history[-1])

    def _check_finite(self, step: int, recent: Sequence[_Step], values: Tensor) -> None:
        """Refuse to go on after a step that had anything not finite: its weights are those before it.

        Args:
            step: the newest step's number.
            recent: the newest steps.
            values: their metrics, shape [steps, names].
        """
        finite = torch.isfinite(values)  # [steps, names]
        if bool(finite.all()) and bool(torch.isfinite(self.estimator.value).all()):
            return
        first = int((~finite.all(dim=1)).int().argmax())
        bad = [name for name, ok in zip(recent[first].metrics, finite[first].tolist(), strict=True) if not ok]
        raise UserError(
            f"training diverged at step {step - len(recent) + 1 + first} of {self.total_steps}: "
            f"{', '.join(bad or ['reliability'])} not finite, with the comparisons "
            f"{self._not_finite(recent[first].comparisons)}",
            f"look at these comparisons, or lower train.learning_rate (now {self.learning_rate:g}) or "
            "train.max_gradient_norm",
        )

    def _not_finite(self, comparisons: Integers) -> str:
        """Name the comparisons of a batch whose margins are not finite, or all of them if none is."""
        margins = self.last_margins[torch.from_numpy(comparisons).to(self.last_margins.device)]  # [c]
        odd = comparisons[~torch.isfinite(margins).cpu().numpy()]
        rows = np.searchsorted(self.data.comparison, odd if len(odd) else comparisons)
        names = [str(name) for name in self.data.table["comparison_id"].iloc[rows]]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more

    def _rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine to zero; as a share of the peak."""
        warmup = self.settings.warmup * self.total_steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, self.total_steps - warmup))))

    def _checkpoint(self, step: int) -> Checkpoint:
        """Return what a later process needs: of the weights those that are trained, the others are the base's."""
        optimizer = self.optimizer.state_dict()
        tensors = {
            **_named("model", dict(self._trained())),
            **_named("reliability", self.estimator.state()),
            **{
                f"optimizer.{number}.{name}": value
                for number, state in optimizer["state"].items()
                for name, value in state.items()
            },
            "first_margins": self.first_margins,
            "last_margins": self.last_margins,
        }
        facts = {
            "optimizer": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
            "history": self.history,
        }
        return Checkpoint(step, {name: tensor.detach().cpu() for name, tensor in tensors.items()}, facts)

    def _restore(self) -> int:
        """Load the newest checkpoint and return its step. Batch order needs no state: (seed, epoch) decide it."""
        newest = self.checkpoints.newest()
        if newest is None:
            return 0
        with torch.no_grad():
            for name, parameter in self._trained():
                parameter.copy_(newest.tensors[f"model.{name}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer", newest.tensors).items():
            number, _, kind = name.partition(".")
            moments.setdefault(int(number), {})[kind] = value
        self.optimizer.load_state_dict({"state": moments, "param_groups": newest.facts["optimizer"]})
        self.schedule.load_state_dict(newest.facts["schedule"])
        self.estimator.restore(_under("reliability", newest.tensors))
        self.first_margins.copy_(newest.tensors["first_margins"])
        self.last_margins.copy_(newest.tensors["last_margins"])
        self.history = newest.facts["history"]
        self.on_note(f"going on from step {newest.step} of {self.total_steps}, kept in {self.checkpoints.directory}")
        return newest.step

    def _trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """The trained weights by name; tied ones once."""
        model: torch.nn.Module = self.accelerator.unwrap_model(self.model)
        return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def _on_host(steps: Sequence[_Step]) -> Tensor:
    """Return the steps' metrics, shape [steps, names], by one host synchronisation."""
    return torch.stack([torch.stack([value.float() for value in one.metrics.values()]) for one in steps]).cpu()


def _named(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{group}.{name}": tensor for name, tensor in tensors.items()}


def _under(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo _named."""
    prefix = f"{group}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
