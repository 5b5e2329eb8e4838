"""Write `stubs/` from `speech_service.proto`: ``python -m batcher.service.generate``.

The proto file is compiled under the name of the package that holds the stubs, so that the imports in them
are right as they come, and so that its name in the process-wide descriptor pool clashes with nobody's.
"""

from importlib.resources import files
from pathlib import Path

_HERE = Path(__file__).parent
_PACKAGE = "batcher/service/stubs"


def generate(root: Path) -> None:
    """Write the stubs below `root`, in the directories of their package, which must exist.

    Raises:
        RuntimeError: the compiler refused; it said why on standard error.
    """
    from grpc_tools import protoc  # noqa: PLC0415 - a tool of developers, not there when the package is used

    failed = protoc.main(
        [
            "protoc",
            f"--proto_path={_PACKAGE}={_HERE}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--python_out={root}",
            f"--pyi_out={root}",
            f"--grpc_python_out={root}",
            f"{_PACKAGE}/speech_service.proto",
        ]
    )
    if failed:
        raise RuntimeError("protoc refused speech_service.proto")


def main() -> None:
    """Write the stubs of this very package."""
    generate(_HERE.parent.parent)


if __name__ == "__main__":
    main()
