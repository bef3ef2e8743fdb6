"""The resources of a scheduler's job, computed from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError


def engine_count(settings: Mapping[str, Any]) -> int:
    """Return the number of engines that nodes and tasks result in, without the controller's own task.

    Raises
    ------
    ConfigError
        When the settings do not define the number of tasks, or leave no task for an engine.
    """
    nodes, tasks = settings["nodes"], settings["ntasks_per_node"]
    if tasks is None:
        raise ConfigError("How many engines? Say -n, or --ntasks-per-node and --nodes.")
    count = (nodes or 1) * tasks - (settings["controller"] == "slot")
    if count < 1:
        raise ConfigError(
            "One task is the controller's own (controller = 'slot'): one engine needs at least two tasks."
        )
    return int(count)


class ResourceRequest:
    """Nodes, tasks and GPUs of a job.

    Parameters
    ----------
    settings : mapping
        The value of every option.
    engines : int
        The number of engines.
    """

    def __init__(self, settings: Mapping[str, Any], engines: int) -> None:
        self._settings = settings
        self._engines = engines

    @property
    def controller_node(self) -> bool:
        """Whether the controller has a node of its own, beside the engines' nodes."""
        return bool(self._settings["controller"] == "node")

    @property
    def tasks(self) -> int:
        """The number of tasks on the engines' nodes: one per engine, and possibly the controller's."""
        return self._engines + bool(self._settings["controller"] == "slot")

    @property
    def nodes_and_tasks(self) -> tuple[int | None, int | None]:
        """The number of nodes and of tasks on each node; None for an undefined number.

        Raises
        ------
        ConfigError
            When the engines do not fit into the nodes.
        """
        nodes, each = self._settings["nodes"], self._settings["ntasks_per_node"]
        if nodes and each and nodes * each < self.tasks:
            own = " and one for the controller" if self.tasks > self._engines else ""
            raise ConfigError(
                f"{self._engines} tasks for engines{own} don't fit: --nodes {nodes} "
                f"--ntasks-per-node {each} make {nodes * each}."
            )
        if nodes and not each:  # otherwise a scheduler may put 7 tasks on one node and 1 on the other
            each = -(-self.tasks // nodes)
        elif each and not nodes:
            nodes = -(-self.tasks // each)
        return nodes, each

    def gpus(self, tasks: int) -> int | None:
        """Return the number of GPUs of a node with `tasks` engines; None if no GPU is requested.

        Raises
        ------
        ConfigError
            When the settings define both GPUs for each engine and GPUs for each node.
        """
        each, node = self._settings["gpus_per_task"], self._settings["gpus"]
        if each and node:
            raise ConfigError("Say how many GPUs each engine has (--gpus-per-task), or each node (--gpus).")
        count = each * tasks if each else node
        return int(count) if count else None
