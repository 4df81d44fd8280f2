"""The graphs, their compiled YAML, and the command line that runs them."""
