"""Save the engines' namespaces to files, and load them in a later job: ``rc.save`` and ``rc.load``."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .. import errors
from ..arrays import partition
from ..files.saved_namespaces import MANIFEST_VERSION, Manifest, SavedEngine, same_engine_plan
from .interface import ClientInterface
from .views.directview import DirectView

MAX_LISTED_NAMES = 5  # maximum number of names in a message


class Saved(NamedTuple):
    """The report of `Client.save`.

    Attributes
    ----------
    path : str
        The directory.
    names : list of str
        The saved names, of all engines together.
    left : dict of str to str
        The names that were not saved, and the reasons.
    nbytes : int
        The size of all files.
    """

    path: str
    names: list[str]
    left: dict[str, str]
    nbytes: int


def save(client: ClientInterface, path: str | os.PathLike[str], names: Sequence[str] | None) -> Saved:
    """Have each engine write its names. The manifest is written last: until then an earlier save is valid."""
    from .._version import __version__

    directory = str(Path(path).expanduser().absolute())
    view = _view_of_all(client)
    generation = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
    files = [f"{generation}-engine-{engine}.data" for engine in client.ids]
    places = [f"{directory}/{file}" for file in files]
    try:
        written = view._request(
            "save", "save", names, parts_for=lambda n: list(places), block=False, single=False
        ).get()
    except BaseException:
        earlier = _earlier(client, directory)
        view._request("sweep", "save", (directory, earlier), block=False, single=False).wait(10)
        raise
    engines = [
        SavedEngine(
            file, each["rest"], each["sums"], {name: tuple(part) for name, part in each["parts"].items()}
        )
        for file, each in zip(files, written, strict=True)
    ]
    manifest = Manifest(MANIFEST_VERSION, __version__, time.time(), engines)
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    first = DirectView(client, client.ids[0])
    first._request("saved", "save", (directory, encoded), block=False).get()
    view._request("sweep", "save", (directory, generation), block=False, single=False).get()
    left = {name: why for each in reversed(written) for name, why in each["left"].items()}
    if left:
        warnings.warn(_not_saved(left), stacklevel=4)
    found = dict.fromkeys(name for each in written for name in [*each["parts"], *each["sums"]])
    return Saved(directory, list(found), left, sum(each["bytes"] for each in written))


def _view_of_all(client: ClientInterface) -> DirectView:
    """Return a view of the engines that live now."""
    return DirectView(client, client._session.engines.resolve("all"))


def _earlier(client: ClientInterface, directory: str) -> str:
    """Return the name of the valid save; "-" if there is none."""
    try:
        return _manifest(client, directory).engines[0].file.rpartition("-engine-")[0]
    except errors.MPIDirectError:
        return "-"


def _not_saved(left: dict[str, str]) -> str:
    listed = "; ".join(f"{name!r}: {why}" for name, why in list(left.items())[:MAX_LISTED_NAMES])
    more = f"; and {len(left) - MAX_LISTED_NAMES} more" if len(left) > MAX_LISTED_NAMES else ""
    return f"all is saved but {listed}{more}. `copyreg.pickle`, on the engines, tells how to pickle a type."


def load(client: ClientInterface, path: str | os.PathLike[str]) -> list[str]:
    """Have each engine read its names. With another number of engines, divide scattered data anew."""
    directory = str(Path(path).expanduser().absolute())
    manifest = _manifest(client, directory)
    n = len(client.ids)
    if n == len(manifest.engines):
        plans = [same_engine_plan(directory, each) for each in manifest.engines]
    else:
        plans = _shared_out(directory, manifest, n)
    view = _view_of_all(client)
    loaded = view._request("load", "load", None, parts_for=lambda _: plans, block=False, single=False).get()
    return list(dict.fromkeys(name for names in loaded for name in names))


def _manifest(client: ClientInterface, directory: str) -> Manifest:
    try:
        data = DirectView(client, client.ids[0])._request("manifest", "load", directory, block=False).get()
    except errors.RemoteError as e:
        raise errors.MPIDirectError(
            f"Nothing was saved at {directory}, as engines see it: {e.evalue}"
        ) from None
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as e:
        raise errors.MPIDirectError(
            f"{directory}/manifest.json is not a manifest of mpidirect: {e}"
        ) from None
    if manifest.version != MANIFEST_VERSION:
        raise errors.MPIDirectError(
            f"{directory} was saved by mpidirect {manifest.mpidirect}, in a form that this one does not know."
        )
    return manifest


def _shared_out(directory: str, manifest: Manifest, n: int) -> list[dict[str, Any]]:
    """Return the plans for another number of engines: divide scattered data, copy what all engines had."""
    first, *others = manifest.engines
    shared = {name for name, total in first.sums.items() if all(o.sums.get(name) == total for o in others)}
    scattered = [name for name in first.parts if _is_one_thing([o.parts.get(name) for o in manifest.engines])]
    every = {name for each in manifest.engines for name in [*each.sums, *each.parts]}
    if lost := sorted(every - shared - set(scattered)):
        listed = ", ".join(lost[:MAX_LISTED_NAMES]) + (
            f" and {len(lost) - MAX_LISTED_NAMES} more" if len(lost) > MAX_LISTED_NAMES else ""
        )
        warnings.warn(
            f"saved by {len(manifest.engines)} engines, loaded by {n}: what each engine had for itself "
            f"is not loaded: {listed}",
            stacklevel=4,
        )
    plans: list[dict[str, Any]] = []
    for mine in range(n):
        source = manifest.engines[mine % len(manifest.engines)]
        parts = {name: _part(directory, manifest, name, mine, n) for name in scattered}
        plans.append({"rest": (f"{directory}/{source.file}", source.rest, sorted(shared)), "parts": parts})
    return plans


def _part(directory: str, manifest: Manifest, name: str, mine: int, n: int) -> tuple[Any, ...]:
    """Return what engine `mine` of `n` reads: only the blocks that contain a part of its share."""
    dist = manifest.engines[0].parts[name][0]
    sources = [(f"{directory}/{each.file}", each.parts[name][3]) for each in manifest.engines]
    if dist != "b":
        return dist, [mine, n], sources
    ends = list(accumulate(each.parts[name][1] for each in manifest.engines))
    start, stop = partition.bounds(ends[-1], n)[mine]
    begins = [0, *ends[:-1]]
    needed = [k for k, (b, e) in enumerate(zip(begins, ends, strict=True)) if b < stop and e > start] or [0]
    cut = [start - begins[needed[0]], stop - begins[needed[0]]]
    return dist, cut, [sources[k] for k in needed]


def _is_one_thing(parts: Iterable[Any]) -> bool:
    """Whether all engines have a part, and the parts fit together."""
    found = list(parts)
    return all(found) and len({(part[0], part[2]) for part in found}) == 1
