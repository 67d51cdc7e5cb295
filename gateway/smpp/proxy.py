"""A bind as a part of a larger request sees it: what is answered to it does not go to the client as it is.

submit_multi and data_sm are made submit_sm and go the way of every submit_sm (`submit.take`); a subclass says what
becomes of the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from filters.model import Reason
from filters.sms import Alphabet
from gateway.pipeline import Pipeline
from gateway.smpp.parts import Groups
from gateway.smpp.split import Splitter
from gateway.smpp.submit import Bind, Submit, T, Way
from gateway.smpp.upstream import Smsc


class BindProxy:
    """All that a `submit.Bind` has but its answers, from the bind of the client."""

    def __init__(self, bind: Bind) -> None:
        self.bind = bind
        self.pipeline: Pipeline = bind.pipeline
        self.groups: Groups = bind.groups
        self.alphabets: tuple[Alphabet | None, ...] = bind.alphabets
        self.noted: Callable[[bytes, int], None] | None = bind.noted
        self.block_status: int = bind.block_status
        self.splitter: Splitter | None = bind.splitter
        self.now = bind.now
        self.reference = bind.reference
        self.later = bind.later

    @property
    def smsc(self) -> Smsc | None:
        return self.bind.smsc

    @property
    def patient(self) -> bool:
        return self.bind.patient

    @patient.setter
    def patient(self, patient: bool) -> None:
        self.bind.patient = patient

    @property
    def gone(self) -> bool:
        return self.bind.gone

    def way(self, source_addr: bytes) -> Way | None:
        return self.bind.way(source_addr)

    def step(self, action: Callable[[T], None], failed: Callable[[T], None], subject: T) -> None:
        self.bind.step(action, failed, subject)

    def reply(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        self.bind.reply(command, status, sequence, body)

    def occupy(self, requests: int) -> None:
        self.bind.occupy(requests)

    def answer(self, sequence: int, status: int, body: bytes = b"") -> None:
        raise AssertionError("a subclass says what becomes of an answer")

    def respond(self, command: int, status: int, sequence: int, body: bytes = b"") -> None:
        self.answer(sequence, status, body)

    def block(self, submit: Submit, reason: Reason) -> None:
        self.bind.block(submit, reason)


if TYPE_CHECKING:

    def _is_one(proxy: BindProxy) -> Bind:
        return proxy
