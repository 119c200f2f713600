import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from synthetic import score_rows, sums_row

from softreg.errors import UserError
from softreg.scoring import metrics, records, select
from softreg.study.matrix import TrainingPath


def rows(value="1e-4", dataset="camvid", seed=0, fold=None, classes=4, images=5):
    path = TrainingPath("final", dataset, "convnet", "l1", seed, fold)
    return score_rows(path, value, images, classes, (12, 16))


def sums(seed=0, fold=None, split="test", images=5):
    """The sums of what `rows` gives."""
    path = TrainingPath("final", "camvid", "convnet", "l1", seed, fold)
    return sums_row(path, "1e-4", split, "", 0, images, 4, (12, 16))


def test_what_is_written_is_read(tmp_path):
    table = rows()
    records.write(table, tmp_path / "test.parquet")
    back = records.read([tmp_path / "test.parquet"])
    assert back.schema == records.SCHEMA
    assert back.equals(table)
    assert back["prediction"].null_count == 0


def test_same_rows_give_the_same_bytes(tmp_path):
    one, two = rows("1e-4"), rows("1e-5")
    records.write(pa.concat_tables([one, two]), tmp_path / "a")
    shuffled = pa.concat_tables([two.slice(3), one.take([4, 2, 0, 1, 3]), two.slice(0, 3)])
    records.write(shuffled.select(shuffled.schema.names[::-1]), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_records_can_be_written_and_read(tmp_path):
    records.write(records.SCHEMA.empty_table(), tmp_path / "none")
    table = records.read([tmp_path / "none"])
    assert len(table) == 0
    assert records.to_cells(table).empty


def test_counts_are_a_view_of_the_columns(tmp_path):
    records.write(rows(), tmp_path / "val")
    table = records.read([tmp_path / "val"])
    tp, fp, fn = records.counts(table)
    assert tp.tolist() == table["tp"].to_pylist()
    assert fp.tolist() == table["fp"].to_pylist()
    assert fn.tolist() == table["fn"].to_pylist()
    assert tp.dtype == np.int64
    assert tp.shape == (5, 4)
    values = table["tp"].chunk(0).flatten().buffers()[1]
    assert tp.__array_interface__["data"][0] == values.address


def test_counts_refuse_two_numbers_of_classes():
    mixed = pa.concat_tables([rows(classes=4), rows(classes=3, dataset="brain")])
    with pytest.raises(ValueError, match=r"differ in length: \[3, 4\]"):
        records.counts(mixed)


def test_cells_are_scored_each_on_its_own():
    tables = [rows("1e-4"), rows("1e-5"), rows("1e-4", dataset="brain", classes=3)]
    cells = records.to_cells(pa.concat_tables(tables)).set_index(["dataset", "lambda"])
    assert len(cells) == 3
    for table in tables:
        first = table.slice(0, 1).to_pylist()[0]
        cell = cells.loc[(first["dataset"], first["lambda"])]
        tp, fp, fn = (np.array(table[name].to_pylist()) for name in ("tp", "fp", "fn"))
        assert_allclose(cell["miou"], metrics.miou(tp, fp, fn), atol=1e-15)
        assert_allclose(cell["miou_per_image"], metrics.miou_per_image(tp, fp, fn), atol=1e-15)
        assert cell["images"] == 5


def test_without_fold_among_the_keys_counts_of_folds_are_summed():
    folds = [rows(fold=0), rows(fold=1)]
    (cell,) = records.to_cells(pa.concat_tables(folds), ["dataset", "lambda", "seed"]).to_dict("records")
    tp, fp, fn = (np.array([row for table in folds for row in table[name].to_pylist()]) for name in ("tp", "fp", "fn"))
    by_class = tp.sum(0) / (tp.sum(0) + fp.sum(0) + fn.sum(0))
    assert cell["miou"] == pytest.approx(by_class.mean(), abs=1e-15)
    assert cell["images"] == 10


def test_a_file_without_records_is_named(tmp_path):
    (tmp_path / "val.parquet").write_text("nothing of the kind")
    with pytest.raises(UserError, match=r"val\.parquet is damaged: it does not hold score records"):
        records.read([tmp_path / "val.parquet"])


def test_a_file_that_lacks_a_column_is_named(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(rows().drop_columns(["fn"]), tmp_path / "val.parquet")
    with pytest.raises(UserError, match=r"val\.parquet is damaged: it does not hold score records .*fn"):
        records.read([tmp_path / "val.parquet"])


def test_measures_of_sums_are_those_of_their_counts(tmp_path):
    row = sums(images=7)
    records.write(pa.Table.from_pylist([row], records.SUMS), tmp_path / "sums", records.SUMS)
    (found,) = records.of_sums(records.read([tmp_path / "sums"], schema=records.SUMS)).to_dict("records")
    (expected,) = records.to_cells(rows(images=7)).to_dict("records")
    for name in ("miou", "dice", "pixel_accuracy", "images", "seed", "lambda"):
        assert found[name] == expected[name], name
    assert found["nll"] == row["nll_sum"] / row["pixels"]
    assert found["boundary_iou"] == metrics.boundary_iou([row["boundary_both"]], [row["boundary_either"]])
    assert found["ece"] == metrics.ece(*([row[f"bin_{name}"]] for name in ("count", "correct", "confidence")))
    assert "miou_per_image" not in found


def test_sums_of_several_folds_are_summed_before_a_ratio_is_taken():
    parts = [sums(fold=fold, images=images) for fold, images in enumerate((3, 5))]
    table = pa.Table.from_pylist([*parts, sums(seed=1)], records.SUMS)
    both, other = records.of_sums(table, ["dataset", "seed"]).to_dict("records")
    assert both["nll"] == (parts[0]["nll_sum"] + parts[1]["nll_sum"]) / (parts[0]["pixels"] + parts[1]["pixels"])
    assert (both["images"], other["images"]) == (8, 5)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("read", [lambda file: records.read([file]), select.read_selection])
def test_a_part_of_a_file_is_told_in_a_sentence(tmp_path, share, read):
    records.write(rows(), tmp_path / "val.parquet")
    content = (tmp_path / "val.parquet").read_bytes()
    (tmp_path / "val.parquet").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"val\.parquet is damaged: .*; delete it and run `snakemake`"):
        read(tmp_path / "val.parquet")
    assert records.origin(tmp_path / "val.parquet") == {}
