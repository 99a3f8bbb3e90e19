"""Benchmarks: `pytest benchmarks`, and programs that write reports to benchmarks/results/."""
