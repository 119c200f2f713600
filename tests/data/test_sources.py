import pytest
from published import options_of

from softreg.data.sources import source_state


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("header", ["image,mask", "Image;MASK "])
def test_a_changed_image_of_a_table_is_noticed_however_the_table_is_written(tmp_path, monkeypatch, encoding, header):
    monkeypatch.chdir(tmp_path)
    between = "," if "," in header else ";"
    (tmp_path / "table.csv").write_text(f"{header}\n a.png {between}b.png\n", encoding=encoding)
    options = options_of(tmp_path, "folder", table="table.csv", classes=["a", "b"])
    states = set()
    for image, mask in (("1", "1"), ("22", "1"), ("22", "333")):
        (tmp_path / "a.png").write_text(image)
        (tmp_path / "b.png").write_text(mask)
        states.add(source_state(options, "it"))
    assert len(states) == 3


def test_a_file_whose_name_is_no_unicode_is_noticed_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    options = options_of(tmp_path, "folder", images="images", masks="masks", classes=["a", "b"])
    states = set()
    for content in ("1", "22"):
        (tmp_path / "images" / "\udcff.png").write_text(content)
        states |= {source_state(options, "it"), source_state(options, "it")}
    assert len(states) == 2
