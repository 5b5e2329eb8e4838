"""Whole nights in virtual time: the real engine and table, the emulator's core, everything from one seed."""
