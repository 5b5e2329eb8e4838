"""A local imitation of the transcription service: one core, several faces.

`core` is a pure state machine with an injected clock. The gRPC face serves it on loopback, and
`batcher.service.simulated` runs a batch on it in-process and in virtual time.
"""
