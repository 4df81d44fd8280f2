"""RE-PO: align a language model on noisy preferences and learn which annotators can be believed."""
