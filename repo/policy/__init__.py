"""The language model: loading, batches, log-probabilities, losses, the training loop, checkpoints."""
