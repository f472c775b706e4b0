"""The parameters of the toolbox: read strictly, each fault with its file and line."""

from decimal import Decimal

import pytest

from models.receivables_file import PATH, ReceivablesError, load

TEXT = PATH.read_text("utf-8")


def line_of(text: str) -> int:
    return TEXT[: TEXT.index(text)].count("\n") + 1


def test_the_shipped_file_is_sound_and_known_by_its_hash():
    how = load()
    assert how == load(TEXT)
    assert len(how.sha256) == 64
    assert how.factoring.advance_rate == Decimal("0.85")
    assert how.late_interest.indemnity_cents == 40_00


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lgd_rate: 0.60", "lgd_rate: 1.2", "provision.lgd_rate: Input should be less"),
        ("advance_rate: 0.85", "advance_rate: -0.1", "factoring.advance_rate: Input should be"),
        ("lgd_rate: 0.60", "lgd_rate: yes", "provision.lgd_rate"),
        ("advance_rate: 0.85", "advance_rate: .nan", "factoring.advance_rate"),
        ("points_rate: 0.10", "points_rate: 0.10005", "multiple of 0.0001"),
        ("indemnity: 40.00", "indemnity: 40.001", "multiple of 0.01"),
        ("approval: not_refused", "approval: maybe", "factoring.approval"),
        ("year_days: 365", "year_days: 364", "late_interest.year_days"),
    ],
)
def test_a_wrong_value_is_refused_and_its_line_is_named(old, new, said):
    with pytest.raises(ReceivablesError) as refused:
        load(TEXT.replace(old, new, 1))
    assert said in str(refused.value)
    assert f"receivables:{line_of(old)}: " in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  sales_days: 90", "  sales_day: 90", "measures.sales_day: Extra inputs"),
        ("  sales_days: 90", "  settled_days: 9\n  sales_days: 90", "settled_days is repeated"),
        ("[0, 30, 60, 90, 180]", "[30, 60]", "must begin with 0 and rise"),
        ("[0, 30, 60]  ", "[0, 60, 90]  ", "must begin with 0 and rise"),
        ("{from: 2018-07-01,", "{from: 2018-06-30,", "is covered twice"),
        ("to: 2016-06-30", "to: 2015-06-30", "before it begins"),
        ("version: 2026-11\n", "", "version: Field required"),
    ],
)
def test_a_wrong_shape_is_refused(old, new, said):
    with pytest.raises(ReceivablesError, match=said):
        load(TEXT.replace(old, new, 1))


def test_a_file_is_named_in_its_faults(tmp_path):
    file = tmp_path / "mine.yaml"
    with pytest.raises(ReceivablesError, match=r"mine.yaml: cannot be read"):
        load(file)
    file.write_text("version: 1\n")
    with pytest.raises(
        ReceivablesError, match=r"mine.yaml:1: version: Input should be a valid str"
    ):
        load(file)
