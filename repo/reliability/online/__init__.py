"""Reliabilities while a policy trains, batch by batch (RE-PO Eq. 4 and 7). Tensors in, tensors out."""
