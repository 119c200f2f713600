"""Studies on a real SLURM of emulated nodes, under profiles/slurm, with what goes wrong on clusters.

Most of the time is waiting, so all cases run at once from the start, each in a copy of the project.
"""

import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml
from cluster import Cluster, missing, running, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
STUDY = {
    "datasets": {"shapes": {"images": 16, "size": [16, 16], "split": {"val": 0.25, "test": 0.25}}},
    "models": {"convnet": {}},
    "penalties": {"l1": {"lambda": [1e-4]}},
    "training": {"batch_size": 4, "validate_every": 50, "checkpoint_seconds": 0.2},
    "seeds": {"tuning": [0], "evaluation": [100]},
    "resources": {"threads": 1, "mem_mb": 1000, "runtime": 20},
}
PATH = "sweep/shapes/convnet/l1/seed0"
GOAL = f"results/tiny/{PATH}/path.json"
# The first look at a job comes after so many seconds, later ones ten seconds apart and more.
QUICK = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5")


class Run:
    """Snakemake in a copy of the project, as a user of the cluster starts it."""

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str, **environment: str) -> None:
        self.cluster, self.folder, self.file = cluster, folder, folder / "snakemake.out"
        environment = {**cluster.environment, **environment}
        command = ("snakemake", *arguments, *QUICK, "--config", "study=config/tiny.yaml")
        files = (str(self.file), str(self.file))
        self.process = programs.start(folder, *command, environment=environment, files=files)

    @property
    def output(self) -> str:
        return self.file.read_text()

    @property
    def jobs(self) -> list[dict[str, str]]:
        """What the controller remembers of this project's jobs."""
        jobs = self.cluster.jobs()
        return [job for job in jobs if job["WorkDir"] == str(self.folder) and job["JobName"] != "softreg-check"]

    def wait(self, check: bool = True) -> int:
        self.process.join(600)
        code = self.process.exitcode
        assert code is not None, f"it still runs: {self.output[-6000:]}"
        assert not check or code == 0, self.output[-6000:]
        return code

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.kill(self.process.pid, signal.SIGINT)

    def held_job(self) -> tuple[dict[str, str], int]:
        """The first job, and its training process, which is stopped (SIGSTOP) in the middle of it."""
        checkpoint = self.folder / f"results/tiny/{PATH}/lambda-1e-4/checkpoint.pt"
        wait_for(lambda: checkpoint.is_file() and "epoch 3/" in _log(self.folder), "a checkpoint", 400)
        (job,) = self.jobs
        (process,) = self.cluster.processes(f"SLURM_JOB_ID={job['JobId']}", "softreg", "train")
        os.kill(process, signal.SIGSTOP)
        return job, process


def make_project(folder: Path, epochs: int = 150, seeds: tuple[int, ...] = (0,), **resources: int) -> Path:
    """A copy of the project with the tiny study."""
    (folder / "config").mkdir(parents=True)
    for name in ("Snakefile", "workflow", "profiles"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    study = {
        **STUDY,
        "training": {**STUDY["training"], "epochs": epochs},
        "seeds": {**STUDY["seeds"], "tuning": list(seeds)},
        "resources": {**STUDY["resources"], **resources},
    }
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(study))
    return folder


def prepared(folder: Path, **study: Any) -> Path:
    """The same, with its data prepared: the first job is a training."""
    make_project(folder, **study)
    _run(folder, "softreg", "prepare", "config/tiny.yaml", "shapes")
    return folder


def _run(folder: Path, *command: str) -> None:
    done = programs.run(folder, *command)
    assert done.returncode == 0, done.stderr[-6000:]


def uncomment(folder: Path, *keys: str) -> None:
    """Delete the # before keys of the SLURM profile, as its comments say."""
    profile = folder / "profiles/slurm/config.yaml"
    text = profile.read_text()
    for key in keys:
        text, found = re.subn(rf"^#(  {key}\b)", r"\1", text, flags=re.MULTILINE)
        assert found, key
    profile.write_text(text)


