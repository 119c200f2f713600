"""What is current is decided by keys: the script of all edits in all conditions, on some of them."""

from what_is_current import EDITS, compare, copies, finished, refuses_to_mix

FEW = ("nothing", "one tuning seed less")


def test_edits_lead_to_the_same_jobs_whatever_has_happened_to_the_files(tmp_path):
    project = finished(tmp_path)
    compare(dict(copies(project, tmp_path)), {edit: EDITS[edit] for edit in FEW}, print)
    refused = refuses_to_mix(project)
    assert "was made under another version of the study" in refused
    assert "Traceback" not in refused
