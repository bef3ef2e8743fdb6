"""The definitions of all options, except options that a launcher adds."""

from __future__ import annotations

from .option import Option
from .values import lines, one_of, port, positive, seconds, size, switch, text, walltime

COMMON = (
    Option(
        "n",
        positive,
        None,
        "The number of engines; one per core if not said.",
        "N",
        "4",
        ("--engines", "--n"),
    ),
    Option("launcher", text, "mpiexec", "What starts the job.", "NAME"),
    Option(
        "python",
        text,
        "",
        "The Python that runs the engines; the one that runs this command if not said.",
        "PATH",
        '"/opt/env/bin/python"',
    ),
    Option(
        "mpiexec",
        text,
        "",
        "What starts the ranks: the mpiexec of the MPI that mpi4py loads, srun or a site's command, with "
        "arguments if need be; an mpiexec is found if not said.",
        "CMD",
        '"/opt/openmpi/bin/mpiexec --host node1:8,node2:8"  # or "srun --mpi=pmi2"',
    ),
    Option(
        "ip",
        text,
        "",
        "What the controller listens on besides its host: an address, an interface, or * for all of them; "
        "* for the jobs of a scheduler if not said.",
        "ADDRESS",
        '"ib0"',
        ("--interface",),
    ),
    Option(
        "port",
        port,
        "0",
        "The controller's port or a range to choose from; 0 is any.",
        "PORT",
        '"40000-40100"',
    ),
    Option(
        "start_timeout",
        seconds,
        120.0,
        "How long all engines may take to answer.",
        "TIME",
        '"5m"',
        ("--timeout",),
    ),
    Option("stop_timeout", seconds, 10.0, "How long a stop may take before the job is killed.", "TIME"),
    Option(
        "gpu_bind",
        one_of("auto", "none"),
        "auto",
        "Whether each engine sees its own GPU alone, where nothing else has chosen some for it ('auto'), or "
        "all of its host ('none').",
        "HOW",
    ),
    Option(
        "bind",
        one_of("none", "hwthread", "core", "numa", "socket"),
        "none",
        "What each engine is bound to: cores of its own, as many as --cpus-per-task says ('core', "
        "'hwthread'), or a part of the host that it shares ('numa', 'socket').",
        "TO",
    ),
    Option("budget", size, 1 << 30, "How much of results is held for absent clients.", "SIZE", '"1GiB"'),
    Option(
        "idle_timeout",
        seconds,
        0.0,
        "How long the engines may be idle before the cluster is stopped; 0 is without end.",
        "TIME",
        '"30m"',
    ),
    Option(
        "idle_save",
        text,
        "",
        "Where the namespaces are saved before an idle cluster is stopped; not saved if not said.",
        "PATH",
        '"/scratch/me/idle"',
    ),
    Option("keep_logs", positive, 5, "The number of clusters whose logs are kept.", "N"),
)


# Resources of a scheduler's job. Every launcher accepts them: a site's file may set them for all clusters.
BATCH = (
    Option("nodes", positive, None, "The number of nodes.", "N", "2"),
    Option("ntasks_per_node", positive, None, "The number of engines on each node.", "N", "16"),
    Option("cpus_per_task", positive, None, "The number of cores for each engine.", "N", "1"),
    Option("mem", text, "", "The memory on each node, as the scheduler writes it.", "SIZE", '"8G"'),
    Option("gpus", positive, None, "The number of GPUs on each node.", "N", "1"),
    Option("gpus_per_task", positive, None, "The number of GPUs for each engine.", "N", "1"),
    Option("walltime", walltime, None, "How long the job may run.", "TIME", '"2h"'),
    Option(
        "queue", text, "", "The queue, or partition, of the job.", "NAME", '"short"', aliases=("partition",)
    ),
    Option("account", text, "", "The account, or project, that pays.", "NAME", '"physics"'),
    Option("qos", text, "", "The quality of service.", "NAME", '"normal"'),
    Option("constraint", text, "", "What the nodes must have.", "LIST", '"skylake"'),
    Option("job_name", text, "mpidirect", "The job's name.", "NAME"),
    Option("output", text, "", "Where the job's output goes besides its log.", "PATH", '"mpidirect-%j.out"'),
    Option(
        "prologue",
        lines,
        (),
        "A line that the job's script runs first; can be repeated.",
        "LINE",
        '["module load openmpi", "conda activate work"]',
        many=True,
    ),
    Option(
        "directives",
        lines,
        (),
        "A directive more, without its '#SBATCH' or '#PBS'; can be repeated.",
        "LINE",
        '["--exclusive"]',
        aliases=("directive",),
        many=True,
    ),
    Option(
        "without",
        lines,
        (),
        "Leave out directives that begin so; can be repeated.",
        "DIRECTIVE",
        '["--no-requeue"]',
        many=True,
    ),
    Option(
        "template",
        text,
        "",
        "A file that the script is made of instead, with {directives}, {prologue}, {environment}, {command}.",
        "FILE",
        '"/shared/job.template"',
    ),
    Option(
        "controller",
        one_of("shared", "slot", "node"),
        "shared",
        "Where the controller runs: on the first node beside the engines, a rank more than there are tasks "
        "('shared'), on a task of its own there ('slot'), or on a node more, alone ('node').",
        "WHERE",
    ),
    Option(
        "queue_timeout",
        seconds,
        None,
        "How long the job may wait in the queue; without end if not said.",
        "TIME",
        '"30m"',
    ),
    Option("walltime_warning", seconds, 300.0, "How long before its walltime clients warn.", "TIME", '"5m"'),
    Option(
        "resume",
        switch,
        False,
        "Continue in another job when the walltime ends this one: the namespaces are saved and loaded again.",
        "",
        "true",
        is_switch=True,
    ),
    Option("max_resumes", positive, 3, "How many other jobs may continue a cluster.", "N"),
    Option(
        "resume_before",
        seconds,
        60.0,
        "How long before the walltime the namespaces are saved, with --resume.",
        "TIME",
        '"2m"',
    ),
    Option(
        "resume_dir",
        text,
        "",
        "Where the namespaces are saved, with --resume; in the profile's directory if not said.",
        "PATH",
        '"/scratch/me"',
    ),
)

# Options of the command line that choose another host to run a command on.
REMOTE = (
    Option(
        "ssh",
        text,
        "",
        "Run the command on this host, by ssh: from a laptop, on a login node.",
        "HOST",
        '"me@login"',
    ),
    Option(
        "ssh_python",
        text,
        "",
        "The Python of mpidirect on that host; if not said, the mpidirect that a login there finds.",
        "PATH",
        '"/opt/env/bin/python"',
    ),
)
