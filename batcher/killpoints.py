"""Named places where a test may end the process, to prove that no line of it is special.

In production `reach` does nothing. With ``BATCHER_KILL=name:n`` in the environment the process kills itself
with SIGKILL when it reaches `name` for the n-th time; a simulation installs its own hook.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from threading import Lock


def _nothing(_name: str) -> None:
    """Go on."""


hook: Callable[[str], None] = _nothing


def reach(name: str) -> None:
    """Say that the process is at the place called `name`."""
    hook(name)


def kill_at(name: str, count: int) -> Callable[[str], None]:
    """Return a hook that kills this process when `name` is reached for the `count`-th time."""
    seen: Counter[str] = Counter()
    counting = Lock()  # files are written in several threads

    def kill(reached: str) -> None:
        with counting:
            seen[reached] += 1
            if reached == name and seen[name] == count:
                os.kill(os.getpid(), signal.SIGKILL)

    return kill


def install_from_environment() -> None:
    """Install the hook that ``BATCHER_KILL=name:n`` asks for, if it is set."""
    global hook  # noqa: PLW0603 - one process, one hook
    wish = os.environ.get("BATCHER_KILL", "")
    if wish:
        name, _, count = wish.partition(":")
        hook = kill_at(name, int(count or 1))
