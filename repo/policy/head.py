"""Log-probabilities of given tokens from hidden states, a chunk of logits at a time.

The output layer of a language model is wide: float32 logits of a whole batch would be its largest tensor by far. Here
they exist for some tokens at a time, forward and backward, so that memory does not grow with the batch. (Cut Your
Losses, Wijmans et al. 2024, arXiv 2411.09009, does the same within one kernel.)
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repo.policy.hopper import liger_token_logps, unusable
from repo.policy.packing import CannotPackError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK = 2**23
"""Logits computed at once."""

KEPT = 2**26
"""Logits kept from the forward for the backward pass, a quarter of a gigabyte; the others are computed anew."""


@dataclass(frozen=True)
class Head:
    """A model's output layer: logits = cap · tanh(scale · (W h + b) / cap), without the cap scale · (W h + b).

    Attributes:
        weight: W, shape [V, D].
        bias: b, shape [V], or None.
        scale: factor of the logits.
        cap: bound of the logits, or None.
    """

    weight: Tensor
    bias: Tensor | None
    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "Head":
        """Return a causal language model's head; what its configuration says of the logits is heeded.

        Raises:
            CannotPackError: its output layer is none, or not a linear one.
        """
        layer = model.get_output_embeddings()
        if type(layer) is not torch.nn.Linear:
            raise CannotPackError(f"its output layer is a {type(layer).__name__}")
        config = model.config.get_text_config()
        scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1.0)
        return cls(layer.weight, getattr(layer, "bias", None), scale, getattr(config, "final_logit_softcapping", None))

    def token_logps(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return log softmax(logits)[target] of each hidden state, float32.

        Args:
            hidden: shape [R, D].
            targets: token ids, shape [R].

        Returns:
            Shape [R], with gradients to `hidden`, W and b. Inside autocast the products are in its type.
        """
        dtype = computed_in(hidden.device, hidden.dtype)
        by_kernel = len(hidden) > 0 and not self.without_kernel(hidden.device, dtype)
        with torch.autocast(hidden.device.type, enabled=False):
            if by_kernel:
                return liger_token_logps(hidden.to(dtype), self.weight.to(dtype), targets, self.scale)
            logps: Tensor = _TokenLogps.apply(
                hidden.to(dtype), self.weight, self.bias, targets, self.scale, self.cap, torch.is_grad_enabled()
            )
        return logps

    def without_kernel(self, device: torch.device, dtype: torch.dtype) -> str:
        """Return why Liger's kernel does not serve products of this type; "" where it does (`repo.policy.hopper`)."""
        if self.bias is not None or self.cap is not None or self.scale <= 0:
            return "the logits have a bias or a cap"
        return unusable(device) if dtype == torch.bfloat16 else f"products are in {str(dtype).removeprefix('torch.')}"


def computed_in(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Return the type of products of tensors of this type: autocast may change it."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else dtype


def below_adapters(model: Any) -> Any:
    """Return a causal language model without the wrapper that adapters put around it."""
    return getattr(model, "get_base_model", lambda: model)()


class _TokenLogps(torch.autograd.Function):
    """Chunk by chunk; the backward pass has the first chunks' probabilities still, and computes the others anew."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        cap: float | None,
        keep: bool,
    ) -> Tensor:
        rows = max(1, CHUNK // len(weight))
        narrow = weight.to(hidden.dtype)  # [V, D]
        logps, kept = [], []
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = _logits(hidden[part], narrow, bias, scale, cap)  # [rows, V]
            normalised = torch.log_softmax(logits, dim=-1)  # [rows, V]
            logps.append(normalised.gather(-1, targets[part, None])[:, 0])  # [rows]
            if keep and cap is None and (start + len(logits)) * len(weight) <= KEPT:
                kept.append(normalised)
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.rows, ctx.scale, ctx.cap, ctx.kept = rows, scale, cap, kept
        return torch.cat(logps) if logps else hidden.new_zeros(0, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets = ctx.saved_tensors
        to_hidden, to_weight, to_bias = ctx.needs_input_grad[:3]
        narrow = weight.to(hidden.dtype)  # [V, D]
        d_hidden = torch.empty_like(hidden) if to_hidden else None  # [R, D]
        d_weight = torch.zeros_like(weight) if to_weight else None  # [V, D]
        d_bias = torch.zeros_like(bias) if to_bias else None  # [V]
        for start in range(0, len(hidden), ctx.rows):
            part = slice(start, start + ctx.rows)
            if ctx.kept:
                logits, probabilities = None, ctx.kept.pop(0).exp_()  # [rows, V]
            else:
                logits = _logits(hidden[part], narrow, bias, ctx.scale, ctx.cap)  # [rows, V]
                probabilities = torch.softmax(logits, dim=-1)  # [rows, V]
            d_logits = _d_logits(probabilities, logits, targets[part], gradient[part], ctx.scale, ctx.cap)
            d_logits = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                torch.mm(d_logits, narrow, out=d_hidden[part])
            if d_weight is not None:
                _add_product(d_weight, d_logits.T, hidden[part])
            if d_bias is not None:
                d_bias += d_logits.sum(dim=0)
        return d_hidden, d_weight, d_bias, None, None, None, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, cap: float | None) -> Tensor:
    """Return logits, float32, shape [rows, V]."""
    logits = (hidden @ weight.T).float()
    if bias is not None:
        logits += bias
    if scale != 1:
        logits *= scale
    return logits if cap is None else torch.tanh(logits.div_(cap)).mul_(cap)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right in the total's own precision: many small terms would be lost in bfloat16."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _d_logits(
    probabilities: Tensor, logits: Tensor | None, targets: Tensor, gradient: Tensor, scale: float, cap: float | None
) -> Tensor:
    """Return the gradient at W h + b of Σ gradient · log softmax(logits)[target], in the place of the probabilities.

    Args:
        probabilities: softmax of the logits, shape [rows, V].
        logits: shape [rows, V]; needed where they are capped.
        targets, gradient: shape [rows].
        scale, cap: see Head.
    """
    d_logits = probabilities.mul_(-gradient[:, None])  # [rows, V]
    d_logits.scatter_add_(-1, targets[:, None], gradient[:, None])
    if cap is not None and logits is not None:
        d_logits *= 1 - (logits / cap) ** 2
    return d_logits if scale == 1 else d_logits.mul_(scale)
