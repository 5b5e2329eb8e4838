"""What a user would write instead of batcher. Each is a program of its own, run by the Python that has its library."""
