"""Turn directories of recordings into transcripts overnight."""

__version__ = "0.1.0"
