"""Is anything ever silently wrong? Stages that are killed, and files that are damaged, in a tiny study of scenes.

Killed: each stage by SIGKILL at random moments, again and again, and then run to its end. Damaged: each file that a
finished study has, in five ways, and then all stages once more, three times at most. Seen: the kernel's times tell of
the damage. Unseen: no time does, as when a disk fails, and what follows from the file is made again.

"same" ended with the weights and scores of an undisturbed study; "unread" with its scores, and damaged weights, or a
list of λ̂ beside the scores, that nothing has read; "told" with one sentence that repeats; "wrong" with other scores and
no word. Stages are run in forked processes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from common import print_table, sized, temporary_project, write_study

from softreg import cli
from softreg.data.archives import Archive
from softreg.data.fetch import fetch
from softreg.files import sha256_file
from softreg.running.graph import Graph
from softreg.study.config import load_study

KILLS = sized(250, 2)
ONE_IN = sized(1, 80)
"""Of the files that are damaged."""
ROUNDS = 3
RESULTS = Path("results/tiny")
#: What differs from run to run: times, and what lists their digests.
MEASURED = ("timings.csv", "provenance.json", "looks.json", "cell.json", "history.csv")
ORDER = ("prepare", "sweep", "selection", "final", "reveal", "gather")
OUTCOMES = ("same", "unread", "told", "traceback", "wrong")
Command = Sequence[str]


def study() -> Graph:
    file = write_study(
        "tiny",
        datasets={"shapes": {"images": 24, "size": [16, 24], "split": {"val": 0.25, "test": 0.25}}},
        models={"convnet": {}},
        penalties={"none": {}, "l1": {"lambda": [1e-4, 1e-2]}},
        training={"epochs": 2, "batch_size": 4, "optimizer": "adam", "lr": 1e-3, "checkpoint_seconds": 0.01},
        seeds={"tuning": [0], "evaluation": [100]},
    )
    return Graph(load_study(file))


def stages(graph: Graph) -> dict[str, list[Command]]:
    """The commands of each stage."""
    groups = ["/".join(group) for group in graph.groups]
    return {
        "prepare": [("prepare", "tiny.yaml", "shapes")],
        "train the sweep": [("train", "tiny.yaml", "sweep", path.name) for path in graph.sweep],
        "select": [("select", "tiny.yaml")],
        "train the final": [("train", "tiny.yaml", "final", path.name) for path in graph.final],
        "reveal": [("reveal", "tiny.yaml", *groups[:1]), ("reveal", "tiny.yaml", *groups[1:])],
        "gather": [("gather", "tiny.yaml")],
    }


def start(work: Callable[[], int]) -> int:
    """Begin ``work`` in a forked process, which writes to the file said; its number."""
    if process := os.fork():
        return process
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    try:
        os._exit(work())
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(1)


def run(commands: Sequence[Command]) -> Callable[[], int]:
    """What runs these commands in turn, up to the first that fails; its exit status."""
    return lambda: next((code for command in commands if (code := cli.main(command))), 0)


def end(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def content(*folders: Path) -> dict[str, str]:
    """The digest of each file but what is measured, and marks."""
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    kept = [file for file in files if file.name not in MEASURED and "made-" not in file.name]
    return {file.as_posix(): sha256_file(file) for file in kept}


def kill(
    name: str, work: Callable[[], int], clear: Callable[[], object], made: Sequence[Path], count: int
) -> list[str]:
    """Kill a stage so often, in turns of one to four, each then run to its end; the row of it."""
    moments = random.Random(name)
    clear()
    began = time.perf_counter()
    assert end(start(work)) == 0, Path("said").read_text()
    lasts, wanted = time.perf_counter() - began, content(*made)
    kills = same = turns = 0
    while kills < count:
        clear()
        for _ in range(moments.randint(1, 4)):
            process = start(work)
            time.sleep(moments.uniform(0, lasts))
            os.kill(process, signal.SIGKILL)
            kills += end(process) == -signal.SIGKILL
        turns += 1
        same += end(start(work)) == 0 and content(*made) == wanted
    return [name, str(kills), str(turns), str(same), f"{lasts:.2f}"]


def kills(graph: Graph) -> Iterator[list[str]]:
    """A row for each stage, in their order, so that each finds what it needs."""
    source, target = Path("mirror/pictures.zip"), Path("raw/pictures.zip")
    source.parent.mkdir()
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("pictures", random.Random(0).randbytes(sized(40_000_000, 1_000_000)))
    published = Archive(source.name, "http://127.0.0.1:9/pictures.zip", sha256=sha256_file(source), max_bytes=1 << 30)
    yield kill(
        "fetch",
        lambda: not fetch(published, target, ["mirror"]),
        lambda: clear(target.parent),
        [target.parent],
        KILLS // 5,
    )
    shares = {"train the sweep": 4, "train the final": 5, "prepare": 5, "gather": 5}
    for name, commands in stages(graph).items():
        made = {
            "prepare": [graph.prepare("shapes").mark.parent],
            "train the sweep": [RESULTS / "sweep"],
            "train the final": [RESULTS / "final"],
            "gather": [RESULTS / "scores"],
        }.get(name)
        if made is None:
            assert end(start(run(commands))) == 0, Path("said").read_text()
        else:
            yield kill(name, run(commands), lambda made=made: clear(*made), made, KILLS // shares[name])


def clear(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def damaged(file: Path, way: str, sibling: Path) -> bool:
    """Damage a file; whether there was anything to damage."""
    whole = file.read_bytes()
    block, middle = min(512, max(1, len(whole) // 4)), len(whole) // 2
    changed = {
        "flipped bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "zeroed block": whole[:middle] + bytes(len(whole[middle : middle + block])) + whole[middle + block :],
        "truncated": whole[:middle],
        "empty": b"",
        "swapped": sibling.read_bytes(),
    }[way]
    if way == "swapped":
        sibling.write_bytes(whole)
    file.write_bytes(changed)
    return changed != whole


WAYS = ("flipped bit", "zeroed block", "truncated", "empty", "swapped")


def sibling(file: Path, files: Sequence[Path]) -> Path:
    """Another file of the same name, or else of the same ending; itself where there is none."""
    others = [other for other in files if other != file]
    alike = [other for other in others if other.name == file.name] + [o for o in others if o.suffix == file.suffix]
    return next(iter(alike), file)


def forget(graph: Graph, file: Path) -> None:
    """Make all that follows from a file again, and let its own time, and those of its siblings, tell of nothing."""
    place = file.parts[2] if file.parts[0] == "results" else "prepare"
    place = "reveal" if place == "sweep" and len(file.parts) == 7 else "gather" if place == "scores" else place
    for job in graph.jobs():
        command = {"select": "selection", "train": job.name.split("/")[0]}.get(job.command, job.command)
        if command == "paper" or ORDER.index(command) > ORDER.index(place if place in ORDER else "gather"):
            job.mark.unlink(missing_ok=True)
    # The kernel's clock for files ticks every few milliseconds.
    time.sleep(0.02)
    for seal in [*Path().rglob("cell.json"), *Path().rglob("*made-*")]:
        os.utime(seal)


def outcome(commands: Sequence[Command], wanted: dict[str, str]) -> str:
    """What becomes of a damaged study whose stages are run again."""
    for _ in range(ROUNDS):
        code = end(start(run(commands)))
        said = Path("said").read_text()
        if "Traceback" in said or code not in (0, 2):
            return "traceback"
        clear(RESULTS / "tables")
        if code == 0:
            found = content(RESULTS, Path("data"))
            differing = {name for name in {*found, *wanted} if found.get(name) != wanted.get(name)}
            unread = all(name.endswith((".safetensors", "tiny/selection.csv")) for name in differing)
            return "same" if not differing else "unread" if unread else "wrong"
    return "told"


def damages(graph: Graph) -> Iterator[list[str]]:
    """A row for each way."""
    commands = [command for stage in stages(graph).values() for command in stage]
    commands += [("tables", RESULTS.as_posix())]
    assert end(start(run(commands))) == 0, Path("said").read_text()
    clear(RESULTS / "tables")
    wanted = content(RESULTS, Path("data"))
    for folder in ("results", "data"):
        shutil.copytree(folder, f"kept/{folder}")
    files = [file for folder in (RESULTS, Path("data")) for file in sorted(folder.rglob("*")) if file.is_file()]
    for way in WAYS:
        for seen in (True, False):
            seen_as: Counter[str] = Counter()
            for file in files[WAYS.index(way) :: ONE_IN]:
                clear(Path("results"), Path("data"))
                shutil.copytree("kept", ".", dirs_exist_ok=True)
                if damaged(file, way, sibling(file, files)):
                    if not seen:
                        forget(graph, file)
                    last = commands if file.is_relative_to(RESULTS / "scores") else commands[:-1]
                    found = outcome(last, wanted)
                    seen_as[found] += 1
                    if found not in ("same", "unread"):
                        print(
                            f"{way}, {'seen' if seen else 'unseen'}: {file}: {found}: {Path('said').read_text()[-300:]}"
                        )
            counts = [str(seen_as[name]) for name in OUTCOMES]
            yield [f"{way}, {'seen' if seen else 'unseen'}", str(seen_as.total()), *counts]


def main() -> None:
    import torch

    # Before any fork: a forked process has none of the threads.
    torch.set_num_threads(1)
    # What a killed process has written is there without it; only a power cut would take it.
    os.fsync = lambda handle: None
    for module in ("training.path", "scoring.evaluate", "scoring.gather", "paper.tables"):
        __import__(f"softreg.{module}")
    with temporary_project():
        graph = study()
        print_table(["killed", "kills", "runs to the end", "same", "s undisturbed"], list(kills(graph)))
        print_table(["damaged", "files", *OUTCOMES], list(damages(graph)))


if __name__ == "__main__":
    main()
