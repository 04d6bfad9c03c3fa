"""One file for each job; see benchmarks/job.py for what a job is."""
