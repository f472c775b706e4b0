"""``encours override`` and ``encours overrides``."""

import json

import pytest

from models.wording import LABELS

PEOPLE = "people:\n  Claire: credit_manager\n  Paul: head_of_credit\n"
DAY = ("--today", "2025-07-02")
REASON = ("--reason", "The parent company pays, seen with its CFO")
UNTIL = ("--until", "2025-08-01")


@pytest.fixture
def run_there(run, seller, monkeypatch):
    """Run on a trained seller whose people are known."""
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    (seller.home / "people.yaml").write_text(PEOPLE)
    return run


@pytest.fixture
def answered(run_there) -> dict:
    """Assess an order of 2,000 that the policy wants a condition for."""
    order = ("--amount", "2000", "--margin", "20")
    answer = json.loads(run_there("assess", "C-00100", *order, *DAY).out)
    assert answer["recommendation"]["action"] not in ("open", "refuse", "review")
    return answer


@pytest.fixture
def assessed(answered) -> str:
    """Give the assessment's id."""
    return answered["id"]


def decide(run, assessed, *asked, by="Claire"):
    return run("override", assessed, *asked, *REASON, *UNTIL, "--as", by, *DAY)


def refusal(ran) -> str:
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    return ran.err


def test_a_decision_is_taken_said_and_found_in_the_next_answer(run_there, answered):
    assessed, policys = answered["id"], LABELS[answered["recommendation"]["action"]].en
    ran = decide(run_there, assessed, "--action", "deposit", "--deposit-rate", "0.2")
    assert ran.code == 0
    said = f"Claire (credit_manager) decides for C-00100: deposit 20 %; the policy: {policys}"
    assert said in ran.out
    assert "orders of at most 2,000.00 on terms of at most 30 days" in ran.out
    assert "not authenticated" in ran.out
    order = ("--amount", "2000", "--margin", "20")
    answer = json.loads(run_there("assess", "C-00100", *order, *DAY).out)
    assert answer["recommendation"]["deposit_rate"] == 0.2
    assert answer["override"]["assessment_id"] == assessed


@pytest.mark.parametrize(
    ("asked", "by", "why"),
    [
        ((), "Claire", "give either --action or --withdraw"),
        (("--action", "open", "--withdraw"), "Claire", "give either --action or --withdraw"),
        (("--action", "open"), "Mallory", "people.yaml does not name 'Mallory'"),
        (("--action", "open", "--limit", "1e9"), "Claire", "--limit must be money"),
        (("--action", "open", "--limit", "99999"), "Claire", "the role may leave 50,000.00"),
        (("--withdraw",), "Claire", "no decision in force to withdraw"),
    ],
)
def test_what_may_not_be_is_one_sentence(run_there, assessed, asked, by, why):
    assert why in refusal(decide(run_there, assessed, *asked, by=by))


def test_without_a_file_of_people_nobody_decides(run_there, assessed, seller):
    (seller.home / "people.yaml").unlink()
    said = refusal(decide(run_there, assessed, "--action", "open"))
    assert "people.yaml does not exist" in said


def test_before_there_is_anything_it_says_what_comes_first(run, seller, monkeypatch):
    assert "run `encours import` first" in refusal(run("overrides"))
    assert "run `encours import` first" in refusal(decide(run, "x", "--action", "open"))
    monkeypatch.setenv("ENCOURS_HOME", str(seller.home))
    assert "nothing was assessed here yet" in refusal(run("overrides", *DAY))


def test_help_says_that_names_are_taken_on_trust(run):
    assert "not authenticated" in " ".join(run("override", "--help").out.split())


def test_the_list_shows_the_decision_beside_the_policy_s_and_nothing_known_yet(run_there, assessed):
    assert "Nobody has decided otherwise" in run_there("overrides", *DAY).out
    decide(run_there, assessed, "--action", "open")
    listed = run_there("overrides", *DAY).out
    for words in ("C-00100", "open terms: softer", "Claire, credit_manager", "no invoice since"):
        assert words in listed
    assert "nothing known yet" in listed
    assert "1 softer than the policy: nothing known yet" in listed
    assert "Nobody has decided" in run_there("overrides", "C-00002", *DAY).out


def test_a_withdrawn_decision_has_ended_and_is_no_decision_of_its_own(run_there, assessed):
    decide(run_there, assessed, "--action", "open")
    assert "withdraws the decision in force" in decide(run_there, assessed, "--withdraw").out
    listed = run_there("overrides", *DAY).out
    assert "1 softer than the policy" in listed
    assert "ended 2025-07-01" in listed or "ended 2025-07-02" in listed
