"""The documentation says what the code does."""

import re
from pathlib import Path

from batcher.cli.app import VERBS
from batcher.cli.settings import read_settings
from batcher.errors import AccountRefused, BatchHeld, MachineRefuses, UsageError
from batcher.states import diagram

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_state_diagram_is_the_one_the_code_gives() -> None:
    """The README's diagram is generated, never drawn by hand."""
    assert diagram() in README


def test_every_verb_is_in_the_readme() -> None:
    """A verb that nobody can find does not exist."""
    missing = [verb for verb in VERBS if f"batcher {verb}" not in README]
    assert missing == []


def test_every_exit_code_is_in_the_readme() -> None:
    """The table of exit codes lists the code of every sorted error."""
    codes = {error.exit_code for error in (UsageError, AccountRefused, BatchHeld, MachineRefuses)} | {0, 1, 3}
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")}
    assert codes <= listed


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Relative links point to files that exist."""
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_configuration_in_the_readme_works(tmp_path: Path) -> None:
    """A person copies it as it is."""
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "batcher.toml"
    file.write_text(block, "utf-8")
    plan = read_settings(file, {}).plan()
    assert plan.options.translation.target_language == "en"
    assert plan.options.context.terms
