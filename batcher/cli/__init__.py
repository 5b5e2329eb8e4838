"""The command: one module per verb, and what they share."""
