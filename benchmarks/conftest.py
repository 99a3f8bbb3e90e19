"""What pytest leaves alone here: each `work_*.py` is imported where its library is, by a worker."""

collect_ignore_glob = ["work_*.py"]
