"""What is said about comparisons beside the votes: margins, gold, and which response is meant."""
