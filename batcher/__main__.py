"""Start the command."""

import signal
import sys


def main() -> int:
    """Run the command with the process's arguments and return its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # answered before anything is imported
        from batcher import __version__  # noqa: PLC0415

        sys.stdout.write(f"batcher {__version__}\n")
        return 0
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a verb has something to wind up, Ctrl-C just ends it
    from batcher.cli.app import main as command  # noqa: PLC0415

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
