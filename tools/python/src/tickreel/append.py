"""Storing rows without the sending: which requests are open, accepted, durable, refused."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from ._proto import tickreel_pb2 as pb
from .errors import ProtocolError, TickreelError, refusal_of

OPEN_MAX = 512
"""Requests that may be unanswered before answers are read."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The rows of request `number` are in their stream; durable once a watermark reaches `seq`."""

    number: int
    seq: int
    rows: int


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """None of the rows of request `number` was taken; the session goes on."""

    number: int
    error: TickreelError


@dataclass(frozen=True, slots=True)
class Durable:
    """Every accepted request up to `number` is durable; `seq` is the watermark of the store."""

    number: int
    seq: int


Appended: TypeAlias = Accepted | NotAccepted | Durable
"""What became of rows."""


def appended_from(answer: pb.AppendResponse) -> Appended:
    """Reads an answer."""
    match answer.WhichOneof("event"):
        case "accepted":
            accepted = answer.accepted
            return Accepted(accepted.id, accepted.seq, accepted.rows)
        case "refused":
            refused = answer.refused
            return NotAccepted(refused.id, refusal_of(refused.code, refused.kind, refused.text))
        case "durable":
            return Durable(answer.durable.id, answer.durable.seq)
    raise ProtocolError("an answer that this client does not know")


class Writing:
    """What is known of the requests of one session."""

    def __init__(self) -> None:
        self._sent = 0
        self._answered = 0
        self._accepted = 0
        self._durable = 0
        self._seq = 0
        self._kept: deque[Appended] = deque()

    @property
    def next_number(self) -> int:
        """The number of the next request; they count from 1."""
        return self._sent + 1

    def sent(self) -> None:
        """The next request was made and is on its way: only now is an answer waited for."""
        self._sent += 1

    @property
    def is_full(self) -> bool:
        """Whether answers must be read before more is sent."""
        return self._sent - self._answered > OPEN_MAX

    @property
    def is_durable(self) -> bool:
        """Whether every request is either refused or durable."""
        return self._answered == self._sent and self._durable >= self._accepted

    def note(self, answer: Appended) -> None:
        """Counts an answer."""
        match answer:
            case Durable(number, seq):
                self._durable, self._seq = number, seq
            case Accepted(number):
                self._answered = self._accepted = number
            case NotAccepted(number):
                self._answered = number

    def keep(self, answer: Appended) -> None:
        """Counts an answer, and keeps it for whoever asks."""
        self.note(answer)
        self._kept.append(answer)

    def take(self) -> Appended | None:
        """The oldest answer that was kept."""
        return self._kept.popleft() if self._kept else None

    def watermark(self) -> int:
        """The watermark of the store; what was kept is done with.

        Raises:
            TickreelError: the first refusal among what was kept.

        """
        kept, self._kept = self._kept, deque()
        for answer in kept:
            if isinstance(answer, NotAccepted):
                raise answer.error
        return self._seq
