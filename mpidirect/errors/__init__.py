"""The errors of this package. Each message says what the next step is.

Every error derives from `MPIDirectError`.  The names that ipyparallel users know (`CompositeError`,
`RemoteError`, `TaskAborted`, …) mean the same here.
"""

from __future__ import annotations

from .composite import CompositeError
from .ipyparallel_names import (
    AlreadyDisplayedError,
    DependencyTimeout,
    IPythonError,
    KernelError,
    TaskRejectError,
    UnmetDependencyError,
)
from .local import (
    AuthenticationFailed,
    ClientClosed,
    ClusterNotFound,
    ClusterRunning,
    CollectiveError,
    ConfigError,
    ConnectionFailed,
    ControllerLost,
    LaunchError,
    MPIDirectError,
    NeverStarts,
    NoEnginesRegistered,
    ResultExpired,
    SerializationError,
    TimeoutError,
    UnmetDependency,
    Untrusted,
    VersionMismatch,
)
from .local import Interrupted as Interrupted
from .remote import (
    EngineError,
    ExpiredResult,
    ImpossibleDependency,
    InvalidDependency,
    RemoteError,
    TaskAborted,
    TaskTimeout,
)
from .remote import EngineFailure as EngineFailure
from .remote import remote_error as remote_error
from .text import error_text as error_text
from .text import format_ids as format_ids

__all__ = [
    "MPIDirectError",
    "TimeoutError",
    "RemoteError",
    "CompositeError",
    "TaskAborted",
    "EngineError",
    "ResultExpired",
    "NoEnginesRegistered",
    "UnmetDependency",
    "UnmetDependencyError",
    "InvalidDependency",
    "ImpossibleDependency",
    "TaskTimeout",
    "DependencyTimeout",
    "IPythonError",
    "KernelError",
    "AlreadyDisplayedError",
    "TaskRejectError",
    "SerializationError",
    "CollectiveError",
    "ClusterNotFound",
    "ClusterRunning",
    "NeverStarts",
    "ConnectionFailed",
    "AuthenticationFailed",
    "VersionMismatch",
    "ControllerLost",
    "ClientClosed",
    "ConfigError",
    "Untrusted",
    "LaunchError",
]

# Tracebacks and pickles name each class by the place where users find it.
for _class in (ExpiredResult, EngineFailure, *(globals()[_name] for _name in __all__)):
    _class.__module__ = __name__
