"""Fakes of PBS's qsub, qstat and qdel that run real jobs on this host, with the output of OpenPBS 23.06.

FAKE_PBS_HISTORY=0 means a server without job history, FAKE_PBS_FULL=1 a server without a free node.
"""

import json
import os
import re
import shlex
import socket
import sys
import time
from pathlib import Path

from jobs import HOME, await_end, begin, fail, kill, new_id, read, run, write

CORES = 16
QUEUES = ("workq", "batch")
RESOURCES = {"select", "nodes", "walltime", "mem", "ncpus", "place"}
UNKNOWN, FINISHED, NO_QUEUE, NO_RESOURCE, BAD_VALUE = 153, 35, 170, 187, 166
DELETED, OVERDUE = 271, -29


def qsub(arguments):
    script = Path(arguments[-1]).read_text()
    job = {"job_state": "Q", "queue": "workq", "Job_Name": "job", "Resource_List": {}, "script": script}
    job.update(directory=str(Path.cwd()), submitted=dict(os.environ), output="")
    for line in re.findall(r"^#PBS (.*)$", script, re.M):
        words = shlex.split(line)
        for flag, value in zip(words[::2], [*words[1::2], ""], strict=False):
            _directive(job, flag, value)
    id = new_id(".pbs1")
    wanted = sum(n * per for n, per, _ in _chunks(job))
    if wanted > CORES:
        job["comment"] = f"Can Never Run: Insufficient amount of resource: ncpus (R: {wanted} A: {CORES})"
    elif job.pop("held", False):
        job["job_state"] = "H"
    elif os.environ.get("FAKE_PBS_FULL"):
        job["comment"] = "Not Running: Insufficient amount of resource: ncpus"
    else:
        job.update(
            job_state="R", comment="Job run at Mon Jan 01 at 00:00 on (pbs1:ncpus=1)", exec_host="pbs1/0"
        )
    begins = job["job_state"] == "R"
    if begins and "-W" in arguments:
        condition = arguments[arguments.index("-W") + 1].removeprefix("depend=")
        job.update(job_state="H", depend=f"{condition}@pbs1")
    write(id, job)
    if begins:
        begin(__file__, id)
    print(id)


def _directive(job, flag, value):
    if flag == "-N":
        job["Job_Name"] = value
    elif flag == "-o":
        job["output"] = value
    elif flag == "-h":
        job["held"] = True
    elif flag == "-q":
        if value not in QUEUES:
            fail("qsub: Unknown queue", NO_QUEUE)
        job["queue"] = value
    elif flag == "-l":
        name, _, what = value.partition("=")
        if name not in RESOURCES:
            fail(f"qsub: Unknown resource: {name}", NO_RESOURCE)
        if name == "walltime" and not re.fullmatch(r"(\d+:)?(\d+:)?\d+", what):
            fail("qsub: Illegal attribute or resource value Resource_List.walltime", BAD_VALUE)
        job["Resource_List"][name] = what


def _chunks(job):
    """Return the number of chunks, their cores and their ranks, for each part of a selection."""
    for chunk in job["Resource_List"].get("select", "1:ncpus=1").split("+"):
        count, *parts = chunk.split(":")
        values = dict(part.partition("=")[::2] for part in parts)
        cores = int(values.get("ncpus", 1))
        yield int(count), cores, int(values.get("mpiprocs", cores))


def supervise(arguments):
    """Run a job to its end."""
    (id,) = arguments
    job = read(id)
    if "depend" in job:
        await_end(re.search(r"afterany:(.*)@", job["depend"])[1], "F")
        if read(id)["job_state"] == "F":  # the job was deleted
            return
        job["job_state"] = "R"
    nodes = HOME / f"{id}.nodes"
    nodes.write_text("".join(f"{socket.gethostname()}\n" * (n * ranks) for n, _, ranks in _chunks(job)))
    environment = {**job["submitted"], "PBS_JOBID": id, "PBS_NODEFILE": str(nodes)}
    environment.update(PBS_O_WORKDIR=job["directory"], PBS_ENVIRONMENT="PBS_BATCH")
    job["stime"] = time.ctime()
    write(id, job)
    hours, minutes, seconds = map(int, job["Resource_List"].get("walltime", "1:0:0").split(":"))
    spool = HOME / f"{id}.spool"
    limit = (hours * 60 + minutes) * 60 + seconds
    # The job does not write into the directory of its submission.
    code, why = run(id, job["script"], spool, environment, Path.home(), limit)
    # A deleted job has the exit code of its script, if the script still reaches its end.
    status = {"deleted": DELETED if code else 0, "overdue": OVERDUE}.get(why, code)
    job.update(job_state="F", Exit_status=status, substate=91 if why == "deleted" else 92)
    if why == "deleted":
        job["comment"] += " and terminated by me@login"
    target = Path(job["directory"]) / (job["output"] or f"{job['Job_Name']}.o{id.partition('.')[0]}")
    target.write_bytes(spool.read_bytes())  # the output can be read only after the job
    write(id, job)


def qstat(arguments):
    history, as_json, id = "-x" in arguments, "json" in arguments, arguments[-1]
    if history and os.environ.get("FAKE_PBS_HISTORY") == "0":
        fail("qstat: PBS is not configured to maintain job history", 1)
    job = read(id)
    if job is None:
        if as_json:
            print(json.dumps({"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "pbs1"}))
        fail(f"qstat: Unknown Job Id {id}", UNKNOWN)
    if job["job_state"] == "F" and not history:
        fail(f"qstat: {id} Job has finished, use -x or -H to obtain historical job information", FINISHED)
    shown = {k: v for k, v in job.items() if k not in ("script", "submitted", "directory", "output")}
    if as_json:
        head = {"timestamp": 1, "pbs_version": "23.06.06", "pbs_server": "pbs1"}
        print(json.dumps({**head, "Jobs": {id: shown}}))
        return
    print(f"Job Id: {id}")
    flat = {f"Resource_List.{k}": v for k, v in shown.pop("Resource_List").items()}
    for key, value in {**shown, **flat}.items():
        line = f"    {key} = {value}"
        print(line[:79] + "".join(f"\n\t{line[k : k + 70]}" for k in range(79, len(line), 70)))


def qdel(arguments):
    id = arguments[-1]
    job = read(id)
    if job is None:
        fail(f"qdel: Unknown Job Id {id}", UNKNOWN)
    if job["job_state"] == "F":
        fail(f"qdel: Job has finished {id}", FINISHED)
    if job["job_state"] in ("Q", "H"):
        write(id, {**job, "job_state": "F"})  # such a job has no exit status
    else:
        kill(id, "force" in arguments)


if __name__ == "__main__":
    commands = {"qsub": qsub, "qstat": qstat, "qdel": qdel, "supervise": supervise}
    commands[sys.argv[1]](sys.argv[2:])
