"""The container images steps run in: one without torch, one with. Locally, steps run in the current environment."""

import os

BASE = os.environ.get("REPO_BASE_IMAGE", "repo-pipeline-python:0.1.0")
"""Validation, reporting, gate, registry."""

TRAIN = os.environ.get("REPO_TRAIN_IMAGE", "repo-pipeline-python-train:0.1.0")
"""Training and evaluation."""
