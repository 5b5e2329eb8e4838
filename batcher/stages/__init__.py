"""The stages of a job's life, one module each; they meet only in the job table."""
