"""A real Grid Engine on this machine, for tests: one host with more slots than cores, in a directory.

Debian's packages are unpacked, not installed. Their daemons expect their files below /usr, so the daemons run
in a mount namespace that has the files there (which needs root). The commands run without it.
"""

import os
import signal
import socket
import subprocess
from pathlib import Path

from components import absent
from waiting import until

PACKAGES = Path(__file__).parents[2] / ".gridengine"
LIBRARY = "/usr/lib/gridengine"  # the directory of the binaries, as the daemons expect it
COMMANDS = ("qsub", "qstat", "qacct", "qdel", "qconf", "qhold", "qrls", "qalter")
MISSING = "Grid Engine's tests need Debian's packages, unpacked by .ci/grid-engine, and root"
SLOTS = 16

BOOTSTRAP = """\
admin_user              root
default_domain          none
ignore_fqdn             false
spooling_method         berkeleydb
spooling_lib            libspoolb
spooling_params         {directory}/spooldb
binary_path             /usr/sbin
qmaster_spool_dir       {directory}/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
"""

HOST = """\
hostname {host}
load_scaling NONE
complex_values slots={slots}
user_lists NONE
xuser_lists NONE
projects NONE
xprojects NONE
usage_scaling NONE
report_variables NONE
"""

PARALLEL_ENVIRONMENT = """\
pe_name mpi
slots 9999
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $fill_up
control_slaves TRUE
job_is_first_task FALSE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""

CONFIGURATION = {  # lines of the global configuration, and of a queue and the scheduler
    "execd_spool_dir": "{directory}/execd",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:01",
    "reporting_params": "accounting=true reporting=false flush_time=00:00:01 joblog=false sharelog=00:00:00",
}
QUEUE = {
    "qname": "all.q",
    "hostlist": "{host}",
    "slots": str(SLOTS),
    "pe_list": "mpi",
    "load_thresholds": "NONE",
    "shell_start_mode": "unix_behavior",
    "shell": "/bin/bash",
}
SCHEDULER = {"schedule_interval": "0:0:1", "flush_submit_sec": "1", "flush_finish_sec": "1"}


class GridEngine:
    """A Grid Engine with one host, which runs from `start` to `stop`."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.host = socket.gethostname()
        port = 27000 + os.getpid() % 5000
        libraries = ":".join(str(path) for path in PACKAGES.glob("usr/lib/*-linux-gnu"))
        self.environment = {
            "SGE_ROOT": str(self.directory / "sge"),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(port),
            "SGE_EXECD_PORT": str(port + 5000),
            "LD_LIBRARY_PATH": libraries,
        }

    @staticmethod
    def require():
        """Skip the test (or fail in CI) if the packages are missing, or this user is not root."""
        if os.geteuid() != 0 or not (PACKAGES / "usr" / "sbin" / "sge_qmaster").exists():
            absent(MISSING)

    def start(self):
        """Start the daemons, and wait until jobs can run."""
        self._make_root()
        share = "/usr/share/gridengine"
        text = (PACKAGES / share.lstrip("/") / "default-configuration").read_text()
        configuration = self._file("configuration", self._edited(text, CONFIGURATION))
        self._inside(f"{LIBRARY}/spoolinit berkeleydb libspoolb {self.directory}/spooldb init")
        self._inside(f"{LIBRARY}/spooldefaults configuration {configuration}")
        self._inside(f"{LIBRARY}/spooldefaults complexes {share}/util/resources/centry")
        self._inside(f"{LIBRARY}/spooldefaults usersets {share}/util/resources/usersets")
        self._inside(f"{LIBRARY}/spooldefaults managers root")
        self._inside("sge_qmaster")
        until(lambda: self.ask("qconf", "-sh") == self.host, 20)
        self.ask("qconf", "-as", self.host)
        self._configure("-Ae", HOST.format(host=self.host, slots=SLOTS))
        self._configure("-Ap", PARALLEL_ENVIRONMENT)
        self._configure("-Aq", self._edited(self.ask("qconf", "-sq"), QUEUE))
        self._configure("-Msconf", self._edited(self.ask("qconf", "-ssconf"), SCHEDULER))
        self._inside("sge_execd")
        until(lambda: "lx-amd64" in self.ask("qstat", "-f"), 20)
        return self

    def _make_root(self):
        """Make SGE_ROOT, and the directories of the daemons and the commands."""
        for name in ("qmaster/job_scripts", "spooldb", "execd", "bin"):
            (self.directory / name).mkdir(parents=True)
        root = Path(self.environment["SGE_ROOT"])
        common = root / "default" / "common"
        common.mkdir(parents=True)
        (common / "bootstrap").write_text(BOOTSTRAP.format(directory=self.directory))
        (common / "act_qmaster").write_text(f"{self.host}\n")
        (common / "host_aliases").write_text(f"{self.host} localhost\n")
        for name in ("bin", "lib", "utilbin"):
            (root / name).mkdir()
            (root / name / "lx-amd64").symlink_to(LIBRARY)
        (root / "util").symlink_to("/usr/share/gridengine/util")
        for command in COMMANDS:
            (self.directory / "bin" / command).symlink_to(PACKAGES / LIBRARY.lstrip("/") / command)

    def _edited(self, text, values):
        """Return a configuration in which some lines have other values."""
        lines = [line for line in text.splitlines() if line.split(" ")[0] not in values]
        given = {
            name: value.format(directory=self.directory, host=self.host) for name, value in values.items()
        }
        return "\n".join([*lines, *(f"{name} {value}" for name, value in given.items()), ""])

    def _file(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return path

    def _configure(self, flag, text):
        self.ask("qconf", flag, str(self._file(f"qconf{flag}", text)))

    def _inside(self, command):
        """Run a command where the files of the packages are below /usr."""
        mount = f"mount -t overlay overlay -o lowerdir={PACKAGES}/usr:/usr /usr"
        libraries = f"LD_LIBRARY_PATH={LIBRARY}:{self.environment['LD_LIBRARY_PATH']}"
        words = ["unshare", "--mount", "sh", "-ec", f"{mount}; export {libraries}; exec {command}"]
        with (self.directory / "start.log").open("ab") as log:  # a pipe would stay open in daemons
            environment = {**os.environ, **self.environment}
            subprocess.run(words, env=environment, stdout=log, stderr=log, timeout=20, check=True, cwd="/")

    def ask(self, command, *words):
        """Return the output of a command of Grid Engine."""
        done = subprocess.run(
            [str(self.directory / "bin" / command), *words],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=20,
        )
        return done.stdout.strip()

    def stop(self):
        """End all jobs and the daemons."""
        self.ask("qdel", "-u", "*")
        until(lambda: not self.ask("qstat", "-u", "*"), 20)
        for file in (*self.directory.glob("execd/*/execd.pid"), *self.directory.glob("qmaster/qmaster.pid")):
            try:
                os.kill(int(file.read_text()), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass
