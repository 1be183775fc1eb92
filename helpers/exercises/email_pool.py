"""Checks for notebook 04."""

from collections.abc import Iterator, MutableMapping
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe

STATES = ("new", "sending", "sent")
MOST_STEPS = 20  # writes and sends of one mail; the right answer needs three


@never_raises
def check_fate(answer: Any) -> Verdict:
    """Check fate(step, code): the outcome of one mail, or "again" if it can be sent over a new connection."""
    cases = [
        (("content", 250), "sent"),
        (("content", 451), "failed"),
        (("before", 554), "failed"),
        (("before", 451), "failed"),
        (("content", None), "unknown"),
        (("before", None), "again"),
        (("before", 421), "again"),
        (("content", 421), "failed"),
    ]
    return expect(answer, cases, "only a mail whose content was sent, without a reply, is unknown.")


@never_raises
def check_send_recorded(answer: Any) -> Verdict:
    """Check send_recorded(outbox, mail_id, send): wherever the process dies, no mail is sent twice or forgotten.

    The first run of the answer is complete. Then there is one run that dies before the first step, one that dies before
    the second step, and so on. A step is a write to the outbox or a call of `send`.
    """
    if not callable(answer):
        return Verdict(False, f"a function is wanted, this is {describe(answer)}")
    whole = _Process()
    _, problem = attempt(answer, whole, 7, whole.send)
    if problem is not None:
        return Verdict(False, f"without a crash: {problem}")
    if whole.arrived != [7] or whole.state != "sent":
        what = f"the mail was sent {len(whole.arrived)} times, and its state is {describe(whole.state)}"
        return Verdict(False, f"without a crash, {what}; expected: once, and 'sent'.")
    for step in range(whole.steps + 1):
        process = _Process(dies_before=step)
        _, problem = attempt(answer, process, 7, process.send)
        if problem is not None and not process.dead:
            return Verdict(False, f"{problem}")
        if (why := _judge(process)) is not None:
            return Verdict(False, f"the process dies after {step} of its {whole.steps} steps: {why}")
    return Verdict(True, "a mail that may have been sent is never 'new', and a mail that is 'sent' was sent.")


class _Died(BaseException):
    """Raised at the step before which the process dies, and at every later step."""


class _Process(MutableMapping[Any, Any]):
    """The outbox of a process that dies before a given step, and the server that it sends to."""

    def __init__(self, dies_before: int = MOST_STEPS) -> None:
        self.dies_before, self.steps, self.dead = dies_before, 0, False
        self.states: dict[Any, Any] = {7: "new"}
        self.arrived: list[Any] = []

    @property
    def state(self) -> Any:
        return self.states.get(7)

    def step(self) -> None:
        if self.dead or self.steps >= self.dies_before:
            self.dead = True
            raise _Died("the process has died, or it has taken too many steps")
        self.steps += 1

    def send(self, mail_id: Any) -> None:
        self.step()
        self.arrived.append(mail_id)

    def __setitem__(self, mail_id: Any, state: Any) -> None:
        self.step()
        self.states[mail_id] = state

    def __delitem__(self, mail_id: Any) -> None:
        self.step()
        del self.states[mail_id]

    def __getitem__(self, mail_id: Any) -> Any:
        return self.states[mail_id]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.states)

    def __len__(self) -> int:
        return len(self.states)


def _judge(process: _Process) -> str | None:
    """Return what is wrong with the state that the next process finds, or None."""
    if process.state not in STATES:
        return f"the state is {describe(process.state)}, and must be one of {', '.join(STATES)}."
    if process.arrived and process.state == "new":
        return "the mail was sent, but its state is 'new'. The next process sends it a second time."
    if not process.arrived and process.state == "sent":
        return "the mail was not sent, but its state is 'sent'. Nobody will send it."
    return None
