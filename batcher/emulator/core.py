"""The imitated service as a pure state machine: accounts by key, a clock, a recognizer, and no I/O of its own."""

import hashlib
import itertools
from collections import Counter

from batcher.clock import Clock, Dice
from batcher.emulator.account import Account, Observer
from batcher.emulator.knobs import Knobs
from batcher.emulator.objects import Recognizer, Refusal
from batcher.emulator.rest_account import RestAccount, RestObserver
from batcher.emulator.rest_refusals import unauthenticated

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
        self._rest: dict[str, RestAccount] = {}
        self._rest_observers: list[RestObserver] = []

    def enter(self, key: str) -> Account:
        """Return the account of `key` for a client. Raises Refusal when the key is empty or revoked."""
        if not key:
            raise Refusal("UNAUTHENTICATED", "The API key is missing.")
        account = self.account(key)
        if account.revoked or not self._is_good(key):
            raise Refusal("UNAUTHENTICATED", "The API key is not valid.")
        return account

    def account(self, key: str) -> Account:
        """Return the account of `key`, a new one at the first call, without asking whether the key is good."""
        if key not in self._accounts:
            self._accounts[key] = Account(
                _name(key),
                self.knobs,
                clock=self.clock,
                recognizer=self.recognizer,
                serials=self._serials,
                dice=self._dice,
                observers=self._observers,
            )
        return self._accounts[key]

    def enter_rest(self, key: str) -> RestAccount:
        """Return the REST objects of `key` for a client. Raises Refusal when the key is empty or not good here."""
        if not key or not self._is_good(key) or self.rest(key).revoked:
            raise unauthenticated()
        return self.rest(key)

    def rest(self, key: str) -> RestAccount:
        """Return the REST objects of `key`, without asking whether the key is good.

        They and the files of the legacy API are separate lists, as they are at the service.
        """
        if key not in self._rest:
            self._rest[key] = RestAccount(
                _name(key),
                self.knobs,
                clock=self.clock,
                recognizer=self.recognizer,
                dice=self._dice,
                elsewhere=key in self.knobs.rest.other_region_keys,
                unpermitted=key in self.knobs.rest.unpermitted_keys,
                observers=self._rest_observers,
            )
        return self._rest[key]

    def _is_good(self, key: str) -> bool:
        return self.knobs.keys is None or key in self.knobs.keys

    def watch_rest(self, observer: RestObserver) -> None:
        """Let `observer` hear of every change of every file and transcription of the REST API."""
        self._rest_observers.append(observer)

    def advance_rest(self) -> None:
        """Bring all REST objects up to the present: nobody else does while no client asks."""
        for account in self._rest.values():
            account.advance()

    def watch(self, observer: Observer) -> None:
        """Let `observer` hear of every change of every file at the instant it happens: the place for an oracle."""
        self._observers.append(observer)

    def close(self) -> None:
        """Drop the recordings that are still kept for a recognizer."""
        for account in self._accounts.values():
            account.close()
        for rest in self._rest.values():
            rest.close()

    def report(self) -> dict[str, object]:
        """Return what happened, ready for JSON. Keys are shown as a short hash only."""
        return {
            "accounts": [_account_report(account) for account in self._accounts.values()],
            "rest_accounts": [_rest_report(account) for account in self._rest.values()],
        }


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


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


def _rest_report(account: RestAccount) -> dict[str, object]:
    tally, limits, files, jobs = account.tally, account.limits, account.files, account.jobs
    return {
        "account": account.name,
        "limits": {
            "pending": limits.pending,
            "transcriptions": limits.stored,
            "files": limits.files,
            "bytes": limits.bytes,
        },
        "pending_peak": tally.pending_peak,
        "transcriptions_peak": tally.stored_peak,
        "files_peak": tally.files_peak,
        "bytes_peak": tally.bytes_peak,
        "requests": dict(tally.requests),
        "requests_by_bucket": dict(account.requests),
        "calls": dict(tally.calls),
        "refusals": dict(tally.refusals),
        "quota_refusals": tally.quota_refusals,
        "refusals_by_reason": dict(tally.reasons),
        "injected_faults": dict(tally.injected),
        "uploads_accepted": tally.uploads.total(),
        "transcriptions_accepted": tally.accepted.total(),
        "references_accepted": len(tally.accepted),
        "references_submitted_twice": tally.submitted_twice,
        "webhooks": dict(tally.webhooks),
        "files_left": len(files),
        "transcriptions_left": len(jobs),
        "transcriptions_left_by_status": dict(Counter(job.status.value for job in jobs)),
        "foreign_left": sum(item.foreign for item in (*files, *jobs)),
    }
