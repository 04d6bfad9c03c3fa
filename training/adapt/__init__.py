"""Domain-adaptive pre-training: the backbone learns a shop's language by filling in masked words."""
