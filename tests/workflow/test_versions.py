"""A study under DVC, in fresh clones: what is rebuilt, what is trained, and what is not."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from test_workflow import ran
from versioned import (
    BIN,
    STUDY,
    clone,
    commit,
    files_of,
    is_clean,
    nothing_to_do,
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
    """A fresh clone, with all results fetched."""
    return cloned


def test_dvc_runs_a_study_to_its_end(published):
    output = (published.parent / "repro.txt").read_text()
    assert stages(output) == ["data", "benchmark@tiny", "paper@tiny"]
    assert ran(output)["train_paths"] == 4


def weights(folder):
    return {
        name: content for name, content in files_of(folder, *CELLS).items() if name.endswith("/weights.safetensors")
    }


def test_a_reader_rebuilds_the_paper_from_the_scores_alone(published, tmp_path):
    other = clone(published, tmp_path / "other", f"{RESULTS}/scores")
    run(other, "make", "--old-file=install", f"BIN={BIN}", "paper")
    assert files_of(other, f"{RESULTS}/tables") == files_of(published, f"{RESULTS}/tables")
    assert weights(other) == {}
    assert not (other / "logs/tiny/train").exists()


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
    assert nothing_to_do(copy)
    assert files_of(copy, *CELLS) == before


def test_dvc_and_snakemake_agree_in_either_order(copy):
    assert stages(run(copy, "dvc", "repro")) == []
    assert nothing_to_do(copy)
    assert is_clean(copy)
    write_study(copy, title="Another title")
    assert ran(snakemake(copy)) == {"gather_scores": 1, "write_paper": 1, "all": 1}
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


def test_a_run_that_was_interrupted_goes_on(copy, monkeypatch):
    """DVC, which is not told of it, does not bring back what was there before."""
    before = weights(copy)
    write_study(copy, seeds={"tuning": [0], "evaluation": [100, 101, 102]})
    monkeypatch.chdir(copy)
    graph = Graph(load_study(Path("config/tiny.yaml")))
    first, *others = (graph.train(path).mark.as_posix() for path in graph.final if path.seed != 100)
    snakemake(copy, first)
    made = weights(copy)
    assert len(made) == len(before) + 1
    assert ran(run(copy, "dvc", "repro"))["train_paths"] == len(others) == 3
    after = weights(copy)
    assert {name: after[name] for name in made} == made
    assert before.items() <= made.items()
    assert is_clean(copy)


def test_an_edit_that_is_taken_back_has_its_networks_back(copy):
    before = files_of(copy, *CELLS, f"{RESULTS}/selection", f"{RESULTS}/scores")
    chosen = (copy / RESULTS / "selection.csv").read_bytes()
    write_study(copy, training={**STUDY["training"], "lr": 2e-3})
    snakemake(copy, "scores")
    assert set(weights(copy).values()).isdisjoint(before.values())
    write_study(copy)
    assert "unsaved" in run(copy, "dvc", "checkout", check=False)
    run(copy, "dvc", "checkout", "--force")
    assert files_of(copy, *CELLS, f"{RESULTS}/selection", f"{RESULTS}/scores") == before
    assert (copy / RESULTS / "selection.csv").read_bytes() == chosen
    assert is_clean(copy)
    assert nothing_to_do(copy)


def test_a_figure_is_drawn_again_and_nothing_is_trained(copy):
    before = files_of(copy, *CELLS)
    with (copy / "src/softreg/paper/figures/style.py").open("a") as file:
        file.write("# Other colours.\n")
    output = run(copy, "dvc", "repro")
    assert stages(output) == ["paper@tiny"]
    assert ran(output) == {"write_paper": 1}
    assert is_clean(copy)
    assert files_of(copy, *CELLS) == before


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
    clone(project, other)
    assert is_clean(other)
    assert files_of(other, *CELLS) == files_of(published, *CELLS)
