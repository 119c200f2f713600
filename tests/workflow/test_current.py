"""What is current is decided by keys: the script of all edits in all conditions, on some of them."""

from what_is_current import EDITS, compare, copies, refuses_to_mix

FEW = ("nothing", "one λ less")


def test_edits_lead_to_the_same_jobs_whatever_has_happened_to_the_files(published, tmp_path):
    folders = dict(copies(published, tmp_path))
    compare(folders, {edit: EDITS[edit] for edit in FEW}, print)
    refused = refuses_to_mix(folders["as it is"])
    assert "was made under another version of the study" in refused
    assert "Traceback" not in refused
