"""The pipelines on a Kubeflow cluster: one run, or a schedule, through kfp's own client."""
