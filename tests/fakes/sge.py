"""Fakes of Grid Engine's commands that run real jobs on this host, with the output of version 8.1.9.

FAKE_SGE_LAG is the number of seconds after which qacct knows an ended job, FAKE_SGE_FULL=1 means a cluster
without a free slot.
"""

import os
import re
import shlex
import signal
import socket
import sys
import time
from pathlib import Path

from jobs import HOME, begin, fail, kill, new_id, read, run, write

SLOTS = 16
ENVIRONMENTS = ("mpi", "smp")
RESOURCES = {"h_rt", "h_vmem", "gpu"}
ALONE = {"-V", "-cwd", "-terse", "-h"}  # flags without a value
HEAD = (
    "job-ID  prior   name       user         state submit/start at     queue                          slots"
)
DROPPED = 'queue instance "all.q@sge1" dropped because it is full'
TOO_MANY = 'cannot run in PE "{}" because it only offers {} slots'


def qsub(arguments):
    script = Path(arguments[-1]).read_text()
    lines = [shlex.split(line) for line in re.findall(r"^#\$ (.*)$", script, re.M)]
    words = [*(word for line in lines for word in line), *arguments[:-1]]
    job = {"name": Path(arguments[-1]).name, "pe": "", "slots": 1, "resources": {}, "flags": [], "output": ""}
    while words:
        _flag(job, words.pop(0), words)
    id = new_id()
    job.update(script=script, submitted=dict(os.environ), origin=str(Path.cwd()), job_state="qw", why="")
    if "-h" in job["flags"]:
        job["job_state"] = "hqw"
    elif job["slots"] > SLOTS:
        job["why"] = TOO_MANY.format(job["pe"], SLOTS)
    elif os.environ.get("FAKE_SGE_FULL"):
        job["why"] = f"{DROPPED}\n{' ' * 28}{TOO_MANY.format(job['pe'], 0)}"
    else:
        job["job_state"] = "r"
    write(id, job)
    if job["job_state"] == "r":
        begin(__file__, id)
    print(id if "-terse" in job["flags"] else f'Your job {id} ("{job["name"]}") has been submitted')


def _flag(job, flag, words):
    if flag in ALONE:
        job["flags"].append(flag)
        return
    value = words.pop(0)
    if flag == "-N":
        job["name"] = value
    elif flag == "-o":
        job["output"] = value
    elif flag == "-pe":
        job.update(pe=value, slots=int(words.pop(0)))
        if value not in ENVIRONMENTS:
            _rejected(f'job rejected: the requested parallel environment "{value}" does not exist')
    elif flag == "-q" and value != "all.q":
        _rejected(f'Job was rejected because job requests unknown queue "{value}"')
    elif flag == "-l":
        for part in value.split(","):
            name, _, wanted = part.partition("=")
            if name not in RESOURCES:
                _rejected(f'unknown resource "{name}"')
            job["resources"][name] = wanted


def _rejected(why):
    fail(f"Unable to run job: {why}.\nExiting.", 1)


def supervise(arguments):
    """Run a job to its end."""
    (id,) = arguments
    job = read(id)
    environment = dict(job["submitted"]) if "-V" in job["flags"] else {}
    environment.update(JOB_ID=id, JOB_NAME=job["name"], SGE_O_WORKDIR=job["origin"], QUEUE="all.q")
    environment.update(SGE_ROOT="/nowhere", NSLOTS=str(job["slots"]), NHOSTS="1", RESTARTED="0")
    if job["pe"]:
        hosts = HOME / f"{id}.hosts"
        hosts.write_text(f"{socket.gethostname()} {job['slots']} all.q@{socket.gethostname()} UNDEFINED\n")
        environment.update(PE=job["pe"], PE_HOSTFILE=str(hosts))
    directory = job["origin"] if "-cwd" in job["flags"] else str(Path.home())
    output = Path(directory) / (job["output"] or f"{job['name']}.o{id}")
    limit = sum(
        int(n) * 60**k for k, n in enumerate(reversed(job["resources"].get("h_rt", "1:0:0").split(":")))
    )
    job.update(started=time.time())
    write(id, job)
    # A job gets only the last signal.
    code, why = run(id, job["script"], output, environment, directory, limit, signal.SIGKILL)
    time.sleep(1)  # qstat lists an ended job for a moment
    job = read(id)
    job.update(job_state="gone", ended=time.time(), exit_status=137 if why else code, why=why)
    write(id, job)


