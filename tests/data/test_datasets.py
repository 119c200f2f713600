import subprocess
import sys

import pytest

from softreg.data import datasets
from softreg.errors import UserError
from softreg.files import digest
from softreg.study.config import load_study
from softreg.study.schema import study_schema

KINDS = ["brain", "camvid", "cifar10", "folder", "kvasir", "nuclei", "oxford_pet", "shapes", "voc2012", "wbc"]


def test_kinds_are_the_files():
    assert datasets.kinds() == KINDS


def test_the_schema_knows_the_same_kinds():
    known = {key.removeprefix("dataset_") for key in study_schema()["$defs"] if key.startswith("dataset_")}
    assert known == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_data_set_states_what_a_report_prints(kind):
    dataset = datasets.load(kind)
    assert dataset.kind == kind
    assert dataset.title
    assert dataset.citation
    assert dataset.licence
    for archive in datasets.archives_of(kind):
        assert archive.url.startswith("https://")
        assert archive.max_bytes < 3e9
        assert archive.sha256 or archive.md5 or archive.content_sha256


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("folder", "shapes")])
def test_palettes_tell_classes_apart(kind):
    colours = list(datasets.load(kind).palette.values())
    assert len(set(colours)) == len(colours) >= 2


def test_unknown_kind():
    with pytest.raises(UserError, match="unknown kind 'camvids': known are brain, camvid"):
        datasets.load("camvids")


def test_importing_is_cheap_and_needs_no_heavy_library():
    code = (
        "import sys, softreg.data.datasets as d; d.kinds(); light = set(sys.modules)\n"
        "import softreg.data.prepare; d.load('brain')\n"
        "print(light & {'numpy', 'PIL'}, sys.modules.keys() & {'torch', 'nilearn'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() set()"


def test_prepared_folder_changes_with_the_options(tmp_path):
    text = "datasets: {{shapes: {{noise: {noise}}}}}\nmodels: {{convnet: }}\npenalties: {{none: }}\n"
    folders = []
    for noise in ("0.1", "0.2"):
        path = tmp_path / "study.yaml"
        path.write_text(text.format(noise=noise))
        study = load_study(path)
        folders.append(datasets.prepared_folder(study, "shapes"))
        assert folders[-1].name == f"shapes-{digest(study.datasets['shapes'])[:12]}"
    assert folders[0] != folders[1]
    assert folders[0].parent.as_posix() == "data/prepared"
