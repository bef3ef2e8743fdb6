"""The real ssh client and the real sshd, for tests: with keys and settings of their own, for this user.

There is no port: ssh starts an sshd of its own for each connection, in the network of the process that made
these files. ``login`` is that host, ``nowhere`` a host that does not answer.
"""

import os
import shlex
import shutil
import subprocess

from components import absent
from waiting import LIMIT

MISSING = "There is no sshd: apt-get install --no-install-recommends openssh-server openssh-client"

SERVER = """\
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
SetEnv HOME={directory}/account SHELL=/bin/bash
"""

# The file that a login on the remote side reads.
LOGIN = """\
echo Welcome to login
export MPIDIRECT_DIR={there}
"""
INHERITED = ("PATH", "PYTHONPATH", "SLURM_CONF", "UCX_TLS")  # variables that a login sets as they are here

CLIENT = """\
Host nowhere
  HostName 127.0.0.1
  Port 9
Host *
  User {user}
  IdentityFile {directory}/user_key
  IdentitiesOnly yes
  StrictHostKeyChecking yes
  UserKnownHostsFile {directory}/known_hosts
  HostKeyAlias login
Host !nowhere *
  ProxyCommand nsenter --net=/proc/{pid}/ns/net {sshd} -i -E {directory}/sshd.log -f {directory}/sshd_config
"""


def install(home, there):
    """Write an ``ssh`` command to `home`/bin; a login on the remote side sets MPIDIRECT_DIR to `there`."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None or shutil.which("ssh") is None:
        absent(MISSING)
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # noqa: PTH103 - the directory for sshd's privilege separation
    directory = home / "ssh"
    directory.mkdir(mode=0o700)
    for key in ("host_key", "user_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)]
        subprocess.run(command, check=True, timeout=20)
    (directory / "known_hosts").write_text(f"login {(directory / 'host_key.pub').read_text()}")
    (directory / "sshd_config").write_text(SERVER.format(directory=directory))
    (directory / "account").mkdir()
    exports = (f"export {name}={shlex.quote(os.environ[name])}\n" for name in INHERITED if name in os.environ)
    (directory / "account" / ".bash_profile").write_text(LOGIN.format(there=there) + "".join(exports))
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    text = CLIENT.format(directory=directory, pid=os.getpid(), user=user, sshd=sshd)
    (directory / "config").write_text(text)
    command = home / "bin" / "ssh"
    command.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {directory}/config "$@"\n')
    command.chmod(0o755)


ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def on_a_laptop(*command, **options):
    """Run a command in a network without any other host, to its end."""
    return subprocess.run(
        [*ALONE, *command], capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL, **options
    )


def begin_on_a_laptop(*command):
    """Start a command in such a network; its output is a pipe."""
    return subprocess.Popen([*ALONE, *command], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
