"""How tasks have ended, for those that need others: which may begin, and which never will."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ...protocol import messages

MOST = 50_000  # tasks that are remembered, with some hundred bytes each


class RequestOutcome:
    """What has become of the tasks of a request."""

    __slots__ = ("failed", "ok", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.ok: dict[int, int] = {}  # the engine of each task
        self.failed: dict[int, int] = {}

    @property
    def complete(self) -> bool:
        """Whether all have ended."""
        return len(self.ok) + len(self.failed) >= self.total


class RequestOutcomes:
    """Of the requests that are under way, and of the latest ones that have ended."""

    def __init__(self) -> None:
        self._open: dict[str, RequestOutcome] = {}
        self._ended: OrderedDict[str, RequestOutcome] = OrderedDict()
        self._tasks = 0  # of those that have ended

    def begin(self, request: str, total: int) -> None:
        """A request has come."""
        self._open[request] = RequestOutcome(total)

    def note(self, request: str, first: int, count: int, engine: int, ok: bool) -> None:
        """Tasks of it have ended there."""
        outcome = self._open.get(request)
        if outcome is None:
            return
        (outcome.ok if ok else outcome.failed).update(dict.fromkeys(range(first, first + count), engine))
        if outcome.complete:
            self._ended[request] = self._open.pop(request)
            self._tasks += outcome.total
            while self._tasks > MOST and len(self._ended) > 1:
                _, oldest = self._ended.popitem(last=False)
                self._tasks -= oldest.total

    def of(self, request: str) -> RequestOutcome | None:
        """What has become of it, if it is remembered."""
        return self._open.get(request) or self._ended.get(request)

    def unknown(self, needs: messages.Prerequisites) -> list[str]:
        """The ids that stand for nothing."""
        return [id for id in needs.ids if self._found(id) is None]

    def met(self, needs: messages.Prerequisites) -> bool:
        """Whether what is needed has ended as it should."""
        # What is not remembered any more had ended: of all, as it should; of any, otherwise.
        forgotten = (1, 1) if needs.all else (0, 1)
        each = (self._count(id, needs.success, needs.failure, forgotten) for id in needs.ids)
        if needs.all:
            return all(met == of for met, of in each)
        return any(met for met, _ in each)

    def unreachable(self, needs: messages.Prerequisites) -> bool:
        """Whether it never will."""
        forgotten = (0, 1) if needs.all else (1, 1)
        each = (self._count(id, not needs.success, not needs.failure, forgotten) for id in needs.ids)
        if needs.all:
            return any(against for against, _ in each)
        return bool(needs.ids) and all(against == of for against, of in each)

    def engines(self, needs: messages.Prerequisites) -> frozenset[int]:
        """Where all of it ran, or where one of it did."""
        places: list[set[int]] = []
        for id in needs.ids:
            outcome, key = self._found(id) or (RequestOutcome(0), None)
            for those in (outcome.ok if needs.success else {}, outcome.failed if needs.failure else {}):
                places += [{those[key]}] if key in those else [{e} for e in those.values()] * (key is None)
        if not places:
            return frozenset()
        return frozenset(set.intersection(*places) if needs.all else set.union(*places))

    def requests(self, *needs: messages.Prerequisites | None) -> set[str]:
        """The requests that are needed."""
        ids: Iterable[str] = (id for need in needs if need is not None for id in need.ids)
        return {id.partition(":")[0] for id in ids}

    def _found(self, id: str) -> tuple[RequestOutcome, int | None] | None:
        request, _, key = id.partition(":")
        outcome = self.of(request)
        if outcome is None or (key and not key.isdigit()):
            return None
        return outcome, int(key) if key else None

    def _count(self, id: str, ok: bool, failed: bool, forgotten: tuple[int, int]) -> tuple[int, int]:
        """How many tasks of `id` have ended well, or badly, and of how many."""
        found = self._found(id)
        if found is None:
            return forgotten
        outcome, key = found
        kinds = [outcome.ok] * ok + [outcome.failed] * failed
        if key is None:
            return sum(map(len, kinds)), outcome.total
        return sum(key in kind for kind in kinds), 1
