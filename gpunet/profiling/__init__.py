"""Measure a training step, and prepare for one."""

__all__: list[str] = []
