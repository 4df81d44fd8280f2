"""What people said: reading, validating, splitting and simulating annotations. Leans on nothing of ours."""
