"""Whom to believe.

E-step and M-step for the annotators. Margins and ids in, posteriors and reliabilities out; no model, no files.
"""
