"""The language model: loading, batches, log-probabilities, losses, the training loop, checkpoints.

Shapes: C comparisons and N annotations in the data, c and n of them at hand (a batch, a part of one, or all); A
annotators; B = 2c sequences in the forward batch, T tokens in the longest, R tokens in the longest response; V
vocabulary.
"""
