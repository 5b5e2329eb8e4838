"""Start the command."""

import os
import signal
import sys
from contextlib import suppress

_INTERRUPTED = (130, 143)


def main() -> int:
    """Run the command with the process's arguments and return its exit code."""
    arguments = sys.argv[1:]
    os.umask(0o077)  # recordings and transcripts are private, and so is everything that is made of them
    if arguments == ["--version"]:  # answered before anything is imported
        from batcher import __version__  # noqa: PLC0415

        sys.stdout.write(f"batcher {__version__}\n")
        return 0
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a verb has something to wind up, Ctrl-C just ends it
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when grpc is imported: its core writes on stderr by itself
    from batcher.cli.app import main as command  # noqa: PLC0415

    code = command(arguments)
    if code in _INTERRUPTED:
        _end(code)
    return code


def _end(code: int) -> None:
    """End the process now: after an interruption no idle thread may hold it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