def _log(folder: Path) -> str:
    # Its name ends in the job's key.
    return "".join(file.read_text() for file in folder.glob(f"logs/tiny/train/{PATH}-*.log"))


def _weights(folder: Path) -> list[str]:
    return [cell["weights_sha256"] for cell in json.loads((folder / GOAL).read_text())["cells"]]


# What happens to the studies. Each case returns its finished run, and what it saw on the way.


def case_local(cluster: Cluster, folder: Path) -> Path:
    _run(make_project(folder, 2), "snakemake", "--cores", "1", "scores", "--config", "study=config/tiny.yaml")
    return folder


def case_finished(cluster: Cluster, folder: Path) -> Run:
    run = Run(cluster, make_project(folder, 2))
    run.wait()
    return run


def case_cancelled(cluster: Cluster, folder: Path) -> Run:
    run = Run(cluster, prepared(folder), "sweep")
    job, _ = run.held_job()
    cluster.command("scancel", job["JobId"])
    run.wait()
    return run


def case_limit(cluster: Cluster, folder: Path) -> Run:
    run = Run(cluster, prepared(folder), "sweep")
    job, _ = run.held_job()
    # The least limit is a minute; a job in progress may be given less.
    cluster.command("scontrol", "update", f"JobId={job['JobId']}", "EndTime=now+1seconds")
    run.wait()
    return run


def case_lost(cluster: Cluster, folder: Path) -> tuple[Run, str]:
    run = Run(cluster, prepared(folder), "sweep", "--default-resources", "slurm_partition=fragile")
    job, _ = run.held_job()
    cluster.lose_node(job["NodeList"])
    run.wait()
    return run, job["NodeList"]


