"""Exclude `library_*.py` from collection: only a worker with the library imports them."""

collect_ignore_glob = ["library_*.py"]
