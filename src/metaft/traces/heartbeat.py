"""Heartbeat: says from a thread of its own that a worker is alive."""

from __future__ import annotations

import logging
import threading

from metaft.errors import StoreError
from metaft.traces.claims import Claim, Claims

_LOGGER = logging.getLogger(__name__)
_BEATS_PER_LEASE = 3  # one that is late, or one that the database refuses, loses no claim


class Heartbeat:
    """Renews the claim that a worker holds, from entering to leaving the context.

    Args:
        claims: Of the store.
        lease_seconds: How long a claim lasts without a beat.
    """

    def __init__(self, claims: Claims, lease_seconds: float) -> None:
        self._claims = claims
        self._lease_seconds = lease_seconds
        self._held: Claim | None = None
        self._missed: Claim | None = None  # That the last beat found to be gone.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def hold(self, claim: Claim | None) -> None:
        """Renew this claim from now on, and no other; None for no claim."""
        self._held = claim

    def _beat(self) -> None:
        while not self._ended.wait(self._lease_seconds / _BEATS_PER_LEASE):
            claim = self._held
            if claim:
                self._renew(claim)

    def _renew(self, claim: Claim) -> None:
        """Renew a claim; a database that refuses may be back by the next beat."""
        try:
            is_ours = self._claims.renew(claim, self._lease_seconds)
        except StoreError:
            _LOGGER.warning("a claim could not be renewed", exc_info=True)
            return
        # A claim that was settled just now is gone, too, and held a moment longer.
        if not is_ours and claim is self._missed and claim is self._held:
            _LOGGER.warning("run %s was claimed by another worker meanwhile", claim.trace_id)
        self._missed = None if is_ours else claim
