"""What people said: reading, validating, splitting, simulating. Leans on settings, errors and files only."""
