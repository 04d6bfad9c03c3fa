"""The features that services have answered with, and whether they were those known then."""
