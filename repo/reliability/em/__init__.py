"""Expectation–maximisation over arrays of votes. No model, no file, no table."""
