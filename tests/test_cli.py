"""The ``softreg`` command as a user meets it: a process with arguments, an exit status and two streams."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from projects import write_study

from softreg import __version__, cli, usage
from softreg.cli import main
from softreg.errors import UserError
from softreg.running import jobs, stages
from softreg.study.config import load_study

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("softreg")
PATH = "shapes/convnet/l1/seed0"
#: Arguments → what the sentence must name: the file or key, and what would be accepted or done about it.
MISTAKES = {
    "check nowhere.yaml": ["nowhere.yaml", "no such file", "tiny.yaml"],
    "check tinny.yaml": ["tinny.yaml", "no such file; did you mean tiny.yaml?"],
    "run tinny": ["tinny", "no such file; did you mean tiny.yaml?"],
    "check .": [".: ", "folder", "give the YAML file"],
    "check torn.yaml": ["torn.yaml", "line 2"],
    "check misspelt.yaml": ["misspelt.yaml", "trainnig", "training"],
    "train tiny.yaml sweep shapes/convnet/l3/seed0": ["tiny.yaml", "shapes/convnet/l3/seed0", PATH],
    "train tiny.yaml final shapes/convnet/l1/seed0": ["tiny.yaml", "final/shapes/convnet/l1/seed0", "seed100"],
    "train tiny.yaml sweep shapes-l1": ["sweep/shapes-l1", "DATASET/MODEL/PENALTY/seedN"],
    f"train tiny.yaml sweep {PATH}": ["dataset.json is missing", "softreg prepare tiny.yaml shapes"],
    "reveal tiny.yaml shapes/convnet/l1": ["shapes/convnet/l1", "select"],
    "prepare tiny.yaml moon": ["tiny.yaml", "'moon'", "shapes"],
    "fetch tiny.yaml moon moon.zip": ["'moon'", "camvid"],
    "fetch tiny.yaml wbc moon.zip": ["wbc", "'moon.zip'", ".zip"],
    "select tiny.yaml": ["results/tiny/sweep", "path.json is missing", "softreg train tiny.yaml sweep"],
    "plan nowhere.yaml": ["nowhere.yaml", "no such file", "tiny.yaml"],
    "plan tiny.yaml --calibrate": ["dataset.json is missing", "softreg prepare tiny.yaml shapes"],
    "status nowhere.yaml --watch": ["nowhere.yaml", "no such file", "tiny.yaml"],
    "gather tiny.yaml": ["dataset.json is missing", "softreg prepare tiny.yaml shapes"],
    f"train tiny.yaml sweep {PATH} shapes/convnet/none/seed0": ["shapes/convnet/none/seed0", "not of one group"],
    "paper results/tiny": ["results/tiny/scores is missing", "snakemake scores"],
}


@pytest.fixture
def folder(tmp_path):
    """A working folder with a good study, and two that are not."""
    study = write_study(tmp_path)
    (tmp_path / "torn.yaml").write_text("datasets: {shapes: {}\nmodels: [\n")
    (tmp_path / "misspelt.yaml").write_text(study.read_text().replace("training:", "trainnig:"))
    return tmp_path


def softreg(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=folder, check=False, capture_output=True, text=True)


@pytest.fixture
def called(folder, monkeypatch, capsys):
    """As `softreg` in the working folder, in this process, without the seconds that one of its own takes to start."""
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        status = main(arguments)
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    return call


def test_help_lists_every_command_once_in_its_group(tmp_path):
    done = softreg(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^    (\w+) +\w", done.stdout, re.MULTILINE)
    _, commands = cli._parser()
    assert sorted(listed) == sorted(commands.choices)
    yours, snakemakes = (done.stdout.index(f"\n    {name} ") for name in ("run", "train"))
    assert yours < done.stdout.index("what Snakemake calls") < snakemakes


def test_help_imports_no_numbers_and_no_torch(tmp_path):
    code = "import sys; from softreg.cli import _parser; _parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "pandas", "yaml", "shtab"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize("name", usage.EXAMPLES)
def test_the_examples_of_a_command_can_be_typed(name):
    parser, commands = cli._parser()
    assert all(example in commands.choices[name].format_help() for example in usage.EXAMPLES[name])
    for example in usage.EXAMPLES[name]:
        words = shlex.split(re.sub(r'  +\(.*|eval "\$\(|\)"|> .*', "", example))
        _, further = parser.parse_known_args(words[1:])
        assert words[:2] == ["softreg", name]
        assert not further or name in ("demo", "run")
        assert all((ROOT / word).is_file() for word in words if word.startswith("config/"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_options(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [word for word in ("status", "watch", "calibrate", "sweep") if word not in script] == []


def test_bash_completes_commands_and_files(folder, capsys):
    main(["completion", "bash"])
    script = folder / "softreg.bash"
    script.write_text(capsys.readouterr().out)

    def completed(*words):
        told = f"source {script}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_softreg; "
        ask = ["bash", "-c", told + 'printf "%s\\n" "${COMPREPLY[@]}"']
        return subprocess.run(ask, cwd=folder, capture_output=True, text=True, check=True).stdout.split()

    assert completed("softreg", "sta") == ["status"]
    assert completed("softreg", "status", "tin") == ["tiny.yaml"]
    assert completed("softreg", "status", "tiny.yaml", "--w") == ["--watch"]


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ([], []),
        (["partial", "--cores", "2", "-n"], ["partial", "--cores", "2", "-n"]),
        (["--slurm", "--jobs", "7"], ["--profile", "profiles/slurm", "--jobs", "7"]),
    ],
)
def test_run_becomes_snakemake_and_shows_the_line(folder, given, started, monkeypatch, capsys):
    became = []
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "execv", lambda program, words: became.append((program, words)))
    main(["run", "tiny.yaml", *given])
    words = ["snakemake", *started, "--config", "study=tiny.yaml"]
    assert became == [(str(COMMAND.with_name("snakemake")), words)]
    assert capsys.readouterr().err == f"{' '.join(words)}\n"


@pytest.mark.slow
def test_run_hands_words_on_to_the_real_snakemake(folder):
    done = softreg(folder, "run", "tiny.yaml", "--version")
    assert (done.returncode, done.stdout) == (0, f"{version('snakemake')}\n")


def test_run_without_snakemake_says_so(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))
    assert main(["run", "tiny.yaml"]) == 2
    assert "snakemake is not installed" in capsys.readouterr().err


def test_version(tmp_path):
    done = softreg(tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"softreg {__version__}\n", "")


def test_check_says_what_a_study_amounts_to(called):
    done = called("check", "tiny.yaml")
    # 1 + 2 values of λ with one tuning seed, and λ̂ of both penalties with two evaluation seeds: 3 + 4 cells.
    expected = "tiny: 1 data set(s) × 1 model(s) × 2 penalties; 2 sweep and 4 final paths, 7 cells"
    amounts, budgets, checks, *decidable = done.stdout.splitlines()
    assert (done.returncode, amounts, done.stderr) == (0, expected, "")
    assert "more trials are more chances: l1 2, none 1." in budgets
    assert checks.startswith("The study trains no checks.")
    assert decidable[0].startswith("What tiny can decide")


@pytest.mark.parametrize("command", ["check", "plan"])
def test_what_a_study_can_decide_is_told_before_it_is_trained(called, command):
    done = called(command, "tiny.yaml")
    assert "H1 gain: not answerable: 2 evaluation seeds, where a verdict needs 5." in done.stdout
    assert done.stdout.count(": not answerable: ") == 7


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_sentence_and_writes_nothing(folder, called, mistake):
    before = sorted(folder.rglob("*"))
    done = called(*mistake.split())
    assert (done.returncode, done.stdout) == (2, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("softreg: ")
    assert [words for words in MISTAKES[mistake] if words not in sentence] == []
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("trian tiny.yaml", '"trian" is unknown; did you mean train?'),
        ("zzz", '"zzz" is unknown; give one of check, demo, new, plan, run, status, '),
        ("train tiny.yaml sweeep x", '"sweeep" is unknown; did you mean sweep?'),
        ("plan tiny.yaml --cores 2", "unrecognized arguments: --cores 2"),
    ],
)
def test_wrong_arguments_show_the_usage_and_what_was_meant(arguments, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage: softreg")
    assert told in shown.err


def test_what_has_not_been_trained_is_not_selected_from(called):
    assert called("prepare", "tiny.yaml", "shapes").returncode == 0
    done = called("select", "tiny.yaml", "shapes/convnet/l1")
    assert done.returncode == 2
    told = f"softreg: results/tiny/sweep/{PATH}/path.json is missing; run `softreg train tiny.yaml sweep {PATH}` first"
    assert done.stderr == f"{told}, or `snakemake` for all\n"


def test_a_study_that_changes_while_it_runs_is_not_gone_on_with(folder, called):
    """Snakemake hands on the key that it has planned with."""
    done = called("train", "tiny.yaml", "sweep", PATH, "--key", "0123456789abcdef")
    assert (done.returncode, done.stdout) == (2, "")
    assert "tiny.yaml, its data or the code has changed since this run began" in done.stderr
    assert not (folder / "results").exists()


def test_ctrl_c_is_told_in_a_sentence(folder):
    assert softreg(folder, "prepare", "tiny.yaml", "shapes").returncode == 0
    process = subprocess.Popen(
        [COMMAND, "plan", "tiny.yaml", "--calibrate"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr.readline() == "calibrating shapes × convnet\n"
    # As a terminal does it: to all processes in the foreground.
    os.killpg(process.pid, signal.SIGINT)
    output, told = process.communicate()
    assert (process.returncode, output, told) == (130, "", "softreg: stopped by a signal\n")


def test_prepare_prints_the_class_shares(folder, called):
    done = called("prepare", "tiny.yaml", "shapes")
    assert done.returncode == 0
    assert "12 train, 6 val, 6 test images of 16 × 24" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(list(folder.glob("data/prepared/shapes-*/dataset.json"))) == 1


def test_a_reader_that_has_read_enough_ends_a_command_without_a_traceback(folder):
    # Nobody reads: the pipe's other end is closed before the command writes.
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [COMMAND, "check", "tiny.yaml"], cwd=folder, check=False, stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_each_fault_of_a_study_is_a_line(tmp_path, capsys):
    file = write_study(tmp_path, title=1, mirrors=2)
    assert main(["check", str(file)]) == 2
    told = [line.partition(";")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [f"softreg: {file}: title is 1", f"softreg: {file}: mirrors is 2"]


def test_a_retry_repeats_a_refusal_without_trying_and_the_next_run_tries(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study = load_study(write_study(tmp_path, datasets={"shapes": {"images": 9, "size": [16, 24], "classes": 2}}))
    monkeypatch.setenv(jobs.REFUSED, "refused")
    tries = []

    def fails(*given):
        tries.append(given)
        raise UserError("mend the masks")

    monkeypatch.setattr(stages, "prepare", fails)
    command = ["prepare", str(study.file), "shapes"]
    for key in ("a", "a", "b"):
        assert main([*command, "--key", key]) == 2
    assert [key for *_, key in tries] == ["a", "b"]
    assert capsys.readouterr().err == 3 * "softreg: mend the masks\n"
    stages.forget_refusals()
    assert main([*command, "--key", "a"]) == 2
    # By hand there is no key, and each try is one.
    assert [main(command), main(command)] == [2, 2]
    assert len(tries) == 5
