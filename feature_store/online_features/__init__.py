"""Features of a shop as of this moment, in an online store."""
