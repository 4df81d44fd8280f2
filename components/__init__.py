"""Kubeflow components, one a file, each a thin step over the library."""
