"""What ``softreg --help`` says: the commands in groups, examples of each, and what was meant by a word it lacks."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from softreg.errors import nearest, show

Commands = argparse._SubParsersAction
Run = Callable[[argparse.Namespace], int | None]

GROUPS = {
    "your commands": {
        "check": "check a study, or a Python file of your own, before anything is trained",
        "demo": "run the demo study in this folder, which may be empty",
        "new": "write a first file of your own penalty, model or data set",
        "plan": "show what is left of a study and what it will take",
        "run": "run a study from its archives to its report, with Snakemake",
        "status": "show what of a study runs, waits and has failed",
        "paper": "write tables, figures and report from existing scores; never trains anything",
        "diff": "show what changed between two versions of a study",
    },
    "to share and keep": {
        "merge": "join the scores of several studies, or of all parts of one",
        "export": "write a study's results for other programs",
        "completion": "print a script with which a shell completes these commands",
    },
    "parts of paper": {
        "tables": "write the tables from existing scores",
        "figures": "draw the figures from existing scores",
        "report": "write report.html and metrics.json from existing scores, tables and figures",
    },
    "what Snakemake calls; by hand on a machine without it": {
        "fetch": "fetch one archive of a data set",
        "prepare": "turn a data set's archives into arrays",
        "train": "train and score paths: all λ of one penalty and seed",
        "select": "choose λ̂ from validation scores",
        "reveal": "score groups' sweeps on test, once λ̂ is selected",
        "gather": "collect the score records of a study",
    },
}
"""The commands, each with a line on what it does, by who calls it."""

EXAMPLES = {
    "check": [
        "softreg check config/wbc.yaml",
        "softreg check own/penalties.py:MyPenalty --option p=0.5",
    ],
    "demo": ["softreg demo", "softreg demo -n                         (only shows what would run)"],
    "new": ["softreg new penalty my-penalty", "softreg new dataset lesions"],
    "plan": ["softreg plan config/wbc.yaml", "softreg plan config/wbc.yaml --calibrate --jobs 8"],
    "run": [
        "softreg run config/demo.yaml",
        "softreg run config/wbc.yaml partial     (a report on what has finished so far)",
        "softreg run config/wbc.yaml --slurm -n  (on a cluster; -n only shows what would run)",
    ],
    "status": ["softreg status config/wbc.yaml", "softreg status config/wbc.yaml --watch"],
    "paper": ["softreg paper results/demo", "softreg paper results/published/wbc"],
    "diff": ["softreg diff results/published/wbc results/wbc"],
    "merge": ["softreg merge results/wbc-a-part-*-of-5 --to results/wbc-a"],
    "export": [
        "softreg export tensorboard results/demo events/demo",
        "softreg export crate results/demo demo.zip",
    ],
    "completion": [
        'eval "$(softreg completion bash)"       (in ~/.bashrc)',
        "softreg completion zsh > ~/.zfunc/_softreg",
    ],
}


class Parser(argparse.ArgumentParser):
    """Says of a word that is none of the choices which one was meant."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        known = [*(action.choices or ())]
        if known and value not in known:
            near = nearest(value, known, 1, 0.6)
            meant = f"did you mean {near[0]}?" if near else f"give one of {', '.join(known)}"
            raise argparse.ArgumentError(action, f"{show(value)} is unknown; {meant}")


class MainParser(Parser):
    """Lists the commands in their groups."""

    def format_help(self) -> str:
        """The usage, and a line for each command."""
        lines = [f"usage: {self.usage}", "", str(self.description)]
        for group, commands in GROUPS.items():
            lines += ["", f"{group}:", *(f"    {name:<12}{text}" for name, text in commands.items())]
        return "\n".join([*lines, "", str(self.epilog), ""])


def main_parser(version: str) -> tuple[MainParser, Commands[Parser]]:
    """The parser of ``softreg``, and what takes its commands."""
    parser = MainParser(
        prog="softreg",
        usage="softreg [--help] [--version] COMMAND ...",
        description="Benchmark weight regularisation for image segmentation.",
        epilog="softreg COMMAND --help explains a command, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"softreg {version}")
    return parser, parser.add_subparsers(metavar="COMMAND", required=True, prog="softreg", parser_class=Parser)


def command(commands: Commands[Parser], name: str, run: Run, about: str = "") -> Parser:
    """Add a command; ``about`` is what its own help says beside its line and its examples."""
    text = next(group[name] for group in GROUPS.values() if name in group)
    examples = "".join(f"\n  {example}" for example in EXAMPLES.get(name, []))
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}." + (f"\n{about}" if about else ""),
        epilog=f"examples:{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def completion(parser: MainParser, commands: Commands[Parser], shell: str) -> str:
    """A script with which ``shell`` completes the commands, their options and names of files."""
    import shtab

    for action in (action for each in commands.choices.values() for action in each._actions):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script
