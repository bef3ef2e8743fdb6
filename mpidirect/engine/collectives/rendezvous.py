"""How engines come together for a collective, and how one can leave without leaving the others stuck.

1. Every engine makes an *offer*: what it has, or why it can't take part.  The offers go around by small
   notes: in log2(n) rounds each engine passes on what it knows, and then all know all.  Whoever is busy is
   waited for here; and what is wrong is seen by all, so all raise.
2. The engines use the communicator that they have in common.  If they have none, they make one, by a call
   that blocks and can't be interrupted.  Before it they pass notes around once more, with interrupts held
   back: who gets through that knows that all others are past the first round and none will leave.  And
   after it once more, because the call ends on some engines while others still need their help.
3. The data moves by non-blocking operations, all waits are tests.

An engine that leaves before its part is done, because it was interrupted or ran out of memory, tells the
others, who look out for that while they wait.  The communicator of a call that was left is given up.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from mpi4py import MPI

from ...errors import CollectiveError, format_ids
from ...protocol.collective import Collective
from .. import interrupts
from ..mpi.channel import LEFT, CollectiveId
from ..mpi.groups import Groups
from ..mpi.watched_communicator import mpi_state
from .arrays import Operation
from .staging import StagedTransfer

COMMIT, MADE = 1000, 2000  # the first steps of the second and the third round of notes
COMMIT_PATIENCE = 10.0  # seconds in which nobody can have left these but by dying
ARRIVALS = 0.5e-3  # seconds of testing without a pause: for engines to arrive,
TRANSFERS = 5.0  # and for data that is moving, since MPI moves it only while it is called
LONGEST_PAUSE = 1e-3
TESTS = 16  # whether data has moved, between two looks for those who leave
AGAIN = "Collectives work again as soon as no engine runs a task."


class Proposal(msgspec.Struct, array_like=True, gc=False):
    """What an engine brings to a collective.

    Attributes
    ----------
    error : str
        Why it can't take part; empty if it can.
    serial : int
        Of the communicator that it has for the group: see `Groups`.
    form : str
        What its value looks like, for people.
    must_match : str
        What has to be the same on all engines that don't leave it empty.
    kind, dtype, shape : str, str, list of int
        Of an array that moves by buffer.
    sizes : list of int
        Of the frames of a pickle, or the length of a sequence.
    in_place : bool
        Whether the result can replace the value in its memory.
    """

    error: str = ""
    serial: int = 0
    form: str = ""
    must_match: str = ""
    kind: str = ""
    dtype: str = ""
    shape: list[int] = []
    sizes: list[int] = []
    in_place: bool = False


_encode = msgspec.msgpack.Encoder().encode
_offer = msgspec.msgpack.Decoder(Proposal).decode
_known = msgspec.msgpack.Decoder(list[tuple[bytes, list[int]]]).decode


class Rendezvous:
    """One engine's part in one collective call; positions are ranks in the group.

    Parameters
    ----------
    groups : Groups
        The communicators of this engine.
    ask : Collective
        The call.
    namespace : dict
        Where its names live.
    """

    def __init__(self, groups: Groups, ask: Collective, namespace: dict[str, Any]) -> None:
        self.ask = ask
        self.namespace = namespace
        self.engine = groups.engine
        self.size = len(ask.group)
        self.position = ask.group.index(groups.engine)
        self.comm: MPI.Intracomm  # once all have agreed
        self._groups = groups
        self._channel = groups.channel
        self._call = CollectiveId(ask.client, ask.number)
        self._group = tuple(ask.group)
        self._requests: list[MPI.Request] = []
        self._staged: list[StagedTransfer] = []
        self._buffers: list[Any] = []
        self._told = False  # whether the others know that this engine leaves
        self._clean = False  # whether nothing of this call can be pending, here or on its way to here

    @property
    def root(self) -> int:
        """The position of the root."""
        return self._group.index(self.ask.root)

    @property
    def title(self) -> str:
        """The call, for errors."""
        name = repr(self.ask.name) if self.ask.name else ""
        return f"{self.ask.kind}({name})"

    def value(self) -> Any:
        """The value that the call is about."""
        if self.ask.name not in self.namespace:
            raise NameError(f"name {self.ask.name!r} is not defined")
        return self.namespace[self.ask.name]

    def assign(self, value: Any) -> None:
        """Set the result."""
        self.namespace[self.ask.out] = value

    # -- coming together ----------------------------------------------------------------------------

    def agree(self, describe: Callable[[], Proposal], moves_data: bool = True) -> list[Proposal]:
        """Wait for all engines, learn their offers, and get ready to move data.

        Raises
        ------
        CollectiveError
            On all engines, when one can't take part or the offers don't match.
        """
        self._groups.free_buffers()
        error = None
        try:
            with interrupts.admitted():
                offer = describe()
        except Exception as e:
            error = e
            offer = Proposal(error=f"{type(e).__name__}: {e}"[:500])
        offer.serial = self._groups.serial(self._group)
        offers = self._go_around(0, offer)
        self._heed_leavers()
        if error is not None:
            self._told = self._clean = True  # all others have seen it, and raise too
            raise error
        self._check(offers)
        if moves_data:
            self._get_communicator(offers)
        return offers

    def _go_around(self, first: int, mine: Proposal, interruptible: bool = True) -> list[Proposal]:
        """Everyone's offer: each round tells an engine twice as far away all that is known so far."""
        known = {_encode(mine): {self.position}}
        step, distance = first, 1
        while distance < self.size:
            content = _encode([(offer, sorted(who)) for offer, who in known.items()])
            self._send((self.position + distance) % self.size, step, content)
            teller = (self.position - distance) % self.size
            for offer, whose in _known(self._receive(teller, step, interruptible)):
                known.setdefault(offer, set()).update(whose)
            step, distance = step + 1, distance * 2
        self.wait(lambda: self._channel.sent(self._call), interruptible=interruptible)
        offers = [mine] * self.size
        for encoded, who in known.items():
            decoded = _offer(encoded)
            for position in who:
                offers[position] = decoded
        return offers

    def _send(self, position: int, step: int, content: bytes) -> None:
        self._channel.send(self._group[position], self._call, step, content)

    def _receive(self, position: int, step: int, interruptible: bool) -> bytes:
        found: list[bytes] = []

        def came() -> bool:
            content = self._channel.take(self._call, step, self._group[position])
            if content is not None:
                found.append(content)
            return bool(found)

        self.wait(came, interruptible=interruptible)
        return found[0]

    def _get_communicator(self, offers: list[Proposal]) -> None:
        serials = {offer.serial for offer in offers}
        if len(serials) == 1 and min(serials) > 0:
            self.comm = self._groups.get(self._group)
            return
        self._go_around(COMMIT, Proposal(), interruptible=False)
        self.comm = self._groups.make(self._group, serials)
        self._go_around(MADE, Proposal(), interruptible=False)

    # -- what can be wrong -----------------------------------------------------------------------------

    def _check(self, offers: list[Proposal]) -> None:
        failed: dict[str, list[int]] = {}
        for engine, offer in zip(self._group, offers, strict=True):
            if offer.error:
                failed.setdefault(offer.error, []).append(engine)
        if failed:
            self.refuse(", ".join(f"{_engines(who)} can't take part: {why}" for why, who in failed.items()))
        forms = Counter(offer.must_match for offer in offers if offer.must_match)
        if len(forms) < 2:
            return
        (usual, most), (_, next_most) = forms.most_common(2)
        odd, rest = [], ""
        for form in forms:
            who = [e for e, offer in zip(self._group, offers, strict=True) if offer.must_match == form]
            example = next(offer.form for offer in offers if offer.must_match == form)
            if form == usual and most > next_most:
                rest = f", the others as {example}"
            else:
                odd.append(
                    f"{_engines(who)} {'has' if len(who) == 1 else 'have'} {self.ask.name} as {example}"
                )
        self.refuse(f"{', '.join(odd)}{rest}: they must match")

    def refuse(self, why: str) -> None:
        """Raise what all engines have found alike, before any data has moved."""
        self._told = self._clean = True
        raise CollectiveError(f"{self.title}: {why}")

    # -- waiting -----------------------------------------------------------------------------------------

    def begin(self, operations: Sequence[Operation], *buffers: Any) -> None:
        """These operations are under way.

        They are kept until they are done, and so are the buffers that they use: a request of mpi4py keeps the
        memory of point to point messages alive, but not that of all collectives.
        """
        for operation in operations:
            if isinstance(operation, StagedTransfer):
                self._staged.append(operation)
            else:
                self._requests.append(operation)
        self._buffers.extend(buffers)

    def complete(self, operations: Sequence[Operation], *buffers: Any) -> None:
        """Wait until these operations, and those that were begun before, are done."""
        self.begin(operations, *buffers)
        self.wait(self._moved, TRANSFERS)
        self._requests, self._staged, self._buffers = [], [], []

    def _moved(self) -> bool:
        """Whether the data has moved; MPI moves it only while it is called, so it is called often."""
        for _ in range(TESTS):
            if self._staged:
                self._staged = [staged for staged in self._staged if not staged.done()]
            if MPI.Request.Testall(self._requests) and not self._staged:
                return True
            os.sched_yield()
        return False

    def wait(
        self, done: Callable[[], Any], without_pause: float = ARRIVALS, interruptible: bool = True
    ) -> None:
        """Test until `done` holds; interrupts come in between, and so does the news that an engine left."""
        began = time.monotonic()
        while not done():
            self._heed_leavers()
            waited = time.monotonic() - began
            if interruptible or waited > COMMIT_PATIENCE:
                interrupts.admit()
            if waited < without_pause:
                os.sched_yield()
            else:
                time.sleep(min(LONGEST_PAUSE, (waited - without_pause) / 50))

    def _heed_leavers(self) -> None:
        if mpi_state.death_reason:
            self._told = True  # all others learn it from the controller
            raise CollectiveError(f"{self.title} was not completed: {mpi_state.death_reason}. {AGAIN}")
        leavers = self._channel.leavers(self._call)
        if leavers:
            self._told = True
            who = ", ".join(f"engine {engine} left it ({why})" for engine, why in leavers.items())
            raise CollectiveError(f"{self.title} was not completed: {who}")

    # -- the end ---------------------------------------------------------------------------------------------

    def finished(self) -> None:
        """This engine's part is done: what fails from now on is its own affair."""
        self._told = self._clean = True

    def leave(self, error: BaseException) -> None:
        """Give up: tell the others, unless they know, and never use this communicator again.

        Even where nothing was begun here: another engine may have begun to send.
        """
        if not self._told:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")[:500].encode("utf-8", "replace")
            for position in range(self.size):
                if position != self.position:
                    with contextlib.suppress(MPI.Exception):  # it may be dead
                        self._send(position, LEFT, reason)
        if self._clean:
            return
        requests, buffers = self._requests, self._buffers
        for staged in self._staged:
            pending, memory = staged.pending()
            requests, buffers = [*requests, *pending], [*buffers, *memory]
        self._groups.abandon(self._group, requests, buffers)
        there: Any = self.namespace.get(self.ask.out)
        if any(there is buffer for buffer in self._buffers if buffer is not None):
            self.assign(copy.deepcopy(there))  # what MPI may still write to can't stay in use

    def close(self) -> None:
        """Forget what the others said."""
        self._channel.end(self._call)


def _engines(who: list[int]) -> str:
    return f"engine {who[0]}" if len(who) == 1 else f"engines {format_ids(who)}"
