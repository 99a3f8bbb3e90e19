"""What only a real GPU can show; each test is skipped, with the reason, where there is none."""
