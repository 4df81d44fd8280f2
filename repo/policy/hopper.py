"""Liger's head for NVIDIA's Hopper cards: log-probabilities of tokens from one kernel, without logits in memory.

It gives one number a token, so any loss stands on it. Elsewhere Liger computes in chunks, as `repo.policy.head` does
itself; so only that card has it take over. (Liger-Kernel, Hsu et al. 2024, arXiv 2410.10989.)
"""

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

HOPPER = (9, 0)
"""Compute capability of the cards that the kernel is for."""

TOLERANCE = 0.02
"""Largest relative difference from the same products in float32: it computes in bfloat16, whose step is 2⁻⁸."""


def liger_token_logps(hidden: Tensor, weight: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Return log softmax(scale · W h)[target] of each hidden state, float32, shape [R], with gradients to both.

    Args:
        hidden: shape [R, D], at least one row.
        weight: W, shape [V, D], of the same type; on a Hopper card bfloat16.
        targets: token ids, shape [R].
        scale: factor of the logits, above 0.
    """
    from liger_kernel.ops import LigerFusedLinearScaledCrossEntropyFunction

    negative: Tensor = LigerFusedLinearScaledCrossEntropyFunction.apply(hidden, weight, targets, 1 / scale)
    return -negative


def is_hopper(device: torch.device) -> bool:
    """Return whether a device is such a card."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) == HOPPER


@lru_cache
def unusable(device: torch.device) -> str:
    """Return why the kernel cannot be used on a device; "" where it can, which is tried out."""
    if not is_hopper(device):
        return "not a Hopper card"
    if find_spec("liger_kernel") is None:
        return "liger-kernel is not installed"
    try:
        off = difference(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # what a kernel lacks to be compiled it may say in any way
        return f"{type(error).__name__}: {error}"
    return "" if off <= TOLERANCE else f"its results are {off:.2g} off"


def difference(device: torch.device) -> float:
    """Return the largest relative difference of the kernel's results and gradients from those in float32.

    It may be called where scoring needs no gradients, and under autocast.
    """
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        pairs = _both_ways(device)
    with torch.no_grad():
        return max(float((one.float() - other).norm() / other.norm()) for one, other in pairs)


def _both_ways(device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return (the kernel's, float32's) log-probabilities of an example, and the same of the gradients."""
    random = torch.Generator().manual_seed(0)
    tokens, width, vocabulary, scale = 200, 256, 1000, 0.5
    values = torch.randn(tokens, width, generator=random), torch.randn(vocabulary, width, generator=random)
    targets = torch.randint(vocabulary, (tokens,), generator=random).to(device)
    upstream = torch.randn(tokens, generator=random).to(device)
    leaves = [(x / width**0.25).to(device, torch.bfloat16).requires_grad_() for x in values]
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    found = liger_token_logps(leaves[0], leaves[1], targets, scale)
    expected = torch.log_softmax(scale * exact[0] @ exact[1].T, dim=-1).gather(-1, targets[:, None])[:, 0]
    found.backward(upstream)
    expected.backward(upstream)
    return [(found, expected), *((_grad(one), _grad(other)) for one, other in zip(leaves, exact, strict=True))]


def _grad(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None, "both are differentiable"
    return leaf.grad
