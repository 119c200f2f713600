"""The ``softreg`` command: every stage of the DAG by hand, on a machine that needs no Snakemake."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from softreg import __version__
from softreg.errors import UserError, each
from softreg.files import altered, digest, write_text
from softreg.own.sources import is_own
from softreg.running import jobs
from softreg.training.stopping import Interrupted
from softreg.usage import Commands, MainParser, Parser, command, completion, main_parser

if TYPE_CHECKING:
    from softreg.study.config import Study

#: Exit statuses after a signal, as shells count them: 128 + SIGTERM, 128 + SIGINT.
_INTERRUPTED = 143
_CTRL_C = 130
#: What ``--key`` is for.
_KEY = "refuse if the work is no longer of this key"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_THE_DISK = (*_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 1 where a user's file breaks its contract, 2 for bad input."""
    jobs.begin()
    parser, _ = _parser()
    options, words = parser.parse_known_args(arguments)
    if words and options.run not in (_run, _demo):
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    options.words = words
    refusal = _refusal(options, sys.argv[1:] if arguments is None else arguments)
    try:
        if refusal and refusal.is_file():
            raise UserError(*refusal.read_text(encoding="utf-8").splitlines())
        code = options.run(options) or 0
        sys.stdout.flush()
        return code
    except UserError as error:
        print(*(f"softreg: {line}" for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        if refusal:
            # It saves retries, and no more.
            with suppress(OSError):
                write_text(refusal, str(error))
        return 2
    except Interrupted as interrupted:
        text = str(interrupted) or "stopped by a signal; the checkpoint is written, run it again to go on"
        print(f"softreg: {text}", file=sys.stderr)
        return _INTERRUPTED
    except KeyboardInterrupt:
        print("softreg: stopped by a signal", file=sys.stderr)
        return _CTRL_C
    except BrokenPipeError:
        # Whoever reads, such as `head`, has read enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        print(f"softreg: {_told(error)}", file=sys.stderr)
        return 2


def _told(error: OSError) -> str:
    """A sentence on what the disk, or the folder, does not allow."""
    place = Path(os.fsdecode(error.filename)) if error.filename else Path.cwd()
    if error.errno in _FULL:
        return (
            f"{place.parent} is on a disk that is full, or the quota is used up ({error.strerror}): nothing of "
            f"{place.name} was left half-written; make room and run the same command again"
        )
    return (
        f"{place} cannot be read or written ({error.strerror}): let this user read and write {place.parent}, and run "
        "the same command again"
    )


def _refusal(options: argparse.Namespace, arguments: Sequence[str]) -> Path | None:
    """Where a stage that Snakemake runs says what it refuses: a retry would meet the same, and repeats it at once.

    None by hand, and of what is fetched, which another try may get.
    """
    folder = os.environ.get(jobs.REFUSED)
    return Path(folder, digest(list(arguments))) if folder and getattr(options, "key", "") else None


def _parser() -> tuple[MainParser, Commands[Parser]]:
    parser, commands = main_parser(__version__)
    check = _takes_study(command(commands, "check", _check))
    check.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the class in a Python file; repeatable"
    )
    demo = command(commands, "demo", _demo, "What is missing of the workflow and of config/demo.yaml is written first.")
    demo.usage = "softreg demo [-h] [further words for Snakemake ...]"
    new = command(commands, "new", _new)
    new.add_argument("noun", choices=("penalty", "model", "dataset"))
    new.add_argument("name", help="what a study will call it, such as my-penalty")
    plan = _study_command(commands, "plan", _plan)
    plan.add_argument("--jobs", type=_count, metavar="N", help="at a time; without it, what this machine allows")
    plan.add_argument("--calibrate", action="store_true", help="time some steps of each data set × model first")
    run = _takes_study(command(commands, "run", _run))
    run.usage = "softreg run [-h] [--slurm] study [target] [further words for Snakemake ...]"
    run.add_argument("--slurm", action="store_true", help="on a cluster, as profiles/slurm/config.yaml says")
    status = _study_command(commands, "status", _status)
    status.add_argument("--watch", action="store_true", help="again every few seconds, until nothing runs")
    _stages(commands)
    diff = command(commands, "diff", _diff, "As Markdown, with intervals, from their scores alone.")
    diff.add_argument("a", type=Path, help="results of the earlier version, with its scores/")
    diff.add_argument("b", type=Path, help="results of the later version")
    merge = command(commands, "merge", _merge, "All that they say has to agree, but for data sets and models.")
    merge.add_argument("results", type=Path, nargs="+", help="folders of results, each with its scores/")
    merge.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="a new folder of results")
    for name in ("paper", "tables", "figures", "report"):
        paper = command(commands, name, _write_paper)
        paper.add_argument("results", type=Path, help="folder of a study's results, with its scores/")
        paper.set_defaults(stage=name, key="")
        if name == "paper":
            paper.add_argument("--key", help=_KEY)
    export = command(commands, "export", _export, _EXPORTS)
    export.add_argument("form", choices=("tensorboard", "crate"))
    export.add_argument("results", type=Path, help="folder of a study's results")
    export.add_argument("out", type=Path, help="a new folder; of a crate also a new file whose name ends in .zip")
    command(commands, "completion", _complete).add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return parser, commands


