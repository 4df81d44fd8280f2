"""The command `repo-pipeline doctor`: what a run needs, looked at before anything costs."""
