"""A real SLURM on this machine, in a folder of its own: munged, slurmctld, and a slurmd for each emulated node."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("n1", "n2", "n3", "n4", "n5", "n6")
CPUS, MEMORY, GPUS = 4, 16000, 2
DAEMONS = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm"}
_SBIN = "/usr/sbin:/usr/bin:/sbin:/bin"

# Times are short where waiting for them teaches nothing; MinJobAge, on which status queries depend, is a site's.
_CONFIGURATION = """
ClusterName=emulated
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={first}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
MpiDefault=none
MinJobAge={job_age}
SlurmctldTimeout=10
SlurmdTimeout=4
KillWait=20
InactiveLimit=0
GresTypes=gpu
NodeName=DEFAULT CPUs={cpus} RealMemory={memory} Gres=gpu:a100:{gpus} Feature=a100
{nodes}
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=60
PartitionName=fragile Nodes=n[3-4] MaxTime=60
PartitionName=low Nodes=n5 MaxTime=60 PriorityTier=1
PartitionName=urgent Nodes=n5 MaxTime=60 PriorityTier=9
PartitionName=pair Nodes=n6 MaxTime=60
PartitionName=parked Nodes=n[1-2] MaxTime=60 State=DOWN
"""


def missing() -> str:
    """What this machine lacks to run a cluster, with the remedy; empty where it lacks nothing."""
    packages = sorted({package for name, package in DAEMONS.items() if shutil.which(name, path=_SBIN) is None})
    if packages:
        return f"no SLURM here: apt-get install --no-install-recommends {' '.join(packages)}"
    return "" if os.geteuid() == 0 else "slurmd starts jobs as root only: run these tests as root"


@dataclass
class Cluster:
    """A running cluster; ``environment`` makes every SLURM command talk to it and to no other."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    def command(self, *arguments: str, check: bool = True) -> str:
        """Run a SLURM command and return what it prints."""
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self, name: str = "") -> list[dict[str, str]]:
        """Fields of all jobs that the controller remembers, oldest first; of one run where its ``name`` is given."""
        shown = self.command("scontrol", "--oneliner", "show", "job")
        jobs = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in shown.splitlines()]
        return [job for job in jobs if "JobId" in job and job["JobName"].startswith(name)]

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground, in a session of its own; it ends with this process, however that ends."""
        command = ("setpriv", "--pdeathsig", "TERM", *command)
        log = (self.folder / f"{name}.out").open("w")
        self.daemons[name] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def start_node(self, node: str) -> None:
        """Start a node's slurmd."""
        self.start(node, "slurmd", "-D", "-N", node)

    def lose_node(self, node: str) -> None:
        """Take a node away as a power cut would: slurmd and all processes of its jobs, none of which sees it come."""
        jobs = self.command("squeue", "--noheader", f"--nodelist={node}", "--format=%A").split()
        lost = [self.daemons[node].pid, *(process for job in jobs for process in self._processes_of(job))]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in lost:
                _send(process, number)
        self.daemons[node].wait()

    def _processes_of(self, job: str) -> list[int]:
        """A job's own processes, and those of SLURM that watch over them."""
        watching = [
            process
            for process in self.processes(f"SLURM_CONF={self.environment['SLURM_CONF']}")
            if any(argument.startswith(f"slurmstepd: [{job}.") for argument in _arguments(process))
        ]
        return watching + self.processes(f"SLURM_JOB_ID={job}")

    def processes(self, setting: str, *command: str) -> list[int]:
        """Processes of this cluster whose environment holds ``setting``, and whose arguments hold ``command``."""
        name, value = setting.split("=", 1)
        places = [int(place.name) for place in Path("/proc").glob("[0-9]*")]
        own = [place for place in places if self.variables(place).get(name) == value]
        return [place for place in own if set(command) <= {Path(part).name for part in _arguments(place)}]

    def variables(self, process: int) -> dict[str, str]:
        """The environment of a process of this cluster; empty for any other."""
        try:
            text = Path(f"/proc/{process}/environ").read_text(errors="replace")
        except OSError:
            return {}
        variables = dict(part.split("=", 1) for part in text.split("\0") if "=" in part)
        return variables if variables.get("SLURM_CONF") == self.environment["SLURM_CONF"] else {}

    def stop(self) -> None:
        """End every daemon and every job."""
        for process in self.daemons.values():
            process.terminate()
        for process in self.daemons.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self.processes(f"SLURM_CONF={self.environment['SLURM_CONF']}"):
            if process != os.getpid():
                _send(process, signal.SIGKILL)


def _arguments(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _send(process: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, number)


@contextmanager
def running(job_age: int = 300) -> Iterator[Cluster]:
    """A cluster of six nodes with two pretended GPUs each; stopped and removed whatever happens inside.

    ``job_age`` is for how many seconds the controller remembers jobs that have ended.
    """
    # Sockets have short names, and munge wants a folder that all users may enter.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))},
        "PATH": f"{folder}/bin:{_SBIN}",
        "SLURM_CONF": f"{folder}/slurm.conf",
    }
    cluster = Cluster(folder, environment)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.callback(cluster.stop)
        _configure(folder, job_age)
        _start(cluster)
        yield cluster


def _configure(folder: Path, job_age: int) -> None:
    (folder / "state").mkdir()
    # Jobs of the plugin drop SLURM_CONF before they call srun, which on a site finds /etc/slurm by itself.
    (folder / "bin").mkdir()
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec /usr/bin/srun "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    devices = [folder / f"gpu{number}" for number in range(GPUS)]
    for device in devices:
        # Not a plain file: slurmd tells jobs of character devices only. This one is /dev/null's kind.
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (folder / "gres.conf").write_text("".join(f"Name=gpu Type=a100 File={device}\n" for device in devices))
    host = socket.gethostname()
    controller, *ports = _free_ports(1 + len(NODES))
    configuration = _CONFIGURATION.format(
        host=host,
        folder=folder,
        controller=controller,
        first=ports[0],
        job_age=job_age,
        cpus=CPUS,
        memory=MEMORY,
        gpus=GPUS,
        nodes="\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            for node, port in zip(NODES, ports, strict=True)
        ),
    )
    (folder / "slurm.conf").write_text(configuration)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _start(cluster: Cluster) -> None:
    folder = cluster.folder
    cluster.start(
        "munged",
        "munged",
        "--foreground",
        "--force",
        f"--key-file={folder}/munge.key",
        f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid",
        f"--seed-file={folder}/munge.seed",
        f"--log-file={folder}/munged.log",
    )
    wait_for(lambda: (folder / "munge.socket").exists(), "munged")
    cluster.start("slurmctld", "slurmctld", "-D", "-c")
    for node in NODES:
        cluster.start_node(node)
    # One line a node and partition, without those that start nothing.
    states = ("sinfo", "--noheader", "--Node", "--partition=main,fragile,low,pair", "--format=%T")
    wait_for(lambda: cluster.command(*states, check=False).split() == ["idle"] * len(NODES), "nodes")


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Poll ``condition`` until it holds. Raises AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.1)
