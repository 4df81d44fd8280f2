"""Is the candidate better: scoring on held-out comparisons, and the gate."""
