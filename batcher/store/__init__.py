"""The job table: the only queue, and the only memory of a batch."""