_EXPORTS = """
tensorboard  the history of each network, as a run of TensorBoard
crate        a finished study with its workflow, as an RO-Crate, for repositories of research data"""


def _stages(commands: Commands[Parser]) -> None:
    """The commands that Snakemake's rules call."""
    fetch = _study_command(commands, "fetch", _fetch)
    fetch.add_argument("kind", help="kind of data set, such as camvid")
    fetch.add_argument("archive", help="file name as published")
    prepare = _study_command(commands, "prepare", _prepare)
    prepare.add_argument("dataset", help="name of a data set in the study")
    train = _study_command(commands, "train", _train)
    train.add_argument("phase", choices=("sweep", "final"), help="sweep or final")
    paths = "DATASET/MODEL/PENALTY/seedN, with -foldN under K-fold; several are of one group"
    train.add_argument("paths", nargs="+", metavar="path", help=paths)
    train.add_argument(
        "--eager", action="store_true", help="on a GPU, launch each kernel of a step: to look for a fault"
    )
    reveal = _study_command(commands, "reveal", _reveal)
    reveal.add_argument("groups", nargs="+", metavar="group", help="DATASET/MODEL/PENALTY")
    select = _study_command(commands, "select", _select)
    select.add_argument("group", nargs="?", help="DATASET/MODEL/PENALTY; without it, all groups")
    gather = _study_command(commands, "gather", _gather)
    for stage in (prepare, train, reveal, select, gather):
        stage.add_argument("--key", default="", help=_KEY)
    gather.add_argument("--partial", action="store_true", help="of whatever has finished, marked partial")


def _study_command(
    commands: Commands[Parser], name: str, run: Callable[[Study, argparse.Namespace], int | None]
) -> Parser:
    """Add a command that ``run`` does, given the study that is named, read."""

    def run_on_study(options: argparse.Namespace) -> int | None:
        from softreg.study.config import load_study

        return run(load_study(options.study), options)

    return _takes_study(command(commands, name, run_on_study))


def _takes_study(parser: Parser) -> Parser:
    parser.add_argument("study", type=Path, help="a study's YAML file")
    return parser


