"""Real kills and real power cuts: the real command against the real emulator, over real sockets, on real disks."""
