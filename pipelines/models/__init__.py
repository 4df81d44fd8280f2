"""The commands on registered models."""
