"""Measured jobs: `make bench NAME=...` runs one, BENCHMARKS.md shows what they found."""