def _count(text: str) -> int:
    """A number of jobs at a time."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of jobs; give 1 or more")
    return int(text)


def _complete(options: argparse.Namespace) -> None:
    print(completion(*_parser(), options.shell))


def _new(options: argparse.Namespace) -> None:
    from softreg.contract.new import new

    print(new(options.noun, options.name), end="")


def _check(options: argparse.Namespace) -> int | None:
    target = str(options.study)
    if target.endswith(".py") or ".py:" in target:
        from softreg.contract.check import check_own

        return 0 if check_own(target, options.option) else 1
    if options.option:
        raise UserError(f"--option is for a Python file of your own, and {target} is none; leave it out")
    _check_study(options.study)
    return 0


def _check_study(file: Path) -> None:
    from softreg.contract.own_images import look_all
    from softreg.study.config import load_study
    from softreg.study.folds import joined
    from softreg.study.lambdas import budgets
    from softreg.study.matrix import count_cells, final_paths, race_told, sweep_paths
    from softreg.study.roles import checks_told, compared

    study = load_study(file)
    own = look_all(study)
    _make_own_penalties(study)
    tried = _tried_networks(study)
    if not any(penalty["kind"] == "none" for penalty in study.penalties.values()):
        print(f"{study.name} has no penalty of kind none: no differences to it will be shown")
    folds = f" in {study.evaluation['folds']} outer folds" if study.evaluation["folds"] else ""
    print(
        f"{study.name}: {len(joined(study.datasets))} data set(s){folds} × {len(study.models)} model(s) × "
        f"{len(compared(study.penalties))} penalties; {len(sweep_paths(study))} sweep and {len(final_paths(study))} "
        f"final paths, {count_cells(study)} cells"
    )
    print(*own, *tried, sep="\n", end="\n" if own or tried else "")
    print(f"{budgets(study.penalties)} {race_told(vars(study))}".strip())
    print(checks_told(study.penalties))
    print(_decidable(study), end="")


def _make_own_penalties(study: Study) -> None:
    """Raise UserError for a penalty of the user's own that cannot be made; the schema has looked at SoftReg's."""
    if own := [entry for entry in study.penalties.values() if is_own(entry["kind"])]:
        from softreg.penalties import make

        each(make, own, "penalties")


def _tried_networks(study: Study) -> list[str]:
    """A line on the networks that were tried; SoftReg's own takes any images, and is not worth importing torch for."""
    if all(model["kind"] == "convnet" for model in study.models.values()):
        return []
    from softreg.contract.networks import try_networks

    return [f"{try_networks(study)} network(s) built, and run on images of the study's sizes without a fault"]


def _decidable(study: Study) -> str:
    """What the study can decide, question by question."""
    from softreg.paper import design
    from softreg.running.places import paper_folder

    return design.told(study, paper_folder(study) / "scores")


def _plan(study: Study, options: argparse.Namespace) -> None:
    from softreg.running.calibrate import calibrate
    from softreg.running.forecast import forecast
    from softreg.running.plan import allowed, plan

    if options.calibrate:
        # What this machine allows at most: with --jobs, a plan may be for another.
        here = allowed(study)
        calibrate(study, min(options.jobs or here, here))
    print(forecast(plan(study), options.jobs), _decidable(study), sep="\n", end="")


def _run(options: argparse.Namespace) -> None:
    from softreg.running.start import start

    start(options.study, options.slurm, options.words)


def _demo(options: argparse.Namespace) -> None:
    from softreg.running.start import demo

    demo(options.words)


def _status(study: Study, options: argparse.Namespace) -> int:
    from softreg.running.status import status, text, watch

    try:
        seen = watch(study) if options.watch else status(study)
    except KeyboardInterrupt:
        return 0
    if not options.watch:
        print(text(seen), end="")
    return 1 if seen.failures else 0


def _fetch(study: Study, options: argparse.Namespace) -> None:
    from softreg.running import stages

    stages.fetch(study, options.kind, options.archive)


def _prepare(study: Study, options: argparse.Namespace) -> None:
    from softreg.running import stages

    if options.dataset not in study.datasets:
        raise UserError(f"{study.file} has no data set {options.dataset!r}; it has {', '.join(study.datasets)}")
    stages.prepare(study, options.dataset, options.key)


