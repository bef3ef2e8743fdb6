"""Pictures of what mpidirect draws: a timeline, and the report of a session."""

from __future__ import annotations

import io

from mpidirect import Cluster

from .studio import Studio


def timeline(studio: Studio) -> None:
    """Load-balanced tasks of different lengths, one of which fails."""

    def simulate(k: int) -> float:
        time.sleep(0.2 * (1 + k % 4))
        return 1 / (k - 13)

    with Cluster(n=4) as rc:
        rc[:].execute("import time", block=True)
        result = rc.load_balanced_view().map_async(simulate, range(20), chunksize=1)
        result.wait()
        picture = io.BytesIO()
        result.timeline().savefig(picture, format="png", dpi=130, bbox_inches="tight")
    studio.save("timeline", picture.getvalue())


def report(studio: Studio) -> None:
    """The report of a session with an imbalanced call."""

    def simulate(k: int) -> None:
        time.sleep(0.1 * (1 + k % 3))

    with Cluster(n=4) as rc:
        view = rc[:]
        view.execute("import time", block=True)
        view.push({"mesh": bytes(20_000_000)}, block=True)
        view.execute("time.sleep(0.2 + 0.4 * (rank == 2))", block=True)
        view.apply_sync(lambda: comm.allreduce(1))
        view.execute("if rank == 1: 1 / 0").exception()
        rc.load_balanced_view().map_sync(simulate, range(16))
        path = rc.report(studio.home / "report.html")
    with studio.page(1140, 860) as page:
        page.goto(path.as_uri())
        studio.save("report", page.screenshot())
