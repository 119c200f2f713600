# One study, from its archives to its report: snakemake [target] --config study=config/NAME.yaml
# Targets: all (the default), data, sweep, scores, paper (never trains), partial (whatever has finished).

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from softreg.errors import UserError
from softreg.running import forecast, gpu, places, slurm, stages
from softreg.running.graph import Graph
from softreg.running.plan import allowed
from softreg.study.config import load_study
from softreg.study.matrix import parse_path, sweep_paths

min_version("9.27")


# For `--sdm apptainer`, where an image was built from softreg.def; ignored otherwise.
container: "softreg.sif"


# The first page of `snakemake --report`.
report: "workflow/report/workflow.rst"


if unknown := set(config) - {"study"}:
    raise WorkflowError(f"--config {min(unknown)}: unknown; give study=FILE")

# Snakemake reads what is given as YAML: nothing is None, and 1 a number.
if not isinstance(file := config.get("study", "config/demo.yaml"), str):
    raise WorkflowError(
        f"--config study={file or ''}: names no file; give that of a study, such as study=config/demo.yaml"
    )

try:
    STUDY = load_study(Path(file))
except UserError as error:
    raise WorkflowError(str(error)) from None

stages.set_environment(STUDY)

# A file whose name ends in the key of all that a job depends on says that the job is done: docs/architecture.md.
# Snakemake only looks whether they are there; times, and what it remembers of earlier runs, decide nothing.
GRAPH = Graph(STUDY)
if workflow.is_main_process:
    GRAPH.drop_void_marks()
    stages.forget_refusals()
    # Snakemake would call a file that is asked for by its name up to date, as it is there.
    for job in (GRAPH.gather, GRAPH.paper):
        for file in {place.as_posix() for place in job.makes} & set(sys.argv):
            if Path(file).exists() and not job.made():
                raise WorkflowError(
                    f"{file} is of another version of {STUDY.file}; ask for the target all, or scores"
                )

# A cluster's scheduler shares out its GPUs; there, a number of jobs is given.
GPU_JOBS = None
if STUDY.resources["gpu"] and workflow.nodes is None:
    GPU_JOBS = gpu.share_out(workflow.global_resources.get("gpu").value)
    workflow.register_resource("gpu", GPU_JOBS)


RESULTS = GRAPH.results.as_posix()
LOGS = f"logs/{STUDY.name}"


include: "workflow/rules/common.smk"


wildcard_constraints:
    phase="sweep|final",
    path=r"[^/]+/[^/]+/[^/]+/seed\d+(-fold\d+)?",
    dataset="[^/]+",
    model="[^/]+",
    penalty="[^/]+",
    key="[0-9a-f]{16}",


# Only now are targets and jobs known. Not run by the jobs that a cluster starts, which read this file again.
onstart:
    jobs = list(workflow.dag.needrun_jobs())
    trains = any(job.rule.name == "train_paths" for job in jobs)
    if workflow.executor_plugin.name == "slurm":
        asked = [(job.rule.name, job.resources) for job in jobs if not job.is_local]
        try:
            slurm.check_jobs(str(STUDY.file), asked)
        except UserError as error:
            raise WorkflowError(str(error)) from None
    here = workflow.executor_plugin.common_settings.local_exec
    if trains and here and STUDY.resources["gpu"] and gpu.absent():
        raise WorkflowError(
            f"{STUDY.file}: resources.gpu is set, but this machine has no GPU; set it to 0 to train on the CPU"
        )
    if trains:
        at_once = (
            allowed(STUDY, workflow.cores, GPU_JOBS) if here else workflow.nodes
        )
        forecast.announce(STUDY, at_once)


localrules:
    all,
    data,
    sweep,
    scores,
    paper,
    partial,
    fetch_archive,
    select_lambda,
    gather_scores,
    write_paper,


rule all:
    default_target: True
    input:
        mark(GRAPH.paper),


rule data:
    input:
        [mark(GRAPH.prepare(dataset)) for dataset in STUDY.datasets],


rule sweep:
    input:
        lambda wildcards: marks(map(GRAPH.last, GRAPH.sweep)),


rule scores:
    input:
        mark(GRAPH.gather),


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/select.smk"
include: "workflow/rules/reveal.smk"
include: "workflow/rules/paper.smk"