def qstat(arguments):
    if "-j" in arguments:
        _details(arguments[-1])
        return
    jobs = {id: read(id) for id in sorted((path.stem for path in HOME.glob("*.job")), key=int)}
    rows = []
    for id, job in jobs.items():
        if job["job_state"] == "gone":
            continue
        state = "dr" if (HOME / f"{id}.kill").exists() else job["job_state"]
        queue = f"all.q@{socket.gethostname()}" if "r" in state else ""
        moment = time.strftime("%m/%d/%Y %H:%M:%S", time.localtime(job.get("started")))
        name, slots = job["name"][:10], job["slots"]
        rows.append(f"{id:>7} 0.50000 {name:10} {'me':12} {state:5} {moment} {queue[:30]:30} {slots:5}")
    if rows:
        print("\n".join([HEAD, "-" * 113, *rows]))


def _details(id):
    job = read(id)
    if job is None or job["job_state"] == "gone":
        fail(f"Following jobs do not exist: \n{id}", 1)
    resources = ",".join(f"{name}={_plain(value)}" for name, value in job["resources"].items())
    print("=" * 62)
    print(f"job_number:                 {id}")
    print(f"job_name:                   {job['name']}")
    if resources:
        print(f"hard resource_list:         {resources}")
    print(f"parallel environment:  {job['pe']} range: {job['slots']}")
    why = "Job is in hold state" if "h" in job["job_state"] else job["why"]
    print(f"scheduling info:            {why or 'There are no messages available'}")


def _plain(value):
    """Format a time in whole seconds."""
    return sum(int(n) * 60**k for k, n in enumerate(reversed(value.split(":")))) if ":" in value else value


def qacct(arguments):
    id = arguments[-1]
    job = read(id)
    lag = float(os.environ.get("FAKE_SGE_LAG", 0))
    if job is None or job["job_state"] != "gone" or time.time() < job["ended"] + lag:
        fail(f"error: job id {id} not found", 1)
    failed = {
        "deleted": "100 : assumedly after job",
        "overdue": "37  : qmaster enforced h_rt, h_cpu, or h_vmem limit",
    }
    resources = ",".join(f"{name}={_plain(value)}" for name, value in job["resources"].items())
    print("=" * 62)
    for key, value in (
        ("jobname", job["name"]),
        ("jobnumber", id),
        ("failed", failed.get(job["why"], "0")),
        ("exit_status", f"{job['exit_status']}{' ' * 18}(Killed)" if job["why"] else job["exit_status"]),
        ("ru_wallclock", f"{job['ended'] - job['started']:.0f}s"),
        ("category", f"-l {resources} -pe {job['pe']} {job['slots']}"),
    ):
        print(f"{key:12} {value!s:20}")


def qdel(arguments):
    id = arguments[-1]
    job = read(id)
    if job is None or job["job_state"] == "gone":
        fail(f'denied: job "{id}" does not exist', 1)
    if job["job_state"] == "r":
        kill(id, False)
        print(f"me has registered the job {id} for deletion", flush=True)
    else:
        write(id, {**job, "job_state": "gone", "ended": time.time() + 1e6})  # qacct does not know the job
        print(f"me has deleted job {id}", flush=True)
    if "-f" in arguments:  # the user is no manager
        time.sleep(60)


def qconf(arguments):
    print("sgeadmin")  # the managers


if __name__ == "__main__":
    commands = {
        "qsub": qsub,
        "qstat": qstat,
        "qacct": qacct,
        "qdel": qdel,
        "qconf": qconf,
        "supervise": supervise,
    }
    commands[sys.argv[1]](sys.argv[2:])