def case_preempted(cluster: Cluster, folder: Path) -> Run:
    run = Run(cluster, prepared(folder), "sweep", "--default-resources", "slurm_partition=low")
    run.held_job()
    cluster.command("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
    run.wait()
    return run


def case_stopped(cluster: Cluster, folder: Path) -> tuple[Run, list[dict[str, str]]]:
    """Ctrl-C, and the same command again."""
    first = Run(cluster, prepared(folder), "sweep")
    first.held_job()
    first.interrupt()
    assert first.wait(check=False) != 0
    wait_for(lambda: first.jobs[0]["JobState"] != "COMPLETING", "the end of the job")
    jobs = first.jobs
    again = Run(cluster, folder, "sweep")
    again.wait()
    return again, jobs


def case_placed(cluster: Cluster, folder: Path) -> tuple[Run, dict[str, str]]:
    """Two trainings on pretended GPUs, which cannot compute; the devices that SLURM gave to each job."""
    options = ("--retries", "1", "--default-resources", "slurm_partition=pair")
    run = Run(cluster, prepared(folder, seeds=(0, 1), gpu=1), "sweep", *options)
    devices: dict[str, str] = {}

    def seen() -> bool:
        for process in cluster.processes("SOFTREG_STUDY=config/tiny.yaml", "softreg", "train"):
            variables = cluster.variables(process)
            if variables.get("SLURM_SUBMIT_DIR") == str(folder):
                devices[variables["SLURM_JOB_ID"]] = (
                    f"{variables['SLURMD_NODENAME']} {variables['CUDA_VISIBLE_DEVICES']}"
                )
        return run.process.exitcode is not None

    wait_for(seen, "two tries of two jobs", 500)
    return run, devices


#: Lines of the profile that a site uncomments, the study's GPUs, and what the job then asks for.
ASKED = {
    "gpu": ((), 1, {"TresPerJob": "gres:gpu:1"}),
    "model": (("gpu_model",), 1, {"TresPerJob": "gres:gpu:a100:1"}),
    "gres": (
        ("gres", "train_paths", "reveal_sweep"),
        1,
        {"TresPerNode": "gres:gpu:a100:1"},
    ),
    "cpu study, model": (("gpu_model",), 0, {}),
    "cpu study, gres": (("gres", "train_paths", "reveal_sweep"), 0, {}),
    "others": (("constraint", "qos", "slurm_extra"), 0, {"Features": "a100", "ExcNodeList": "n1"}),
}


def case_asked(cluster: Cluster, folder: Path) -> dict[str, dict[str, str]]:
    """The record of a training that waits in a partition that starts nothing, for each of ASKED."""
    records = {}
    for number, (name, (keys, gpu, _)) in enumerate(ASKED.items()):
        project = prepared(folder / str(number), threads=3, mem_mb=1234, runtime=7, gpu=gpu)
        uncomment(project, "slurm_partition: gpu", *keys)
        profile = project / "profiles/slurm/config.yaml"
        profile.write_text(profile.read_text().replace("slurm_partition: gpu", "slurm_partition: parked"))
        run = Run(cluster, project, "sweep")
        wait_for(lambda run=run: run.jobs or run.process.exitcode is not None, "a job", 240)
        assert run.jobs, run.output
        records[name] = run.jobs[0]
        run.interrupt()
        run.wait(check=False)
    return records


#: What the study or the profile asks for in vain, and what is said.
REFUSED = {
    "partition": ({}, "slurm_partition=nosuch", r"invalid partition specified: nosuch.* give slurm_partition in "),
    "cpus": ({"threads": 5}, "qos=x", r"CPU count per node can not be satisfied.* ask for less in config/tiny.yaml"),
    "more cpus": ({"threads": 99}, "qos=x", r"resources.threads is 99 and partition main has 4 processors a node"),
    "memory": ({"mem_mb": 99999}, "qos=x", r"Memory specification can not be satisfied.* now 1 CPUs, 99999 MB"),
    "model": ({"gpu": 1}, "gpu_model=h100", r"Requested node configuration is not available.* another slurm_partition"),
    "feature": ({}, "constraint=nosuch", r"Invalid feature specification.* give constraint in profiles/slurm"),
    "time": ({"runtime": 90}, "qos=x", r"resources.runtime is 90 and partition main has 60 minutes"),
}


def case_refused(cluster: Cluster, folder: Path) -> dict[str, Run]:
    runs = {}
    for name, (resources, setting, _) in REFUSED.items():
        project = make_project(folder / name, **resources)
        runs[name] = Run(cluster, project, "--default-resources", setting)
        runs[name].wait(check=False)
    return runs


def case_unfit(cluster: Cluster, folder: Path) -> dict[str, Run]:
    """A login node without sacct, an account where none are kept, and a controller that forgets early."""
    tools = folder / "tools"
    tools.mkdir()
    for tool in (Path("/usr/bin") / name for name in ("sbatch", "scancel", "scontrol", "sinfo", "squeue", "which")):
        (tools / tool.name).symlink_to(tool)
    runs = {
        "sacct": Run(cluster, make_project(folder / "sacct"), PATH=f"{tools}:/bin-without-slurm"),
        "account": Run(cluster, make_project(folder / "account"), "--default-resources", "slurm_account=mine"),
    }
    with running(job_age=60) as forgetful:
        runs["age"] = Run(forgetful, make_project(folder / "age"))
        for run in runs.values():
            run.wait(check=False)
    return runs


CASES = {name.removeprefix("case_"): case for name, case in list(globals().items()) if name.startswith("case_")}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if reason := missing():
        (pytest.fail if os.environ.get("SOFTREG_REQUIRE_SLURM") else pytest.skip)(reason)
    with running() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def outcome(cluster, tmp_path_factory):
    """The outcome of a case; all begin at once."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        started = {name: pool.submit(case, cluster, tmp_path_factory.mktemp(name)) for name, case in CASES.items()}
        yield lambda name: started[name].result()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Digests of the weights of the path in question, trained without Snakemake, SLURM or a stop."""
    folder = prepared(tmp_path_factory.mktemp("alone"))
    _run(folder, "softreg", "train", "config/tiny.yaml", *PATH.split("/", 1))
    return _weights(folder)


def _scores(folder: Path) -> dict[str, str]:
    files = sorted((folder / "results/tiny/scores").glob("*.parquet"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_scores_are_those_of_a_local_run(outcome):
    scores = _scores(outcome("finished").folder)
    assert len(scores) == 7
    assert scores == _scores(outcome("local"))
    assert (outcome("finished").folder / "results/tiny/report.html").is_file()


def test_only_what_computes_is_submitted(outcome):
    rules = sorted(re.match(r"rule_(\w+?)(_wildcards|$)", job["Comment"])[1] for job in outcome("finished").jobs)
    assert rules == ["prepare_dataset", "reveal_sweep", "train_paths", "train_paths"]


def _went_on(run: Run, undisturbed: list[str]) -> bool:
    return bool(re.search(r"λ=1e-4: goes on after epoch \d", _log(run.folder))) and _weights(run.folder) == undisturbed


def test_a_cancelled_job_is_submitted_again_and_goes_on(outcome, undisturbed):
    run = outcome("cancelled")
    assert [job["JobState"] for job in run.jobs] == ["CANCELLED", "COMPLETED"]
    assert "SLURM status is: 'CANCELLED'" in run.output
    assert _went_on(run, undisturbed)


def test_a_job_at_its_time_limit_is_submitted_again_and_goes_on(outcome, undisturbed):
    run = outcome("limit")
    assert [job["JobState"] for job in run.jobs] == ["TIMEOUT", "COMPLETED"]
    assert "SLURM status is: 'TIMEOUT'" in run.output
    assert _went_on(run, undisturbed)


def test_a_job_whose_node_is_lost_is_queued_again_and_goes_on_elsewhere(outcome, undisturbed):
    run, node = outcome("lost")
    (job,) = run.jobs
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert job["NodeList"] != node
    assert _went_on(run, undisturbed)


def test_a_preempted_job_is_queued_again_and_goes_on(outcome, undisturbed):
    run = outcome("preempted")
    (job,) = run.jobs
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")
    assert _went_on(run, undisturbed)


def test_ctrl_c_cancels_the_jobs_and_the_same_command_goes_on(outcome, undisturbed):
    run, jobs = outcome("stopped")
    assert [job["JobState"] for job in jobs] == ["CANCELLED"]
    assert _went_on(run, undisturbed)


def test_two_jobs_share_a_node_with_a_gpu_each(outcome):
    run, devices = outcome("placed")
    # Each is submitted again, as it failed.
    assert len(run.jobs) == 4
    assert {devices[job["JobId"]] for job in run.jobs[:2]} == {"n6 0", "n6 1"}
    assert "torch sees no GPU here" in _log(run.folder)


@pytest.mark.parametrize("name", ASKED)
def test_a_job_asks_for_what_the_study_and_the_profile_say(outcome, name):
    """Three processors too, though Snakemake counts two cores here and profiles/default says `cores: all`."""
    job = outcome("asked")[name]
    assert (job["NumCPUs"], job["MinMemoryNode"], job["TimeLimit"]) == ("3", "1234M", "00:07:00")
    assert (job["Partition"], job["Requeue"]) == ("parked", "1")
    expected = ASKED[name][2]
    assert {key: job[key] for key in expected} == expected
    if not ASKED[name][1]:
        assert "gpu" not in " ".join(job.values())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("sacct", "sacct is not found here, and the SLURM plugin of Snakemake calls it"),
        ("account", "gives slurm_account mine and this cluster keeps no accounts; leave it out"),
        ("age", "forgets jobs 60 seconds after their end.* raise MinJobAge in slurm.conf to 183 or more"),
    ],
)
def test_a_cluster_that_would_not_do_is_told_in_one_sentence(outcome, name, sentence):
    run = outcome("unfit")[name]
    assert run.process.exitcode != 0
    assert len(re.findall(sentence, run.output)) == 1
    assert "Traceback" not in run.output
    assert "submitted" not in run.output


@pytest.mark.parametrize("name", REFUSED)
def test_what_slurm_would_never_run_is_told_in_one_sentence_before_any_job(outcome, name):
    run = outcome("refused")[name]
    assert run.process.exitcode != 0
    (said,) = [line for line in run.output.splitlines() if "jobs of rule" in line]
    assert re.search(REFUSED[name][2], said)
    assert "Traceback" not in run.output
    assert run.jobs == []
    assert not (run.folder / "results").exists()
