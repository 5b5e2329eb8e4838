"""Generated from `speech_service.proto` by `python -m batcher.service.generate`. Do not edit."""
