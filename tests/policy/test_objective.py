"""RE-PO's M-step for the policy, against the derivations in the paper and against autograd."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.nn.functional import logsigmoid

from repo.policy.losses import CPO, DPO, IPO, LOSSES, PairLogps, PreferenceLoss, SimPO, make_loss
from repo.policy.objective import annotation_losses, both_orientations, label_margin
from repo.reliability.online.equations import posterior

logps = st.floats(-60, -1)


def pair(*values: float, grad: bool = False) -> PairLogps:
    tensors = [torch.tensor([v], dtype=torch.float64) for v in values]
    for tensor in tensors[:2]:
        tensor.requires_grad_(grad)
    return PairLogps(*tensors, *(torch.tensor([n], dtype=torch.float64) for n in (9.0, 14.0)))


def one_label(loss: PreferenceLoss, p: PairLogps, prefers_a: bool, w: float, m_step: str) -> Tensor:
    return annotation_losses(
        both_orientations(loss, p),
        torch.tensor([0]),
        torch.tensor([prefers_a]),
        torch.tensor([w], dtype=torch.float64),
        m_step,  # type: ignore[arg-type]
    )


def margin(loss: PreferenceLoss, p: PairLogps) -> float:
    return both_orientations(loss, p).margin.item()


@given(logps, logps, logps, logps)
def test_induced_margins_are_the_papers(a: float, b: float, ra: float, rb: float) -> None:
    p = pair(a, b, ra, rb)
    h, delta = (a - ra) - (b - rb), a - b
    assert margin(DPO(beta=0.3), p) == pytest.approx(0.3 * h, abs=1e-8)
    assert margin(IPO(beta=0.3), p) == pytest.approx(2 / 0.3 * ((a - ra) / 9 - (b - rb) / 14), abs=1e-6)
    s = torch.tensor(2.0 * (a / 9 - b / 14), dtype=torch.float64)
    softplus = torch.nn.functional.softplus
    assert margin(SimPO(beta=2.0, gamma=1.0), p) == pytest.approx((softplus(1 + s) - softplus(1 - s)).item(), abs=1e-8)
    assert margin(SimPO(beta=2.0, gamma=0.0), p) == pytest.approx(s.item(), abs=1e-8)
    unit = PairLogps(p.first, p.second, p.reference_first, p.reference_second, *torch.ones(2, 1, dtype=torch.float64))
    assert margin(CPO(beta=0.3, nll=0.5), unit) == pytest.approx((0.3 + 0.5) * delta, abs=1e-8)
    assert margin(CPO(beta=0.3, nll=0.5, link="preference"), unit) == pytest.approx(0.3 * delta, abs=1e-8)


@given(logps, logps, logps, logps, st.sampled_from(sorted(LOSSES)))
def test_a_label_turned_round_has_the_opposite_margin(a: float, b: float, ra: float, rb: float, name: str) -> None:
    orientations = both_orientations(make_loss(name, {}), pair(a, b, ra, rb))
    both = label_margin(orientations, torch.tensor([0, 0]), torch.tensor([True, False]))
    assert both[0].item() == -both[1].item()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("prefers_a", [True, False])
def test_a_label_that_is_surely_right_gives_the_plain_loss(name: str, prefers_a: bool) -> None:
    loss, p = make_loss(name, {}), pair(-20.0, -31.0, -22.0, -27.0)
    plain = loss(p if prefers_a else p.swapped())
    torch.testing.assert_close(one_label(loss, p, prefers_a, 1.0, "weighted"), plain)


@pytest.mark.parametrize("loss", [DPO(), SimPO(gamma=0.0)])
@pytest.mark.parametrize("w", [0.0, 0.3, 1.0])
def test_both_m_steps_agree_where_the_loss_is_a_likelihood(loss: PreferenceLoss, w: float) -> None:
    p = pair(-20.0, -31.0, -22.0, -27.0)
    torch.testing.assert_close(one_label(loss, p, True, w, "likelihood"), one_label(loss, p, True, w, "weighted"))


@given(logps, logps, logps, logps, st.floats(0, 1), st.sampled_from(sorted(LOSSES)))
def test_the_m_steps_differ_by_the_log_normaliser(
    a: float, b: float, ra: float, rb: float, w: float, name: str
) -> None:
    loss, p = make_loss(name, {}), pair(a, b, ra, rb)
    gap = one_label(loss, p, True, w, "likelihood") - one_label(loss, p, True, w, "weighted")
    torch.testing.assert_close(gap, torch.logaddexp(-loss(p), -loss(p.swapped())), atol=1e-7, rtol=1e-7)


@given(logps, logps, st.floats(0.05, 0.95), st.sampled_from(sorted(LOSSES)))
def test_fisher_identity(a: float, b: float, eta: float, name: str) -> None:
    """The M-step's gradient is the marginal likelihood's (RE-PO Eq. 3 and 5), −(w − p) with respect to S."""
    loss, reliability = make_loss(name, {}), torch.tensor([eta], dtype=torch.float64)
    p, q = pair(a, b, -22.0, -27.0, grad=True), pair(a, b, -22.0, -27.0, grad=True)
    s = both_orientations(loss, p).margin
    w = posterior(s, reliability)
    one_label(loss, p, True, w.item(), "likelihood").backward()
    likelihood = torch.sigmoid(both_orientations(loss, q).margin)
    (-torch.log(reliability * likelihood + (1 - reliability) * (1 - likelihood))).sum().backward()
    assert p.first.grad is not None
    assert q.first.grad is not None
    torch.testing.assert_close(p.first.grad, q.first.grad, atol=1e-8, rtol=1e-6)


def test_an_annotator_who_guesses_has_no_gradient() -> None:
    p = pair(-20.0, -31.0, -22.0, -27.0, grad=True)
    s = both_orientations(DPO(), p).margin
    w = posterior(s, torch.tensor([0.5], dtype=torch.float64))
    one_label(DPO(), p, True, w.item(), "likelihood").backward()
    assert p.first.grad is not None
    assert abs(p.first.grad.item()) < 1e-12


def test_the_first_dpo_step_is_label_smoothing_with_one_minus_the_initial_reliability() -> None:
    p = pair(-20.0, -31.0, -20.0, -31.0, grad=True)
    s = both_orientations(DPO(beta=0.1), p).margin
    w = posterior(s, torch.tensor([0.9], dtype=torch.float64))
    got = one_label(DPO(beta=0.1), p, True, w.item(), "likelihood")
    torch.testing.assert_close(got, -0.9 * logsigmoid(s) - 0.1 * logsigmoid(-s))


def test_an_anchor_outside_the_link_follows_the_posterior() -> None:
    loss, p = CPO(nll=1.0, link="preference"), pair(-18.0, -28.0, 0.0, 0.0)
    bare = CPO(nll=0.0, link="preference")
    added = one_label(loss, p, True, 0.75, "likelihood") - one_label(bare, p, True, 0.75, "likelihood")
    assert added.item() == pytest.approx(0.75 * 18 / 9 + 0.25 * 28 / 14)


def test_annotations_of_one_comparison_share_its_margin() -> None:
    orientations = both_orientations(DPO(), pair(-20.0, -31.0, -22.0, -27.0))
    comparison, votes = torch.tensor([0, 0, 0]), torch.tensor([True, False, True])
    w = torch.tensor([0.9, 0.2, 0.6], dtype=torch.float64)
    together = annotation_losses(orientations, comparison, votes, w, "likelihood")
    alone = [
        annotation_losses(orientations, comparison[:1], votes[i : i + 1], w[i : i + 1], "likelihood") for i in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone))
