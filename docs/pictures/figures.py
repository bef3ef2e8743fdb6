"""Pictures of what mpidirect draws: a timeline, and the report of a session."""

from __future__ import annotations

import io
import time

from mpidirect import Cluster

from .studio import Studio


def timeline(studio: Studio) -> None:
    """Load-balanced tasks of different lengths, one of which fails."""
    with Cluster(n=4) as rc:
        view = rc.load_balanced_view()
        result = view.map_async(_task, [0.1 * (1 + k % 4) for k in range(24)], chunksize=1)
        result.wait()
        picture = io.BytesIO()
        result.timeline().savefig(picture, format="png", dpi=130, bbox_inches="tight")
    studio.save("timeline", picture.getvalue())


def report(studio: Studio) -> None:
    """The report of a session with an imbalanced call."""
    with Cluster(n=4) as rc:
        view = rc[:]
        view.push({"data": bytes(20_000_000)}, block=True)
        view.execute("import time; time.sleep(0.2 + 0.2 * (rank == 2))", block=True)
        view.apply_sync(lambda: comm.allreduce(1))
        view.execute("if rank == 1: 1 / 0").wait()
        rc.load_balanced_view().map_sync(_task, [0.05 * (1 + k % 3) for k in range(16)])
        path = studio.home / "report.html"
        rc.report(str(path))
    with studio.page(1100, 900) as page:
        page.goto(path.as_uri())
        studio.save("report", page.screenshot())


def _task(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
