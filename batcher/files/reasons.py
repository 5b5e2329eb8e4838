"""The file system's refusals in words."""

import errno
import os

from batcher.errors import MachineRefuses

_WORDS = {
    errno.ENOENT: "it is not there",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "it is a directory",
    errno.ENOTDIR: "something in its path is a symbolic link or no directory",
    errno.ELOOP: "a symbolic link is in the way, or leads in circles",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk reports an input/output error",
    errno.ESTALE: "the network file system lost it",
    errno.ENXIO: "it is not a regular file",
    errno.EEXIST: "something else is in the way",
    errno.ENOTEMPTY: "a directory is in the way",
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files on this machine",
}


def why(error: OSError) -> str:
    """Return why the file system refused, for a person, without the path."""
    code = error.errno or 0
    return _WORDS.get(code) or (os.strerror(code).lower() if code else str(error))


#: What this process or machine has too little of, whatever the file: another moment, and it can be read.
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def raise_if_short(error: OSError) -> None:
    """Raise MachineRefuses when it is this machine that has too little of something, and not the file's own fault."""
    if error.errno in _SHORT_OF:
        raise MachineRefuses(f"this machine is short of what it takes to read files: {why(error)}") from error
