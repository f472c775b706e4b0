"""``encours policy check | show | diff | simulate``."""

import pytest

from tests.models.policies import FILE, POLICY, TEXT


def test_a_good_policy_is_told_by_its_identity(run):
    ran = run("policy", "check")
    assert ran.code == 0
    assert POLICY.sha256 in ran.out
    assert "11 options, 5 rules" in ran.out


def test_every_fault_of_a_policy_is_told_with_its_line(run, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT.replace("cash: 0.40", "cash: 1.40").replace("E: 90", "E: 900"), "utf-8")
    ran = run("policy", "check", file)
    assert ran.code == 2
    lines = file.read_text("utf-8").splitlines()
    for start, key in (("  cash: 1.40", "acceptance_rate.cash"), ("  review_days", "limit.review")):
        at = next(i for i, line in enumerate(lines, 1) if line.startswith(start))
        assert f"{file}:{at}: {key}" in ran.err


def test_the_matrix_names_an_action_in_every_cell(run):
    ran = run("policy", "show")
    assert ran.code == 0
    assert ran.out.count("margin 10%") == 6
    for action in ("open terms", "deposit 30 %", "retention of title", "cash before delivery"):
        assert action in ran.out
    assert "key customer, the order covered at 90 %" in ran.out


def test_two_policies_are_compared_key_by_key_and_cell_by_cell(run, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(TEXT.replace("cash: 0.40", "cash: 0.44"), "utf-8")
    ran = run("policy", "diff", other, FILE)
    assert ran.code == 0
    assert "acceptance_rate.cash" in ran.out
    assert "of 192 cells of the matrix change" in ran.out


def test_a_policy_says_the_same_as_itself(run):
    assert "say the same" in run("policy", "diff", FILE, FILE).out


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_missing_file_is_one_sentence(run, command, tmp_path):
    ran = run("policy", command, tmp_path / "nowhere.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot be read" in ran.err
