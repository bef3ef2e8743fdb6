"""Compare the public names of ipyparallel with those of mpidirect; make the table in ``docs/ipyparallel.md``.

``python -m tests.surface`` writes it, with ipyparallel installed.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "ipyparallel.md"
BEGIN, END = "<!-- the table of names begins -->", "<!-- the table of names ends -->"

# Why mpidirect lacks a name. A name without a class is a name of the module.
TRAITLETS = "configuration of traitlets: settings are in `config.toml`"
WIRE = "a part of ipyparallel's wire format"
ONE_JOB = "controller and engines are one MPI job"
ABSENT = {
    **dict.fromkeys(["can", "can_map", "uncan", "uncan_map", "PrePickled"], WIRE),
    **dict.fromkeys(
        ["pack_apply_message", "unpack_apply_message", "wrap_exception", "unwrap_exception"], WIRE
    ),
    "collect_exceptions": WIRE,
    "bind_kernel": "engines are no Jupyter kernels",
    "load_jupyter_server_extension": "there is no extension of Jupyter's server",
    "MultipleInstanceError": TRAITLETS,
    **dict.fromkeys(
        ["Client.curve_publickey", "Client.curve_secretkey", "Client.curve_serverkey"],
        "keys are in the connection file",
    ),
    **dict.fromkeys(
        ["Client.create_message_futures", "Client.send_apply_request", "Client.send_execute_request"], WIRE
    ),
    "AsyncHubResult.owner": "a result lives as long as somebody holds it",
    "ParallelFunction.mapObject": "`functools.partial` of `map`",
    "Reference.get_object": WIRE,
    "dependent.check_dependency": "the engine calls the condition",
    "AsyncResult.owner": "a result lives as long as somebody holds it",
    "AsyncMapResult.owner": "a result lives as long as somebody holds it",
    **{
        f"Cluster.{name}": TRAITLETS
        for name in (
            *("class_config_rst_doc", "class_config_section", "class_get_help", "class_get_trait_help"),
            *("class_print_help", "config", "load_profile", "parent", "profile_config", "section_names"),
            *("update_config", "log", "log_level"),
        )
    },
    **{
        f"Cluster.{name}": ONE_JOB
        for name in (
            *("controller", "controller_args", "controller_ip", "controller_launcher_class"),
            *("controller_location", "delay", "engine_launcher_class", "engine_timeout"),
            *("send_engines_connection_env",),
        )
    },
    **{
        f"Cluster.{name}": "the files of a cluster are looked after by start and stop"
        for name in ("remove_cluster_file", "update_cluster_file", "write_cluster_file")
    },
    **{
        f"ClusterManager.{name}": TRAITLETS
        for name in (
            *("class_config_rst_doc", "class_config_section", "class_get_help", "class_get_trait_help"),
            *("class_print_help", "config", "parent", "section_names", "update_config", "log"),
        )
    },
}

# Differences under the same name. Additional parameters are no difference.
DIFFERENT = {
    "BroadcastView.is_coalescing": "answers of engines come together in any case",
    "Client.debug": "a debugger on engines; ipyparallel's is a flag for its log",
    "Client.hub_history": "lists what waits for clients that are away",
    "Client.queue_status": "`verbose` is accepted; lengths alone",
    "Client.shutdown": "ends the whole cluster",
    "Client.resubmit": "of calls of this client that are still known, without large data",
    "Client.db_query": "knows this client's calls, and the ids of what waits for others",
    "Client.become_dask": "the scheduler runs on the first engine",
    "LoadBalancedView.map": 'chunksize is "auto" by default: each item is a task, many go together',
    "LoadBalancedView.imap": "sixteen tasks for each engine are under way by default",
    "ViewExecutor.map": "raises what the function raised; knows `timeout`",
    "ViewExecutor.submit": "raises what the function raised, not a `RemoteError`",
    "Cluster.connect_client": "returns the client; `await` of it works as well",
    "Cluster.start_controller": "does nothing: the controller starts with the engines",
    "Cluster.start_controller_sync": "does nothing: the controller starts with the engines",
    "Cluster.start_engines": "starts the cluster; refused when it runs: `rc.resize(n)`",
    "Cluster.start_engines_sync": "starts the cluster; refused when it runs: `rc.resize(n)`",
    **{
        f"Cluster.{name}": f"refused: {ONE_JOB}"
        for name in (
            *("stop_engine", "stop_engine_sync", "stop_engines", "stop_engines_sync"),
            *("stop_controller", "stop_controller_sync"),
        )
    },
    "Cluster.from_file": "finds it by its profile and id",
    "Cluster.to_dict": "profile, id and number of engines",
    "ClusterManager.load_clusters": "only clusters that were started; another form of the names",
    "View": "the base of the views",
    "use_cloudpickle": "cloudpickle it is, always",
    "use_dill": "cloudpickle it is, always",
    "use_pickle": "cloudpickle it is, always",
    "DirectView.use_cloudpickle": "cloudpickle it is, always",
    "DirectView.use_dill": "cloudpickle it is, always",
    "DirectView.use_pickle": "cloudpickle it is, always",
    "register_joblib_backend": 'the name is "mpidirect" by default',
    "LoadBalancedView.register_joblib_backend": 'the name is "mpidirect" by default',
    "IPythonError": "`MPIDirectError`",
    "KernelError": "`MPIDirectError`",
    "DependencyTimeout": "`TaskTimeout`",
    "version_info": "mpidirect's",
    "AlreadyDisplayedError": "nothing raises it",
    "TaskRejectError": "nothing raises it",
}

CLASSES = (
    *("Client", "DirectView", "BroadcastView", "LoadBalancedView", "ViewExecutor"),
    *("AsyncResult", "AsyncMapResult", "AsyncHubResult", "RemoteFunction", "ParallelFunction"),
    *("Reference", "Dependency", "depend", "dependent", "Cluster", "ClusterManager"),
    *("CompositeError", "RemoteError"),
)


def names_of(module: Any) -> list[str]:
    """Return the public names of a module, without the modules that it imports."""
    names = getattr(module, "__all__", dir(module))
    return sorted(n for n in names if not n.startswith("_") and not inspect.ismodule(getattr(module, n)))


def members(kind: type, plain: set[str]) -> list[str]:
    """Return the public names of a class, without those of base classes of Python and traitlets."""
    return sorted(name for name in dir(kind) if not name.startswith("_") and name not in plain)


def rows() -> list[tuple[str, str, str]]:
    """Return each public name of ipyparallel, its state in mpidirect, and the reason."""
    warnings.simplefilter("ignore")
    from concurrent.futures import Future

    import ipyparallel as theirs
    from traitlets import HasTraits

    import mpidirect as ours

    plain = {name for kind in (HasTraits, Exception, set, Future) for name in dir(kind)}
    found = []
    for name in names_of(theirs):
        found.append(_row(name, hasattr(ours, name) and name in dir(ours)))
    for name in CLASSES:
        kind, mine = getattr(theirs, name), getattr(ours, name)
        for member in members(kind, plain):
            found.append(_row(f"{name}.{member}", _has(mine, member), kind, mine))
    return found


def _has(kind: type, member: str) -> bool:
    """Return whether instances of a class have a name, also if `__init__` sets it."""
    if hasattr(kind, member) or member in getattr(kind, "FLAGS", ()):
        return True
    return any(
        f"self.{member} =" in source or f"self.{member}:" in source
        for base in kind.__mro__
        if base.__module__.startswith("mpidirect")
        for method in filter(inspect.isfunction, vars(base).values())
        for source in [inspect.getsource(method)]
    )


def _row(name: str, here: bool, theirs: Any = None, ours: Any = None) -> tuple[str, str, str]:
    if not here:
        return name, "absent", ABSENT.get(name, "")
    if name in DIFFERENT:
        return name, "different", DIFFERENT[name]
    member = name.partition(".")[2]
    lost = _lost(getattr(theirs, member, None), getattr(ours, member, None)) if member else []
    if lost:
        return name, "different", f"has no parameter {', '.join(lost)}"
    return name, "same", ""


def _lost(theirs: Any, ours: Any) -> list[str]:
    """Return the parameters that only ipyparallel has."""
    if not callable(theirs) or not callable(ours) or inspect.isclass(theirs):
        return []
    try:
        wanted, given = inspect.signature(theirs).parameters, inspect.signature(ours).parameters
    except (TypeError, ValueError):
        return []
    if any(p.kind is p.VAR_KEYWORD for p in given.values()):
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in wanted.items() if p.kind not in variable and name not in given]


def table() -> str:
    """Return the rows as Markdown: one row for each class, with all differences."""
    all_rows = rows()
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for name, what, why in all_rows:
        owner, dot, member = name.partition(".")
        groups.setdefault(owner if dot else "", []).append((member or name, what, why))
    lines = ["| | name | | why |", "|---|---|---|---|"]
    for owner, those in groups.items():
        same = [f"`{name}`" for name, what, _ in those if what == "same"]
        title = f"`{owner}`" if owner else "the module"
        if same:
            lines.append(f"| {title} | {', '.join(same)} | same | |")
        for what in ("different", "absent"):
            reasons: dict[str, list[str]] = {}
            for name, kind, why in those:
                if kind == what:
                    reasons.setdefault(why, []).append(f"`{name}`")
            for why, names in reasons.items():
                lines.append(f"| {title} | {', '.join(names)} | {what} | {why} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with a correct table."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    sys.exit(0)
