"""The container images steps run in: one without torch, one with. Locally, steps run in the current environment."""

BASE = "repo-pipeline-python:0.1.0"
"""Validation, reporting, gate, registry; `repo-pipeline compile --images base=NAME` puts another in its place."""

TRAIN = "repo-pipeline-python-train:0.1.0"
"""Training and evaluation; `repo-pipeline compile --images train=NAME` puts another in its place."""

BY_KIND = {"base": BASE, "train": TRAIN}
"""What --images calls them."""
