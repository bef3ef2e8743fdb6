"""The views, under the name that ipyparallel gives this module."""

from __future__ import annotations

from .executor import ViewExecutor
from .views.balancedview import LoadBalancedView
from .views.base import View
from .views.directview import BroadcastView, DirectView

__all__ = ["BroadcastView", "DirectView", "LoadBalancedView", "View", "ViewExecutor"]
