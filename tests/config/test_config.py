"""Options, settings and profiles."""

import stat
import subprocess
import sys
import textwrap

import pytest

from mpidirect.cluster.cluster import Cluster
from mpidirect.config import config
from mpidirect.config.definitions import BATCH, COMMON, REMOTE
from mpidirect.config.options import Options
from mpidirect.config.values import port, positive, seconds, size
from mpidirect.errors import ClusterNotFound, ConfigError
from mpidirect.files import connection_file
from mpidirect.files.profiles import ClusterRecord, Profile, find_connection_file, home, profile_names

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    for option in COMMON:
        monkeypatch.delenv(option.variable, raising=False)
    monkeypatch.delenv("MPIDIRECT_PROFILE", raising=False)
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("MPIDIRECT_SITE_CONFIG", str(tmp_path / "site.toml"))


ALL = (*COMMON, *BATCH, *REMOTE)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


# Values


@pytest.mark.parametrize(
    ("check", "given", "meant"),
    [
        (positive, 4, 4),
        (positive, "4", 4),
        (seconds, 1.5, 1.5),
        (seconds, "90s", 90),
        (seconds, "5m", 300),
        (seconds, "1h", 3600),
        (seconds, 0, 0),
        (size, "1GiB", 1 << 30),
        (size, "512 MiB", 512 << 20),
        (size, "2GB", 2 * 10**9),
        (size, 100, 100),
        (port, 40000, "40000"),
        (port, "40000-40100", "40000-40100"),
        (port, "0", "0"),
    ],
)
def test_a_value_is_understood(check, given, meant):
    assert check(given) == meant


@pytest.mark.parametrize(
    ("check", "given"),
    [
        (positive, 0),
        (positive, "x"),
        (positive, 2.5),
        (positive, True),
        (seconds, "soon"),
        (seconds, -1),
        (seconds, "inf"),
        (seconds, [1]),
        (size, "many"),
        (size, "1 XB"),
        (port, "70000"),
        (port, "5-3"),
        (port, True),
    ],
)
def test_a_wrong_value_says_what_is_expected(check, given):
    with pytest.raises(ValueError, match=r"^(a|bytes|seconds)"):
        check(given)


# Where values come from


def test_later_places_win(tmp_path, monkeypatch):
    site = write(tmp_path / "site.toml", "n = 1\nport = 1\nip = 'a'\nlauncher = 'x'\n")
    own = write(tmp_path / "config.toml", "n = 2\nport = 2\nip = 'b'\n")
    monkeypatch.setenv("MPIDIRECT_N", "3")
    monkeypatch.setenv("MPIDIRECT_PORT", "3")
    settings = config.resolve(own, {"n": 4, "port": None})
    assert (settings["n"], settings["port"], settings["ip"], settings["launcher"]) == (4, "3", "b", "x")
    assert settings["keep_logs"] == 5
    sources = {name: settings.source(name) for name in ("n", "port", "ip", "launcher", "keep_logs")}
    assert sources == {
        "n": "given",
        "port": "MPIDIRECT_PORT",
        "ip": f"{own}, line 3",
        "launcher": f"{site}, line 4",
        "keep_logs": "default",
    }


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("n = 4\nlanucher = 'mpiexec'\n", 2, "did you mean 'launcher'"),
        ("\n\nstart-timeout = 3\n", 3, "did you mean 'start_timeout'"),
        ("n = 4\n\n'n2' = 3\n", 3, "did you mean 'n'"),
        ("n = 'four'\n", 1, "a whole number of at least 1"),
        ("# one\nbudget = 'much'\n", 2, "a size like"),
        ("ip = 5\n", 1, "a text in quotes"),
        ("n = 4\n[mpiexec]\nx = 1\n", 2, "a text in quotes"),
        ("n = 4\n[cluster]\nx = 1\n", 2, "unknown option 'cluster'"),
        ("n = 4\nn = = 3\n", 2, "not TOML"),
        ("n = 4\nn = 5\n", 2, "not TOML"),
        ("n = 4\nip = '", 2, "not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_shown_with_its_line(tmp_path, text, line, says):
    path = write(tmp_path / "config.toml", text)
    with pytest.raises(ConfigError) as caught:
        config.resolve(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert says in str(caught.value)
    assert text.splitlines()[line - 1].strip() in str(caught.value)


def test_a_mistake_in_the_environment_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_STOP_TIMEOUT", "never")
    with pytest.raises(ConfigError, match=r"MPIDIRECT_STOP_TIMEOUT: .*never"):
        config.resolve(tmp_path / "config.toml")


def test_a_config_file_that_is_no_text(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="can't be read"):
        config.resolve(path)


def test_the_commented_defaults_are_the_defaults(tmp_path):
    path = write(tmp_path / "config.toml", config.commented_defaults(ALL))
    assert dict(config.resolve(path)) == {option.name: option.default for option in ALL}
    for option in ALL:
        assert option.help in path.read_text()


def test_each_commented_line_is_valid(tmp_path):
    text = config.commented_defaults(ALL)
    lines = [line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line]
    settings = config.resolve(write(tmp_path / "config.toml", "\n".join(lines)))
    assert len(lines) == len(ALL)
    assert (settings["n"], settings["ip"], settings["start_timeout"]) == (4, "ib0", 300)


def test_chosen_values_are_written_as_settings(tmp_path):
    chosen = {"n": 8, "mpiexec": 'a "b" \\c', "start_timeout": 0.5}
    path = write(tmp_path / "config.toml", config.commented_defaults(COMMON, chosen))
    settings = config.resolve(path)
    assert {name: settings[name] for name in chosen} == chosen


# Options of a cluster


def test_a_misspelt_keyword_is_told_at_once():
    with pytest.raises(ConfigError, match="unknown option 'start_timout'; did you mean 'start_timeout'"):
        Cluster(start_timout=3)


def test_an_unknown_launcher_is_told():
    with pytest.raises(ConfigError, match="unknown launcher 'mpiexc'; did you mean 'mpiexec'"):
        Cluster(launcher="mpiexc").start()


def test_options_have_distinct_flags_and_variables():
    flags = [flag for option in COMMON for flag in option.declarations]
    assert len(flags) == len(set(flags))
    assert Options().all["start_timeout"].variable == "MPIDIRECT_START_TIMEOUT"


# Profiles


def test_profiles_are_private():
    here = Profile("one").create()
    assert stat.S_IMODE(home().stat().st_mode) == 0o700
    assert stat.S_IMODE(here.directory.stat().st_mode) == 0o700
    assert profile_names() == ["one"]


def test_an_open_directory_is_refused_with_the_remedy():
    home().mkdir(mode=0o755)
    home().chmod(0o755)
    with pytest.raises(ConfigError, match=f"chmod 700 {home()}"):
        Profile().create()


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "a b", "-x"])
def test_a_bad_name_is_refused(name):
    with pytest.raises(ConfigError, match="can't be a profile's name"):
        Profile(name)


