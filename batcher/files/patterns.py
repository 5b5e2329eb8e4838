r"""Include and exclude patterns: the globs of a gitignore file, matched on the path below the input.

- ``*``, ``?`` and ``[abc]``, ``[!abc]``, ``[a-z]`` mean what they mean to a shell and never cross a ``/``;
  ``**`` crosses; ``\`` takes the next character as it is.
- A pattern without ``/`` (but at its end) matches a name at any depth; any other starts at the input.
- A pattern that matches a directory matches everything below it; one that ends in ``/`` only directories.
- Upper and lower case differ. There is no negation.
"""

import re
from collections.abc import Iterable

from batcher.errors import UsageError

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]/]*\]|\\.|.", re.DOTALL)
_WILD = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def compile_patterns(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """Return one expression that fully matches what any of `patterns` matches; None when there are none.

    A directory is asked about with a ``/`` at the end of its path. Raises UsageError for a pattern that
    can match nothing.
    """
    sources = [_source(pattern) for pattern in patterns]
    return re.compile("|".join(sources), re.DOTALL) if sources else None


def _source(pattern: str) -> str:
    body = pattern.rstrip("/")
    if not body or "\0" in body:
        raise UsageError(f"the pattern {pattern!r} matches nothing", hint="Write something like '*.wav' or 'old/**'.")
    anywhere = "" if "/" in body else "(?:.*/)?"
    below = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    tokens = _TOKEN.findall(body.removeprefix("/"))
    try:
        return re.compile(anywhere + "".join(map(_translate, tokens)) + below).pattern
    except re.error as error:
        raise UsageError(f"the pattern {pattern!r} cannot be read: {error}") from error


def _translate(token: str) -> str:
    if token in _WILD:
        return _WILD[token]
    if token[0] == "[" and len(token) > 1:
        return _character_class(token[1:-1])
    return re.escape(token[1:] if token[0] == "\\" and len(token) > 1 else token)


def _character_class(inside: str) -> str:
    negated = inside.startswith(("!", "^"))
    if not inside[negated:]:
        return re.escape(f"[{inside}]")
    characters = "".join(c if c == "-" else re.escape(c) for c in inside[negated:]).replace("--", "-\\-")
    return f"(?!/)[{'^' if negated else ''}{characters}]"