def _train(study: Study, options: argparse.Namespace) -> None:
    from softreg.running import stages
    from softreg.study.fingerprint import frozen
    from softreg.study.matrix import find_path

    paths = [find_path(study, options.phase, name) for name in options.paths]
    if len({path.group for path in paths}) > 1:
        raise UserError(f"{' and '.join(options.paths)} are not of one group; give each group to a command of its own")
    with frozen():
        stages.train(study, *paths, key=options.key, eager=options.eager)


def _reveal(study: Study, options: argparse.Namespace) -> None:
    from softreg.running import stages
    from softreg.study.fingerprint import frozen
    from softreg.study.matrix import find_group

    with frozen():
        stages.reveal(study, *(find_group(study, name) for name in options.groups), key=options.key)


def _select(study: Study, options: argparse.Namespace) -> None:
    from softreg.running import stages
    from softreg.study.matrix import find_group, groups

    for group in groups(study) if options.group is None else [find_group(study, options.group)]:
        stages.select(study, group, options.key)


def _gather(study: Study, options: argparse.Namespace) -> None:
    from softreg.running import stages

    if unfinished := stages.gather(study, options.partial, options.key):
        print(unfinished)


def _merge(options: argparse.Namespace) -> None:
    from softreg.scoring.merge import merge

    print(f"{merge(options.results, options.to)} is there; softreg paper {options.to} writes its report")


def _export(options: argparse.Namespace) -> None:
    from softreg.export import crate, tensorboard

    if options.form == "crate":
        _demand_scores(options.results / "scores")
    export = {"crate": crate.export, "tensorboard": tensorboard.export}[options.form]
    print(export(options.results, options.out))


def _diff(options: argparse.Namespace) -> None:
    from softreg.paper.diff import diff

    print(diff(options.a, options.b), end="")


def _write_paper(options: argparse.Namespace) -> None:
    folder = options.results / "scores"
    if not folder.is_dir():
        raise UserError(
            f"{folder} is missing; give the folder of a study's results, such as results/published/wbc, and run "
            "`snakemake scores` first or put published scores there"
        )
    from softreg.running.graph import paper_of

    gathered = [mark.name.removeprefix("made-") for mark in folder.glob("made-*")]
    _demand_scores(folder)
    job = paper_of(options.results, gathered[0] if gathered else "")
    if options.key not in ("", job.key):
        raise UserError(f"{folder} or SoftReg itself has changed since this run began; run the same command again")
    # Published scores are another place's: what their paper takes is told by no study's jobs.
    own = options.results.parent == Path("results") and options.stage == "paper"
    with job.alone(), jobs.job(options.results.name, "paper", "", job.key) if own else nullcontext():
        job.begin()
        whole = options.stage == "paper"
        _write_from_scores(options.results, ("tables", "figures", "report") if whole else (options.stage,))
        if gathered and whole:
            job.end()


def _demand_scores(folder: Path) -> None:
    """Raise UserError where scores are not those that were gathered, so far as a mark tells: published ones have none.

    They are then gathered again by the next run.
    """
    for mark in folder.glob("made-*"):
        if bad := altered(mark, lambda file: True):
            mark.unlink()
            raise UserError(
                f"{bad[0]} is missing or damaged: it is not what was gathered; gather it again by "
                "`snakemake scores`, or fetch it again from where it is kept"
            )


def _write_from_scores(results: Path, parts: Sequence[str]) -> None:
    from softreg.paper.scores import Scores

    scores = Scores(results / "scores")
    if "tables" in parts:
        from softreg.paper.tables import write_tables

        write_tables(scores, results)
    if "figures" in parts:
        from softreg.paper.figures import write_figures

        write_figures(scores, results)
    if "report" in parts:
        from softreg.paper.report import write_report

        write_report(scores, results)


if __name__ == "__main__":
    sys.exit(main())
