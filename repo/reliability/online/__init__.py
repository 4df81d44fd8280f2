"""Reliabilities while a policy trains, batch by batch (RE-PO Eq. 4 and 7). Tensors in, tensors out.

Shapes: N annotations in the training data; c comparisons and n annotations of the batch (or part of it) at hand; A
annotators.
"""
