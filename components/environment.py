"""The environment variables that steps in containers are given, by name: their values are never written down."""

NAMES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_WORKSPACE",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "HF_TOKEN",
    "HF_HUB_OFFLINE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "MLFLOW_S3_ENDPOINT_URL",
    "REPO_PSEUDONYM_KEY",
)
"""MLflow's server, who asks it and how patiently; the hub's token; the keys of the storage and of the pseudonyms."""

SECRET = "repo-pipeline"
"""The Kubernetes Secret that holds them on a cluster, each under its own name; what it lacks is not set."""