@pytest.mark.parametrize("cluster_id", ["", "../x", "a/b", "a:b"])
def test_a_bad_cluster_id_is_refused(cluster_id):
    with pytest.raises(ConfigError, match="can't be a cluster's id"):
        Profile(f"default:{cluster_id}")


def test_the_profile_of_the_environment(monkeypatch):
    assert Profile().name == "default"
    monkeypatch.setenv("MPIDIRECT_PROFILE", "mpi")
    assert Profile().name == "mpi"


def test_an_unknown_profile_suggests_one():
    Profile("simulation").create()
    with pytest.raises(ClusterNotFound, match="Did you mean 'simulation'"):
        find_connection_file("simulaton")


def connection(profile, cluster):
    info = connection_file.ConnectionInfo(
        cluster=cluster, addresses=[], server_key="", client_key="", client_secret="", host=""
    )
    path = profile.connection_file(cluster)
    connection_file.write(info, path)
    return path


def record(cluster):
    return ClusterRecord(cluster=cluster, launcher="mpiexec", engines=2, host="h", started=1.0)


def test_the_connection_file_of_the_running_cluster_is_found():
    here = Profile("mpi").create()
    with pytest.raises(ClusterNotFound, match="mpidirect start"):
        find_connection_file("mpi")
    one, two = connection(here, "1"), connection(here, "2")
    assert find_connection_file("mpi") in (one, two)
    here.remember(record("1"))
    assert find_connection_file("mpi") == one
    one.unlink()
    with pytest.raises(ClusterNotFound, match="not ready yet, or has ended"):
        find_connection_file("mpi")


def test_a_record_is_private_and_read_back():
    here = Profile().create()
    assert here.record() is None
    here.remember(record("1"))
    assert here.record() == record("1")
    assert stat.S_IMODE(here.record_file.stat().st_mode) == 0o600
    here.record_file.write_text("{")
    with pytest.raises(ConfigError, match=r"cluster\.json is damaged"):
        here.record()


def test_forgetting_a_cluster_leaves_the_others():
    here = Profile().create()
    one, two = connection(here, "1"), connection(here, "2")
    here.remember(record("2"))
    assert here.clusters() == {"1", "2"}
    assert here.forget("1") == [one]
    assert two.exists() and here.record() is not None
    here.forget("2")
    assert here.clusters() == set() and here.record() is None


def test_only_the_newest_logs_are_kept():
    import os

    here = Profile().create()
    for number in range(4):
        here.log_directory(str(number)).mkdir(parents=True)
        os.utime(here.log_directory(str(number)), (number, number))
    here.prune_logs(2)
    assert sorted(path.name for path in here.logs.iterdir()) == ["2", "3"]
    assert here.last_logs() == here.log_directory("3")


def test_finding_a_cluster_imports_nothing_heavy():
    code = """if True:
        import sys, mpidirect.files.profiles
        print({"mpi4py", "click", "rich", "psutil", "mpidirect.launchers"} & sys.modules.keys())
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "set()"


def test_options_for_schedulers():
    options = Options()
    for given, meant in [
        ("90m", "1:30:00"),
        ("2-00:00:00", "48:00:00"),
        ("5:00", "0:05:00"),
        ("1d", "24:00:00"),
    ]:
        assert options.value("walltime", given) == meant
        assert options.value("walltime", meant) == meant
    for wrong in (60, "60", "0m", "soon", ""):
        with pytest.raises(ConfigError, match="a time like 90m"):
            options.value("walltime", wrong)
    assert options.value("prologue", "a\nb") == options.value("prologue", ["a", "b"]) == ("a", "b")
    with pytest.raises(ConfigError, match="lines, like"):
        options.value("prologue", [1])
    with pytest.raises(ConfigError, match="'shared' or 'slot'"):
        options.value("controller", "far")


def test_an_option_has_other_names(tmp_path, monkeypatch):
    file = write(tmp_path / "config.toml", "partition = 'short'")
    assert config.resolve(file)["queue"] == "short"
    assert config.resolve(file, {"partition": "long"})["queue"] == "long"
