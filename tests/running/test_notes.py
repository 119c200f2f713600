"""Snakemake's notes that travel; that Snakemake reads them is tested in tests/workflow/test_versions.py."""

import json
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from softreg.files import write_json, write_text
from softreg.running import notes

METADATA = Path(".snakemake/metadata")
RESULTS = Path("results/tiny")
OUTPUT = RESULTS / "scores.parquet"
DATA = Path("data/prepared/shapes/dataset.json")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for output in (OUTPUT, DATA):
        write_text(output, "content")
        write_text(note_of(output), json.dumps({"rule": output.stem}))


def note_of(output):
    """The file that Snakemake 9 keeps the note of a short path in."""
    return METADATA / urlsafe_b64encode(output.as_posix().encode()).decode()


def travelled():
    """The notes on both outputs, which Snakemake has forgotten here since."""
    write_json(Path("records.json"), notes.collect(notes.noted()))
    for output in (OUTPUT, DATA):
        note_of(output).unlink()
    return notes.read(Path("records.json"))


def test_a_note_and_the_time_come_back():
    made = OUTPUT.stat().st_mtime_ns
    entries = travelled()
    OUTPUT.touch()
    assert OUTPUT.stat().st_mtime_ns > made
    notes.restore(entries, RESULTS, [RESULTS, DATA])
    assert json.loads(note_of(OUTPUT).read_text()) == {"rule": "scores"}
    assert OUTPUT.stat().st_mtime_ns == made


def test_what_has_changed_gets_no_note_and_is_made_again():
    entries = travelled()
    write_text(OUTPUT, "CONTENT")
    write_text(DATA, "CONTENT")
    made = DATA.stat().st_mtime_ns
    notes.restore(entries, RESULTS, [RESULTS, DATA])
    assert not note_of(OUTPUT).exists()
    assert not note_of(DATA).exists()
    assert OUTPUT.stat().st_mtime_ns < made
    assert DATA.stat().st_mtime_ns >= made


def test_other_studies_and_places_are_left_alone():
    entries = travelled()
    for place in ("results/other/report.html", "../outside", "results/tiny/../other/report.html"):
        write_text(Path(place), "content")
        entries.append(notes.Entry(Path(place), 5, entries[0].content, {"rule": "forged"}))
    notes.restore(entries, RESULTS, [RESULTS, DATA])
    assert "forged" not in "".join(file.read_text() for file in METADATA.rglob("*") if file.is_file())
    assert Path("results/other/report.html").stat().st_mtime_ns != 5


@pytest.mark.parametrize("length", [120, 185, 250, 700])
def test_long_paths_have_their_notes_where_snakemake_looks(length):
    from snakemake.persistence.file import FilePersistence

    output = RESULTS.joinpath(*["x" * 100] * (length // 100), "y" * (length % 100)).as_posix()
    write_text(Path(output), "content")
    store = FilePersistence(path=Path(".snakemake"))
    place = Path(store._record_path(METADATA.as_posix(), output))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text('{"rule": "long"}')
    assert output in set(notes.noted())
    write_json(Path("records.json"), notes.collect([output]))
    place.unlink()
    notes.restore(notes.read(Path("records.json")), RESULTS, [RESULTS])
    assert json.loads(place.read_text()) == {"rule": "long"}


def test_what_is_no_note_is_passed_over():
    (METADATA / "stray").write_text("a")
    note_of(OUTPUT).write_text('{"rule": "scor')
    collected = notes.collect(notes.noted())
    assert [list(job["outputs"]) for job in collected["jobs"]] == [[DATA.as_posix()]]
