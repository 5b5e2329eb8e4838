"""The imitated service as a pure state machine: accounts by key, a clock, a recognizer, and no I/O of its own."""

import hashlib
import itertools
from collections import Counter

from batcher.clock import Clock, Dice
from batcher.emulator.account import Account, Observer
from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Recognizer, Refusal

_FIRST_ID = 3457  #: file ids are short decimal numbers, as in the documentation's sample


class Core:
    """Everything the emulator knows."""

    def __init__(
        self,
        clock: Clock,
        recognizer: Recognizer,
        knobs: Knobs | None = None,
        *,
        dice: Dice | None = None,
    ) -> None:
        self.knobs = knobs or Knobs()
        self.clock = clock
        self.recognizer = recognizer
        self._observers: list[Observer] = []
        self._dice = dice or Dice(0)
        self._serials = itertools.count(_FIRST_ID)
        self._accounts: dict[str, Account] = {}

    def enter(self, key: str) -> Account:
        """Return the account of `key` for a client. Raises Refusal when the key is empty or revoked."""
        if not key:
            raise Refusal("UNAUTHENTICATED", "The API key is missing.")
        account = self.account(key)
        if account.revoked:
            raise Refusal("UNAUTHENTICATED", "The API key is not valid.")
        return account

    def account(self, key: str) -> Account:
        """Return the account of `key`, a new one at the first call, without asking whether the key is good."""
        if key not in self._accounts:
            name = hashlib.sha256(key.encode()).hexdigest()[:8]
            self._accounts[key] = Account(
                name,
                self.knobs,
                clock=self.clock,
                recognizer=self.recognizer,
                serials=self._serials,
                dice=self._dice,
                observers=self._observers,
            )
        return self._accounts[key]

    def watch(self, observer: Observer) -> None:
        """Let `observer` hear of every change of every file at the instant it happens: the place for an oracle."""
        self._observers.append(observer)

    def close(self) -> None:
        """Drop the recordings that are still kept for a recognizer."""
        for account in self._accounts.values():
            account.close()

    def report(self) -> dict[str, object]:
        """Return what happened, ready for JSON. Keys are shown as a short hash only."""
        return {"accounts": [_account_report(account) for account in self._accounts.values()]}


def _account_report(account: Account) -> dict[str, object]:
    tally, files = account.tally, account.files
    return {
        "account": account.name,
        "limits": {"pending": account.limits.pending, "stored": account.limits.stored},
        "pending_peak": tally.pending_peak,
        "stored_peak": tally.stored_peak,
        "calls": dict(tally.calls),
        "refusals": dict(tally.refusals),
        "quota_refusals": tally.quota_refusals,
        "injected_faults": dict(tally.injected),
        "uploads_accepted": tally.accepted.total(),
        "references_submitted_twice": tally.submitted_twice,
        "files_left": len(files),
        "files_left_by_status": dict(Counter(file.status.value for file in files)),
        "foreign_files_left": sum(file.foreign for file in files),
    }
