"""How engines meet for a collective, and how an engine can leave it without blocking the others.

1. Each engine makes a *proposal*: its value, or the reason why it can't take part. Small notes exchange the
   proposals: in log2(n) rounds each engine passes on what it knows. Then all engines know all proposals. In
   this step, engines wait for busy engines. All engines see what is wrong, so all raise the same error.
2. The engines use the communicator that they have in common. If they have none, they make one, by a call that
   blocks and can't be interrupted. Before the call they exchange notes once more, with interrupts held back.
   An engine that completes this exchange knows that all others have completed the first one, and that none
   will leave. After the call they exchange notes again: the call ends on some engines while other engines
   still need them to call MPI.
3. The data moves by non-blocking operations. All waits are tests.

An engine may leave before its part is done, because it was interrupted or ran out of memory. Then it tells
the others, which look for such notes while they wait. The communicator of a call that was left is abandoned.
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

# The first steps of the exchanges before and after a communicator is made.
COMMIT_STEP, MADE_STEP = 1000, 2000
COMMIT_TIMEOUT = 10.0  # Seconds after which interrupts end these exchanges, because an engine must have died.
NOTES_BUSY = 0.5e-3  # Seconds of tests without a pause, while notes are exchanged.
DATA_BUSY = 5.0  # The same while data moves, because MPI moves data only while it is called.
LONGEST_PAUSE = 1e-3  # Seconds.
TESTS_PER_LOOK = 16  # Tests of data between two checks whether an engine has left.
AGAIN = "Collectives work again as soon as no engine runs a task."


class Proposal(msgspec.Struct, array_like=True, gc=False):
    """The value that an engine has for a collective.

    Attributes
    ----------
    error : str
        Why the engine can't take part; empty if it can.
    serial : int
        The serial number of its communicator for the group: see `Groups`.
    form : str
        A description of its value, for errors.
    must_match : str
        An entry that must be equal on all engines that have one.
    kind, dtype, shape : str, str, list of int
        The kind, the type and the shape of an array that moves by buffer.
    sizes : list of int
        The sizes in bytes of the frames of a pickle.
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
_decode_proposal = msgspec.msgpack.Decoder(Proposal).decode
_decode_known = msgspec.msgpack.Decoder(list[tuple[bytes, list[int]]]).decode


