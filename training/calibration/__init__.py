"""Probabilities: what a cross-encoder's scores mean, fitted on queries that it had not learned from."""
