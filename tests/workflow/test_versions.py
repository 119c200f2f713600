"""A study under DVC, in fresh clones: what is rebuilt, what is trained, and what is not."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from versioned import (
    BIN,
    STUDY,
    commit,
    files_of,
    is_clean,
    nothing_to_do,
    ran,
    run,
    snakemake,
    stages,
    write_study,
)

from softreg.running.graph import Graph
from softreg.study.config import load_study

RESULTS = "results/tiny"
CELLS = (f"{RESULTS}/sweep", f"{RESULTS}/final")


@pytest.fixture
def copy(cloned):
    """A fresh clone, with all results fetched and none unpacked."""
    return cloned


def test_dvc_runs_a_study_to_its_end(published):
    output = (published.parent / "repro.txt").read_text()
    assert stages(output) == ["data", "benchmark@tiny", "paper@tiny"]
    assert ran(output)["train_paths"] == 4


def empty_tables(folder):
    for name in files_of(folder, f"{RESULTS}/tables"):
        if "made-" not in name:
            (folder / name).write_bytes(b"")


def weights(folder):
    return {
        name: content for name, content in files_of(folder, *CELLS).items() if name.endswith("/weights.safetensors")
    }


def test_a_reader_rebuilds_the_paper_and_trains_nothing(published, copy):
    empty_tables(copy)
    (copy / RESULTS / "metrics.json").unlink()
    run(copy, "make", "--old-file=install", f"BIN={BIN}", "paper")
    assert files_of(copy, f"{RESULTS}/tables") == files_of(published, f"{RESULTS}/tables")
    assert is_clean(copy)
    assert weights(copy) == {}
    assert not (copy / "logs/tiny/train").exists()


def test_one_more_lambda_trains_that_one_only_and_an_older_commit_has_its_results_back(published, copy):
    write_study(copy, penalties={"none": {}, "l1": {"lambda": ["1e-4", "1e-3", "1e-2"]}})
    output = run(copy, "dvc", "repro")
    assert stages(output) == ["benchmark@tiny", "paper@tiny"]
    done = ran(output)
    # The path that it belongs to, and that of λ̂, which may be another one now.
    assert (done["train_paths"], done["reveal_sweep"]) == (2, 1)
    assert "prepare_dataset" not in done
    before, after = files_of(published, *CELLS), files_of(copy, *CELLS)
    cells = {name for name in before if name.endswith("/cell.json")}
    assert {name: after[name] for name in cells} == {name: before[name] for name in cells}
    new = {name for name in after if name.endswith("/cell.json")} - cells
    assert f"{RESULTS}/sweep/shapes/convnet/l1/seed0/lambda-1e-3/cell.json" in new
    assert {name.split("/lambda-")[1] for name in new} == {"1e-3/cell.json"}
    assert is_clean(copy)
    assert nothing_to_do(copy)

    commit(copy, "One more strength")
    run(copy, "git", "checkout", "--quiet", "HEAD~1")
    run(copy, "dvc", "checkout")
    assert is_clean(copy)
    for place in (f"{RESULTS}/tables", f"{RESULTS}/scores"):
        assert files_of(copy, place) == files_of(published, place)
    run(copy, "softreg", "unpack", "config/tiny.yaml")
    assert nothing_to_do(copy)
    old = {name: content for name, content in files_of(copy, *CELLS).items() if name in before}
    assert old == before


def test_dvc_and_snakemake_agree_in_either_order(copy):
    assert stages(run(copy, "dvc", "repro")) == []
    run(copy, "softreg", "unpack", "config/tiny.yaml")
    assert nothing_to_do(copy)
    assert is_clean(copy)
    write_study(copy, title="Another title")
    assert ran(snakemake(copy, "pack")) == {"gather_scores": 1, "write_paper": 1, "pack": 1}
    assert not is_clean(copy)
    # Not told of it, DVC runs its commands, which find nothing to do but the report.
    output = run(copy, "dvc", "repro")
    assert stages(output) == ["benchmark@tiny", "paper@tiny"]
    assert ran(output) == {"write_paper": 1}
    assert is_clean(copy)
    assert nothing_to_do(copy)
    # Told of it, DVC runs none.
    run(copy, "git", "checkout", "--quiet", "dvc.lock")
    assert not is_clean(copy)
    run(copy, "dvc", "commit", "--force")
    assert is_clean(copy)
    assert stages(run(copy, "dvc", "repro")) == []


def test_what_is_not_unpacked_is_not_trained_again(copy):
    write_study(copy, title="Another title", seeds={"tuning": [0], "evaluation": [100, 101]})
    output = snakemake(copy, check=False)
    (said,) = {line for line in output.splitlines() if "softreg unpack config/tiny.yaml" in line}
    assert "results/tiny/packs holds networks that are not unpacked" in said
    assert "Traceback" not in output
    assert ran(output) == {}
    output = snakemake(copy, "data", "scores", check=False)
    assert "holds networks that are not unpacked" in output
    assert weights(copy) == {}


def test_a_run_that_was_interrupted_goes_on(copy, monkeypatch):
    """DVC unpacks first, which must not bring back what is being made again."""
    run(copy, "softreg", "unpack", "config/tiny.yaml")
    write_study(copy, seeds={"tuning": [0], "evaluation": [100, 101, 102]})
    monkeypatch.chdir(copy)
    graph = Graph(load_study(Path("config/tiny.yaml")))
    marks = [graph.train(path).mark.as_posix() for path in graph.final if path.penalty == "none"]
    snakemake(copy, marks[1])
    (copy / marks[0]).unlink()
    assert "1 paths are not as in its packs" in run(copy, "softreg", "unpack", "config/tiny.yaml")
    assert not (copy / marks[0]).exists()
    assert "path.json is missing; run `softreg train" in run(copy, "softreg", "pack", "config/tiny.yaml", check=False)
    planned = snakemake(copy, "--dry-run", "pack")
    assert [f"output: {mark}\n" in planned for mark in marks] == [True, False, True]
    write_study(copy, training={**STUDY["training"], "lr": 2e-3})
    refused = run(copy, "softreg", "pack", "config/tiny.yaml", check=False)
    assert "was made under another version of the study" in refused


def test_an_edit_that_is_taken_back_leaves_no_lambda_behind(copy):
    """Networks that went with it come back from the packs, and λ̂ is what they lead to."""
    run(copy, "softreg", "unpack", "config/tiny.yaml")
    before = weights(copy)
    chosen = copy / RESULTS / "selection/shapes/convnet/l1.csv"
    text = chosen.read_text()
    # As other networks might have led to.
    chosen.write_text(text.replace(",1e-2,", ",1e-4,"))
    assert chosen.read_text() != text
    (mark,) = chosen.parent.glob("l1.made-*")
    mark.rename(mark.with_name("l1.made-0123456789abcdef"))
    for phase in ("sweep", "final"):
        shutil.rmtree(copy / RESULTS / phase)
    run(copy, "softreg", "unpack", "config/tiny.yaml")
    assert chosen.read_text() == text
    assert nothing_to_do(copy)
    assert weights(copy) == before


def test_a_figure_is_drawn_again_in_a_clone_that_has_unpacked_nothing(copy):
    with (copy / "src/softreg/paper/figures/style.py").open("a") as file:
        file.write("# Other colours.\n")
    output = run(copy, "dvc", "repro")
    assert stages(output) == ["paper@tiny"]
    assert ran(output) == {"write_paper": 1}
    assert is_clean(copy)
    assert weights(copy) == {}


def test_an_experiment_changes_one_key_of_the_study(copy):
    change = "config/tiny.yaml:penalties.l1.lambda=['1e-4']"
    output = run(copy, "dvc", "exp", "run", "--set-param", change, "--name", "weak")
    # λ̂ was the other one: it is trained with fresh seeds, and nothing else is trained.
    assert ran(output)["train_paths"] == 2
    after = yaml.safe_load((copy / "config/tiny.yaml").read_text())
    assert after == {**STUDY, "penalties": {"none": {}, "l1": {"lambda": ["1e-4"]}}}
    shown = run(copy, "dvc", "exp", "show", "--csv", "--drop", ".*", "--keep", "Experiment|.*test_miou_points|.*lambda")
    assert "weak" in shown
    assert "datasets.shapes.convnet.l1.test_miou_points" in shown.splitlines()[0]
    assert "penalties.l1.lambda" in run(copy, "dvc", "params", "diff")
    page = run(copy, "dvc", "plots", "diff", "HEAD").split("file://")[1].splitlines()[0]
    assert "validation curves" in Path(page).read_text()
    assert nothing_to_do(copy)


@pytest.fixture
def ssh_server(tmp_path):
    """A real sshd on the loopback interface that lets this user in by a key; its port and the key."""
    if shutil.which("sshd") is None and not Path("/usr/sbin/sshd").exists():
        pytest.skip("there is no sshd here: apt-get install openssh-server")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\n"
        f"PidFile none\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nUsePAM no\n"
        "Subsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", tmp_path / "sshd_config"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert "listening" in server.stderr.readline()
            yield port, tmp_path / "user"
        finally:
            server.terminate()


def test_results_travel_over_ssh(published, tmp_path, ssh_server):
    port, key = ssh_server
    project = shutil.copytree(published, tmp_path / "project")
    remote = f"ssh://127.0.0.1:{port}{tmp_path}/store"
    run(project, "dvc", "remote", "modify", "store", "url", remote)
    run(project, "dvc", "remote", "modify", "store", "keyfile", str(key))
    commit(project, "Results are kept on a server")
    run(project, "dvc", "push")
    other = tmp_path / "other"
    run(project, "git", "clone", "--quiet", str(project), str(other))
    run(other, "dvc", "pull", "--quiet")
    assert is_clean(other)
    assert files_of(other, f"{RESULTS}/packs") == files_of(published, f"{RESULTS}/packs")
