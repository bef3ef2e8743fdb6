"""The common part of the fakes of schedulers: jobs are files in the directory FAKE_JOBS, and really run.

The first argument of a fake is the name of the command. ``supervise ID`` runs a job, in a process without a
parent.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

HOME = Path(os.environ["FAKE_JOBS"])


def new_id(suffix=""):
    """Return the id of the next job; `write` reserves the id."""
    return f"{len(list(HOME.glob('*.job')))}{suffix}"


def read(id):
    """Return the record of a job; None for an unknown id."""
    try:
        return json.loads((HOME / f"{id}.job").read_text())
    except FileNotFoundError:
        return None


def write(id, job):
    """Write the record of a job atomically."""
    new = HOME / f"{id}.new"
    new.write_text(json.dumps(job))
    new.rename(HOME / f"{id}.job")


def fail(message, code):
    """Print an error and exit with a failure."""
    print(message, file=sys.stderr)
    sys.exit(code)


def begin(fake, id):
    """Start the process that runs a job."""
    quiet = subprocess.DEVNULL
    command = [sys.executable, fake, "supervise", id]
    subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def kill(id, force):
    """Tell the process that runs a job to end the job."""
    (HOME / f"{id}.kill").write_text("force" if force else "")


def run(id, script, output, environment, directory, seconds, signum=signal.SIGTERM):
    """Run a job to its end.

    Returns its exit code, and ``"deleted"`` or ``"overdue"`` if the job was ended; `signum` is the first
    signal to its processes in this case.
    """
    file = HOME / f"{id}.sh"
    file.write_text(script)
    with Path(output).open("wb") as stream:
        process = subprocess.Popen(
            ["bash", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**environment, "FAKE_JOB": id},
            cwd=directory,
            start_new_session=True,
        )
    began, why, order, over = time.monotonic(), "", HOME / f"{id}.kill", HOME / f"{id}.over"
    while process.poll() is None:
        if order.exists() or over.exists() or time.monotonic() > began + seconds:
            why = "deleted" if order.exists() else "overdue"
            _end(process, id, signum, patient=not (order.exists() and order.read_text() == "force"))
        time.sleep(0.05)
    return process.returncode, why


def await_end(id, state):
    """Wait until job `id` has this state."""
    while (job := read(id)) is not None and job["job_state"] != state:
        time.sleep(0.05)


def _end(process, id, signum, patient):
    """End all processes of a job, in all sessions, as a scheduler does."""
    for number, wait in ((signum, 2 if patient else 0), (signal.SIGKILL, 2)):
        members = [p for p in psutil.process_iter() if _belongs(p, id)]
        for member in members:
            with contextlib.suppress(psutil.Error):
                member.send_signal(number)
        psutil.wait_procs(members, wait)
    process.wait()


def _belongs(process, id):
    try:
        environment = process.environ()
    except psutil.Error:
        return False
    return environment.get("FAKE_JOB") == id and environment.get("FAKE_JOBS") == str(HOME)