class Rendezvous:
    """The part of one engine in one collective call. Positions are ranks in the group.

    Parameters
    ----------
    groups : Groups
        The communicators of this engine.
    call : Collective
        The call.
    namespace : dict
        The namespace of user code.

    Attributes
    ----------
    comm : MPI.Intracomm
        The communicator of the group, after `agree`.
    """

    def __init__(self, groups: Groups, call: Collective, namespace: dict[str, Any]) -> None:
        self.call = call
        self.namespace = namespace
        self.engine = groups.engine
        self.size = len(call.group)
        self.position = call.group.index(groups.engine)
        self.comm: MPI.Intracomm
        self._groups = groups
        self._channel = groups.channel
        self._call_id = CollectiveId(call.client, call.number)
        self._group = tuple(call.group)
        self._requests: list[MPI.Request] = []
        self._staged: list[StagedTransfer] = []
        self._buffers: list[Any] = []
        self._others_know = False  # Whether the other engines know that this engine leaves.
        # Whether no data of this call can be pending on this engine, or under way to it.
        self._is_clean = False

    @property
    def root(self) -> int:
        """Position of the root."""
        return self._group.index(self.call.root)

    @property
    def title(self) -> str:
        """The call as text, for errors."""
        name = repr(self.call.name) if self.call.name else ""
        return f"{self.call.kind}({name})"

    def value(self) -> Any:
        """Return the value of the name of the call."""
        if self.call.name not in self.namespace:
            raise NameError(f"name {self.call.name!r} is not defined")
        return self.namespace[self.call.name]

    def assign(self, value: Any) -> None:
        """Set the result's name."""
        self.namespace[self.call.out] = value

    # -- the exchange of proposals -----------------------------------------------------------------------

    def agree(self, describe: Callable[[], Proposal], moves_data: bool = True) -> list[Proposal]:
        """Wait for all engines, exchange proposals, and get a communicator.

        Parameters
        ----------
        describe : callable
            Makes the proposal of this engine.
        moves_data : bool
            Whether a communicator is needed.

        Returns
        -------
        list of Proposal
            By position.

        Raises
        ------
        CollectiveError
            On all engines, if one can't take part or the proposals don't match.
        """
        self._groups.free_buffers()
        error = None
        try:
            with interrupts.admitted():
                proposal = describe()
        except Exception as e:
            error = e
            proposal = Proposal(error=f"{type(e).__name__}: {e}"[:500])
        proposal.serial = self._groups.serial(self._group)
        proposals = self._exchange(0, proposal)
        self._raise_if_left()
        if error is not None:
            self._others_know = self._is_clean = True  # All others have seen the error, and raise it as well.
            raise error
        self._check(proposals)
        if moves_data:
            self._get_communicator(proposals)
        return proposals

    def _exchange(self, first: int, own: Proposal, interruptible: bool = True) -> list[Proposal]:
        """Return all proposals: each round sends everything known to an engine twice as far away."""
        known = {_encode(own): {self.position}}
        step, distance = first, 1
        while distance < self.size:
            content = _encode([(proposal, sorted(positions)) for proposal, positions in known.items()])
            self._send((self.position + distance) % self.size, step, content)
            source = (self.position - distance) % self.size
            for proposal, knowers in _decode_known(self._receive(source, step, interruptible)):
                known.setdefault(proposal, set()).update(knowers)
            step, distance = step + 1, distance * 2
        self.wait(lambda: self._channel.sent(self._call_id), interruptible=interruptible)
        proposals = [own] * self.size
        for encoded, positions in known.items():
            decoded = _decode_proposal(encoded)
            for position in positions:
                proposals[position] = decoded
        return proposals

    def _send(self, position: int, step: int, content: bytes) -> None:
        self._channel.send(self._group[position], self._call_id, step, content)

    def _receive(self, position: int, step: int, interruptible: bool) -> bytes:
        found: list[bytes] = []

        def has_come() -> bool:
            content = self._channel.take(self._call_id, step, self._group[position])
            if content is not None:
                found.append(content)
            return bool(found)

        self.wait(has_come, interruptible=interruptible)
        return found[0]

    def _get_communicator(self, proposals: list[Proposal]) -> None:
        serials = {proposal.serial for proposal in proposals}
        if len(serials) == 1 and min(serials) > 0:
            self.comm = self._groups.get(self._group)
            return
        self._exchange(COMMIT_STEP, Proposal(), interruptible=False)
        self.comm = self._groups.make(self._group, serials)
        self._exchange(MADE_STEP, Proposal(), interruptible=False)

    # -- errors that all engines detect -----------------------------------------------------------------

    def _check(self, proposals: list[Proposal]) -> None:
        failed: dict[str, list[int]] = {}
        for engine, proposal in zip(self._group, proposals, strict=True):
            if proposal.error:
                failed.setdefault(proposal.error, []).append(engine)
        if failed:
            self.refuse(
                ", ".join(f"{_names(engines)} can't take part: {error}" for error, engines in failed.items())
            )
        forms = Counter(proposal.must_match for proposal in proposals if proposal.must_match)
        if len(forms) < 2:
            return
        (usual, most), (_, next_most) = forms.most_common(2)
        odd, rest = [], ""
        for form in forms:
            matching = [k for k, proposal in enumerate(proposals) if proposal.must_match == form]
            example = proposals[matching[0]].form
            if form == usual and most > next_most:
                rest = f", the others as {example}"
            else:
                engines = [self._group[k] for k in matching]
                verb = "has" if len(engines) == 1 else "have"
                odd.append(f"{_names(engines)} {verb} {self.call.name} as {example}")
        self.refuse(f"{', '.join(odd)}{rest}: they must match")

    def refuse(self, reason: str) -> None:
        """Raise an error that all engines have detected, before any data has moved."""
        self._others_know = self._is_clean = True
        raise CollectiveError(f"{self.title}: {reason}")

    # -- waiting -----------------------------------------------------------------------------------------

    def begin(self, operations: Sequence[Operation], *buffers: Any) -> None:
        """Add operations to those under way.

        Operations and buffers are kept until the operations are done. A request of mpi4py keeps the buffers
        of point-to-point messages alive, but not those of all collectives.
        """
        for operation in operations:
            if isinstance(operation, StagedTransfer):
                self._staged.append(operation)
            else:
                self._requests.append(operation)
        self._buffers.extend(buffers)

    def complete(self, operations: Sequence[Operation], *buffers: Any) -> None:
        """Wait until these operations, and all that were begun before, are done."""
        self.begin(operations, *buffers)
        self.wait(self._has_moved, DATA_BUSY)
        self._requests, self._staged, self._buffers = [], [], []

    def _has_moved(self) -> bool:
        """Return whether all data has moved. Call this often: MPI moves data only while it is called."""
        for _ in range(TESTS_PER_LOOK):
            if self._staged:
                self._staged = [staged for staged in self._staged if not staged.done()]
            if MPI.Request.Testall(self._requests) and not self._staged:
                return True
            os.sched_yield()
        return False

    def wait(
        self, test: Callable[[], Any], without_pause: float = NOTES_BUSY, interruptible: bool = True
    ) -> None:
        """Test until `test` returns true; raise an error if an interrupt comes or an engine leaves."""
        began = time.monotonic()
        while not test():
            self._raise_if_left()
            waited = time.monotonic() - began
            if interruptible or waited > COMMIT_TIMEOUT:
                interrupts.admit()
            if waited < without_pause:
                os.sched_yield()
            else:
                time.sleep(min(LONGEST_PAUSE, (waited - without_pause) / 50))

    def _raise_if_left(self) -> None:
        if mpi_state.death_reason:
            self._others_know = True  # The controller tells all engines.
            raise CollectiveError(f"{self.title} was not completed: {mpi_state.death_reason}. {AGAIN}")
        leavers = self._channel.leavers(self._call_id)
        if leavers:
            self._others_know = True
            left = ", ".join(f"engine {engine} left it ({reason})" for engine, reason in leavers.items())
            raise CollectiveError(f"{self.title} was not completed: {left}")

    # -- the end ---------------------------------------------------------------------------------------------

    def finished(self) -> None:
        """Note that this engine's part is complete: a later error concerns no other engine."""
        self._others_know = self._is_clean = True

    def leave(self, error: BaseException) -> None:
        """Leave the call: tell the others, unless they know, and abandon the communicator.

        The communicator is abandoned even if this engine has begun nothing, because another engine may have
        begun to send.
        """
        if not self._others_know:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")[:500].encode("utf-8", "replace")
            for position in range(self.size):
                if position != self.position:
                    with contextlib.suppress(MPI.Exception):  # The other engine may be dead.
                        self._send(position, LEFT, reason)
        if self._is_clean:
            return
        requests, buffers = self._requests, self._buffers
        for staged in self._staged:
            pending, memory = staged.pending()
            requests, buffers = [*requests, *pending], [*buffers, *memory]
        self._groups.abandon(self._group, requests, buffers)
        value: Any = self.namespace.get(self.call.out)
        if any(value is buffer for buffer in self._buffers if buffer is not None):
            self.assign(copy.deepcopy(value))  # MPI may still write to the buffer.

    def close(self) -> None:
        """Forget the notes of the call."""
        self._channel.end(self._call_id)


def _names(engines: list[int]) -> str:
    return f"engine {engines[0]}" if len(engines) == 1 else f"engines {format_ids(engines)}"
