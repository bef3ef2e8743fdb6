"""A real Slurm on this machine, for tests: several nodes with more cores than there are, in a directory.

The nodes are daemons of this host, or, with ``hosts=True``, network namespaces with an address, a host name
and a /dev/shm of their own (which needs root): there the controller's host is not the client's.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from components import absent
from waiting import until

from mpidirect.job import processes

SLURM = {"launcher": "slurm", "nodes": 2, "ntasks_per_node": 2}  # settings of most clusters

COMMANDS = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "srun", "ip")
MISSING = """\
Slurm is not installed: there is no {}. Its packages, of Debian or Ubuntu:

    apt-get install --no-install-recommends slurmctld slurmd slurm-client slurm-wlm-torque iproute2
"""

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
ReturnToService=2
KillWait=2
MinJobAge=300
MailProg=/bin/true
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=main Nodes=n[1-{count}] Default=YES MaxTime=60 DefaultTime=5 State=UP PriorityTier=1
PartitionName=urgent Nodes=n[1-{count}] MaxTime=60 DefaultTime=5 State=UP PriorityTier=2
"""

# A node's namespaces: its network, its host name, its view of /etc/hosts and of the shared memory.
INSIDE = (
    'hostname "$0" && mount --bind "$1/hosts" /etc/hosts && mount -t tmpfs -o mode=1777 shm /dev/shm && '
    'mount -t tmpfs -o mode=1777 pmix "$1/pmix" && exec slurmd -N "$0"'
)


class Slurm:
    """A Slurm with several nodes, which runs from `start` to `stop`."""

    def __init__(self, directory, count=3, cores=8, hosts=False):
        self.directory = Path(directory)
        self.count, self.cores, self.hosts = count, cores, hosts
        self.name = socket.gethostname().partition(".")[0]
        tag = os.getpid() % 250
        self.network, self.bridge = f"10.199.{tag}", f"mdbr{tag}"
        self.spaces = [f"md{tag}n{k}" for k in self.numbers]
        self.configuration = self.directory / "slurm.conf"
        self.environment = {"SLURM_CONF": str(self.configuration)}

    @property
    def numbers(self):
        return range(1, self.count + 1)

    @staticmethod
    def require():
        """Skip the test (or fail in CI) if a program of Slurm is missing."""
        missing = [command for command in COMMANDS if not shutil.which(command)]
        if missing:
            absent(MISSING.format(missing[0]))

    def start(self):
        for name in ("state", "pmix", *(f"spool/n{k}" for k in self.numbers)):
            (self.directory / name).mkdir(parents=True)
        (self.directory / "mpi.conf").write_text(f"PMIxCliTmpDirBase={self.directory}/pmix\n")
        port = _free_port(1 + self.count)
        address, nodes = self._network() if self.hosts else self._ports(port + 1)
        text = CONFIGURATION.format(
            host=self.name,
            address=address,
            port=port,
            user=subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip(),
            directory=self.directory,
            nodes="\n".join(nodes),
            count=self.count,
        )
        self.configuration.write_text(text)
        hosts = self.directory / "hosts"
        if self.hosts:  # slurmctld listens at the address of its host name
            controller = [
                "unshare",
                "--mount",
                "sh",
                "-c",
                f"mount --bind '{hosts}' /etc/hosts && exec slurmctld",
            ]
        else:
            controller = ["slurmctld"]
        self._run(*controller)
        for k, space in zip(self.numbers, self.spaces, strict=True):
            inside = (
                "nsenter",
                f"--net=/run/netns/{space}",
                "unshare",
                "--uts",
                "--mount",
                "sh",
                "-c",
                INSIDE,
            )
            self._run(*([*inside, f"n{k}", str(self.directory)] if self.hosts else ["slurmd", "-N", f"n{k}"]))
        deadline = time.monotonic() + 20
        while self.ask("sinfo", "-h", "-t", "idle", "-o", "%D") != str(self.count):
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-1500:] for path in self.directory.glob("*.log"))
                raise RuntimeError(f"Slurm does not come up:\n{logs}")
            time.sleep(0.05)
        return self

    def _ports(self, first):
        address = socket.gethostbyname(self.name)
        last = first + self.count - 1
        ports = f"[{first}-{last}]" if last > first else first
        names = f"n[1-{self.count}]" if self.count > 1 else "n1"
        return address, [
            f"NodeName={names} NodeHostname={self.name} NodeAddr={address} Port={ports} "
            f"CPUs={self.cores} RealMemory=8000"
        ]

    def _network(self):
        lines, nodes = ["127.0.0.1 localhost", f"{self.network}.1 {self.name}"], []
        self._run("ip", "link", "add", self.bridge, "type", "bridge")
        self._run("ip", "addr", "add", f"{self.network}.1/24", "dev", self.bridge)
        self._run("ip", "link", "set", self.bridge, "up")
        for k, space in zip(self.numbers, self.spaces, strict=True):
            address, end = f"{self.network}.{10 + k}", f"{self.bridge}v{k}"
            lines.append(f"{address} n{k}")
            nodes.append(
                f"NodeName=n{k} NodeHostname=n{k} NodeAddr={address} Port=17000 "
                f"CPUs={self.cores} RealMemory=8000"
            )
            self._run("ip", "netns", "add", space)
            self._run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", space)
            self._run("ip", "link", "set", end, "master", self.bridge, "up")
            self._run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                self._run("ip", "-n", space, "link", "set", device, "up")
        (self.directory / "hosts").write_text("\n".join(lines) + "\n")
        return f"{self.network}.1", nodes

    def ask(self, *command):
        """Return the output of a Slurm command."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=20
        )
        return done.stdout.strip()

    def _run(self, *command):
        # Daemons keep inherited descriptors open: give them no pipe of the test.
        with (self.directory / "start.log").open("ab") as log:
            environment = {**os.environ, **self.environment}
            subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=20, check=True)

    def stop(self):
        jobs = self.ask("squeue", "-h", "-o", "%A").split()
        if jobs:
            self.ask("scancel", *jobs)
            until(lambda: not self.ask("squeue", "-h", "-o", "%A"))
        files = [
            self.directory / "slurmctld.pid",
            *(self.directory / f"slurmd.n{k}.pid" for k in self.numbers),
        ]
        for file in files:  # the state of this Slurm is thrown away, so kill the daemons
            try:
                os.kill(int(file.read_text()), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass
        if self.hosts:
            for k, space in zip(self.numbers, self.spaces, strict=True):
                for command in (["netns", "del", space], ["link", "del", f"{self.bridge}v{k}"]):
                    subprocess.run(["ip", *command], stderr=subprocess.DEVNULL, check=False)
            subprocess.run(["ip", "link", "del", self.bridge], check=False)


def gone(slurm, cluster):
    """Wait until no process and no job of a cluster is left."""
    until(lambda: not slurm.ask("squeue", "-h", "-j", cluster.job_id, "-o", "%A"))
    assert cluster.profile.record() is None and cluster.profile.clusters() == set()
    until(lambda: processes.members(cluster.cluster) == [])
    return True


def _free_port(count):
    """Return the first of `count` consecutive free ports."""
    for first in range(20000 + 13 * os.getpid() % 10000, 32000, 7):
        try:
            for port in range(first, first + count):
                socket.create_server(("", port)).close()
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")
