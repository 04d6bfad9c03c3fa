"""The relevance scorer: a BERT cross-encoder learned from graded judgments."""
