"""The inbox that batches of annotations are dropped into: what is there, and what of it is new."""
