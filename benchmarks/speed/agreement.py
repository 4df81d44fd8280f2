"""Our losses and their gradients against TRL's own code, fed the same log-probabilities of the same tokens."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

from benchmarks.table import Row, not_measured
from repo.policy.losses import CPO, DPO, IPO, PairLogps, PreferenceLoss, SimPO

TOLERANCE = 1e-5
BETA, GAMMA, NLL = 0.1, 0.5, 0.7
LENGTHS = ((700, 350), (40, 90), (3, 1), (250, 250))
"""Response tokens of chosen and rejected."""
NAMES = ("dpo", "ipo", "hinge", "simpo", "cpo")


@dataclass(frozen=True)
class Hinge(PreferenceLoss):
    """L = max(0, 1 − β h): what a loss of a user's own looks like."""

    def __call__(self, pair: PairLogps) -> Tensor:
        """Return max(0, 1 − β h)."""
        log_ratio = (pair.first - pair.reference_first) - (pair.second - pair.reference_second)  # [c]
        return torch.relu(1 - BETA * log_ratio)


def rows(quick: bool = False) -> list[Row]:
    """Return the largest relative difference of each loss and of its gradient at the tokens' log-probabilities."""
    if find_spec("trl") is None:
        return [not_measured("losses beside TRL's", "TRL is not installed: make bench-speed", quick)]
    return [row for name in NAMES for row in _rows(name)]


def _rows(name: str) -> list[Row]:
    losses, gradients = zip(*(_with_gradient(side, name) for side in (_ours, _theirs)), strict=True)
    measured = {
        "loss": abs(losses[0] - losses[1]) / abs(losses[1]),
        "gradient": float((gradients[0] - gradients[1]).norm() / gradients[1].norm()),
    }
    return [
        Row(f"{name}: {what}, ours against TRL's, relative", f"≤ {TOLERANCE:g}", value, value <= TOLERANCE)
        for what, value in measured.items()
    ]


def _with_gradient(side: Callable[[str, Tensor, Tensor, Tensor], Tensor], name: str) -> tuple[float, Tensor]:
    """Return the mean loss and its gradient at the log-probabilities of all tokens."""
    lengths = LENGTHS[:1] if name == "cpo" else LENGTHS  # TRL's NLL is a mean over a batch's tokens, ours by response
    random = torch.Generator().manual_seed(0)
    width = max(map(max, lengths))
    sizes = torch.tensor([first for first, _ in lengths] + [second for _, second in lengths])  # [2c]
    mask = (torch.arange(width) < sizes[:, None]).float()  # [2c, T]
    tokens = (-4 * torch.rand(len(sizes), width, generator=random)).requires_grad_()  # [2c, T]
    reference = (tokens.detach() + 0.3 * torch.randn(len(sizes), width, generator=random)) * mask  # [2c, T]
    loss = side(name, tokens * mask, mask, reference.sum(1))
    (gradient,) = torch.autograd.grad(loss, tokens)
    return float(loss.detach()), gradient


def _ours(name: str, logps: Tensor, mask: Tensor, reference: Tensor) -> Tensor:
    losses: dict[str, PreferenceLoss] = {
        "dpo": DPO(BETA),
        "ipo": IPO(BETA),
        "hinge": Hinge(),
        "simpo": SimPO(BETA, GAMMA),
        "cpo": CPO(BETA, NLL),
    }
    first, second = logps.sum(1).chunk(2)  # [c] each
    return losses[name](PairLogps(first, second, *reference.chunk(2), *mask.sum(1).chunk(2))).mean()


def _theirs(name: str, logps: Tensor, mask: Tensor, reference: Tensor) -> Tensor:
    return (
        _by_cpo_trainer(name, logps, mask)
        if name in ("simpo", "cpo")
        else _by_dpo_trainer(name, logps, mask, reference)
    )


def _by_dpo_trainer(name: str, logps: Tensor, mask: Tensor, reference: Tensor) -> Tensor:
    """Let DPOTrainer compute its loss from a model whose log-probabilities are these."""
    from trl import DPOTrainer

    trainer = MagicMock()
    trainer.configure_mock(
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[{"dpo": "sigmoid"}.get(name, name)],
        loss_weights=[1.0],
        beta=BETA,
        use_weighting=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
    )
    trainer.accelerator.device = logps.device
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda value: value
    # Position 0 is a prompt of one token.
    whole = torch.cat([torch.zeros(len(mask), 1), mask], dim=1)  # [2c, 1 + T]
    chosen, rejected = reference.chunk(2)  # [c] each
    zeros = torch.zeros_like(mask)  # [2c, T]
    outputs = MagicMock(log_probs=logps, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    inputs = {
        "input_ids": torch.zeros_like(whole, dtype=torch.long),
        "attention_mask": torch.ones_like(whole),
        "completion_mask": whole.long(),
        "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected,
    }
    loss: Tensor = DPOTrainer._compute_loss(trainer, MagicMock(return_value=outputs), inputs, return_outputs=False)
    return loss


def _by_cpo_trainer(name: str, logps: Tensor, mask: Tensor) -> Tensor:
    """Let CPOTrainer compute its loss; SimPO's log-probabilities are means there, and CPO's NLL one over tokens."""
    from trl.experimental.cpo import CPOTrainer

    trainer: Any = MagicMock()
    trainer.configure_mock(
        alpha=0.0,
        beta=BETA,
        simpo_gamma=GAMMA,
        label_smoothing=0.0,
        loss_type="simpo" if name == "simpo" else "sigmoid",
    )
    trainer.accelerator.device = logps.device
    totals = logps.sum(1) / mask.sum(1) if name == "simpo" else logps.sum(1)  # [2c]
    losses: Tensor = CPOTrainer.cpo_loss(trainer, *totals.chunk(2))[0]
    chosen, counted = logps.chunk(2)[0], mask.chunk(2)[0]  # [c, T] each
    return losses.mean() + (0.0 if name == "simpo" else NLL) * -chosen.sum() / counted.sum()
