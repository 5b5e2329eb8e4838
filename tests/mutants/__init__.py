"""Broken copies of the guards: a simulation that does not notice one of them proves nothing about it."""
