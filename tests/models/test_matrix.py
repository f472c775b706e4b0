"""The matrix that falls out of the policy."""

from models.grades import GRADES, bounds
from models.matrix import MARGIN_RATES, Reference, matrix, middle
from tests.models.policies import POLICY, policy_with
from tests.models.test_policy_laws import chosen, is_softer

CELLS = {cell.key: cell for cell in matrix(POLICY)}


def test_every_cell_is_there_once():
    assert len(CELLS) == len(GRADES) * len(MARGIN_RATES) * 3 * 2


def test_a_worse_grade_is_never_answered_more_softly():
    for (grade, *others), cell in CELLS.items():
        for worse in GRADES[GRADES.index(grade) + 1 :]:
            after = CELLS[worse, *others]
            assert not is_softer(chosen(after.decision), chosen(cell.decision), after.risk, POLICY)


def test_an_order_is_never_worth_less_with_cover_or_to_a_key_customer():
    for (grade, rate, importance, is_covered), cell in CELLS.items():
        for milder in ((grade, rate, importance, True), (grade, rate, "key", is_covered)):
            worth = chosen(CELLS[milder].decision).expected_profit_cents
            assert worth >= chosen(cell.decision).expected_profit_cents


def test_a_cell_names_its_action_and_deposit():
    assert CELLS["A", 0.05, "normal", False].text == "open terms"
    assert CELLS["D", 0.02, "normal", False].text == "deposit 30 %"
    assert CELLS["H", 0.02, "normal", False].text == "cash before delivery"


def test_the_middle_of_a_grade_is_in_it():
    for grade in GRADES:
        low, high = bounds(grade)
        assert low < middle(grade) <= high


def test_another_reference_order_gives_another_matrix():
    large = matrix(POLICY, Reference(amount_cents=900_000_00))
    assert {cell.text for cell in large} != {cell.text for cell in CELLS.values()}


def test_a_policy_without_deposits_shows_none():
    found = {cell.text for cell in matrix(policy_with(acceptance_rate={"deposit": {}}))}
    assert not any("deposit" in text for text in found)
