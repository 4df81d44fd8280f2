"""Is the candidate better: scoring on held-out comparisons, and the gate.

Shapes: C held-out comparisons, N annotations on them, J judgements of one target (annotations, or comparisons whose
better response is known), U units held out (prompts or comparisons).
"""
