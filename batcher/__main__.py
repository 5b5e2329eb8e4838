"""Start the command."""

import sys


def main() -> int:
    """Run the command with the process's arguments and return its exit code."""
    arguments = sys.argv[1:]
    if arguments == ["--version"]:  # answered before anything is imported
        from batcher import __version__  # noqa: PLC0415

        sys.stdout.write(f"batcher {__version__}\n")
        return 0
    from batcher.cli.app import main as command  # noqa: PLC0415

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
