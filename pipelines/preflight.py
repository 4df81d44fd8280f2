"""Mistakes that can be told before a store is made or a step is started."""

from repo.annotations.reading.sources import expand_sources
from repo.annotations.simulation import is_simulated
from repo.settings import Settings


def check(data: str, settings: Settings) -> None:
    """Check that the data, the policy, the loss and an earlier reliability state exist.

    Raises:
        UserError: one of them does not, or a pseudonym key is missing.
    """
    if not is_simulated(data):
        expand_sources(data)
    # The cheap checks come first: what follows imports pandas and torch.
    if settings.data.pseudonymise:
        from repo.annotations.reading.pseudonyms import pseudonym_key

        pseudonym_key()
    earlier = settings.reliability.prior_state
    if earlier and not earlier.startswith("models:/"):
        from repo.reliability.state import load_state

        load_state(earlier)
    from repo.policy.loading import check_base
    from repo.policy.losses import make_loss

    make_loss(settings.train.loss, settings.train.loss_options)
    check_base(settings.policy.base, settings.policy.max_length)
