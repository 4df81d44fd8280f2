"""MLflow: runs, artifacts handed from step to step, the model registry."""
