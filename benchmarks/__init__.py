"""Measurements: `pytest benchmarks`, and programs that write to benchmarks/results/."""
