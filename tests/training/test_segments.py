"""Segments: every row told as it was known at its date, and by labels that stay the same."""

import inspect

import numpy as np
import pytest

from features import history
from features.history import Facts, History
from tests.features.ledgers import corrected, day, known_before, ledger_of, read_tables
from tests.training.conftest import CUTOFF, END, dataset_of
from training.dataset import Dataset, late_dataset
from training.segments import MOST_SECTORS, Segment, segments

both = pytest.mark.parametrize("question", ["late", "default"])


@pytest.fixture
def written(request) -> Facts:
    """Read the docstring's ledger, corrections included."""
    tables = read_tables(inspect.cleandoc(request.function.__doc__))
    customers = tables["customers"]
    if "is_natural_person" in customers:
        customers["is_natural_person"] = customers["is_natural_person"] == "yes"
    return corrected(history.facts_of(ledger_of(tables)))


def told(segment: Segment) -> list[str]:
    return [segment.labels[code] for code in segment.code]


def of_late_rows(facts: Facts, cutoff: str) -> dict[str, Segment]:
    known = history.build(facts)
    return segments(late_dataset(known), known, day(cutoff))


@pytest.fixture(scope="module")
def found(past, datasets) -> dict[str, dict[str, Segment]]:
    return {name: segments(one, past, CUTOFF) for name, one in datasets.items()}


# ------------------------------------------------------------------------------------ small ledgers


def test_a_customer_is_new_for_180_days_from_its_first_invoice(written):
    """
    issued_on  | due_on     | settled_on | amount
    2024-01-10 | 2024-02-10 | 2024-02-10 | 100
    2024-07-07 | 2024-08-07 | 2024-08-07 | 100
    2024-07-08 | 2024-08-08 | 2024-08-08 | 100
    """
    tenure = of_late_rows(written, "2024-06-01")["tenure"]
    assert told(tenure) == ["new", "new", "established"]  # 179 and 180 days


def test_a_customer_without_a_row_before_the_cutoff_is_unseen(written):
    """
    invoice | customer | issued_on  | due_on     | amount
    F1      | A        | 2024-01-10 | 2024-02-10 | 100
    F2      | A        | 2024-05-10 | 2024-06-10 | 100
    F3      | B        | 2024-03-01 | 2024-04-01 | 100
    """
    assert told(of_late_rows(written, "2024-03-01")["customer"]) == ["seen", "seen", "unseen"]
    assert "customer" not in of_late_rows(written, "2024-03-02")  # all are seen: nothing to tell


def test_sector_and_person_are_unknown_until_the_customer_is_recorded(written):
    """
    customer | sector | country | is_natural_person | recorded_at
    A        | 46     | FR      | yes               | 2024-03-15 10:00
    B        | 25     | FR      | no                | 2024-01-01 10:00
    C        |        | FR      | no                | 2024-01-01 10:00

    invoice | customer | issued_on  | due_on     | amount
    F1      | A        | 2024-03-15 | 2024-04-15 | 100
    F2      | A        | 2024-03-16 | 2024-04-16 | 100
    F3      | B        | 2024-03-15 | 2024-04-15 | 100
    F4      | C        | 2024-03-15 | 2024-04-15 | 100
    """
    found = of_late_rows(written, "2024-04-01")
    assert told(found["sector"]) == ["unknown", "46", "25", "unknown"]
    assert told(found["person"]) == ["unknown", "sole_trader", "company", "company"]


def test_a_corrected_customer_is_told_as_it_was_thought_of_then(written):
    """
    customer | sector | country | is_natural_person | recorded_at
    A        | 46     | FR      | yes               | 2024-01-01 10:00
    A'       | 25     | FR      | no                | 2024-05-20 10:00

    invoice | customer | issued_on  | due_on     | amount
    F1      | A        | 2024-03-15 | 2024-04-15 | 100
    F2      | A        | 2024-05-20 | 2024-06-15 | 100
    F3      | A        | 2024-05-21 | 2024-06-16 | 100
    """
    found = of_late_rows(written, "2024-07-01")
    assert told(found["sector"]) == ["46", "46", "25"]
    assert told(found["person"]) == ["sole_trader", "sole_trader", "company"]


def test_the_commonest_sectors_before_the_cutoff_have_a_name_and_the_others_one_together():
    names = [f"{number:02}" for number in range(1, MOST_SECTORS + 3)]
    lines = ["customer | sector | country | recorded_at"]
    lines += [f"K{name} | {name} | FR | 2023-01-01 10:00" for name in names]
    lines += ["", "invoice | customer | issued_on | due_on | amount"]
    for place, name in enumerate(names):
        lines += [
            f"F{name}-{i} | K{name} | 2024-01-0{i + 1} | 2024-02-01 | 100"
            for i in range(1 if place in (2, 5) else 2)
        ]
    # sector 03 has most rows of all, but only once the curve has learned
    lines += [f"L{i} | K03 | 2024-03-0{i + 1} | 2024-04-01 | 100" for i in range(9)]
    facts = history.facts_of(ledger_of(read_tables("\n".join(lines))))
    labels = of_late_rows(facts, "2024-02-01")["sector"].labels
    assert labels == (*(name for name in names if name not in ("03", "06")), "other", "unknown")


# ----------------------------------------------------------------------------- the simulated ledger


@both
def test_every_row_has_one_label_of_each_segment(datasets, found, question):
    assert set(found[question]) == {"size", "sector", "tenure", "customer", "person"}
    for segment in found[question].values():
        assert segment.code.shape == datasets[question].as_of.shape
        assert 0 <= segment.code.min() <= segment.code.max() < len(segment.labels)


@both
def test_sizes_are_thirds_of_the_rows_learned_from(datasets, found, question):
    dataset, size = datasets[question], found[question]["size"]
    amount = dataset.X[:, dataset.features.index("purchases_amount_365")]
    rows = np.bincount(size.code[dataset.known_before(CUTOFF)], minlength=4)
    assert rows[:3] == pytest.approx(rows[:3].mean(), rel=0.02)
    bounds = [
        (amount[size.code == place].min(), amount[size.code == place].max()) for place in (0, 1, 2)
    ]
    assert bounds[0][1] < bounds[1][0] < bounds[1][1] < bounds[2][0]
    np.testing.assert_array_equal(np.isnan(amount), size.code == size.labels.index("unknown"))


def test_sole_traders_are_those_the_ledger_says(facts, past: History, datasets, found):
    says = dict(
        zip(facts["customers"]["customer_id"], facts["customers"]["is_natural_person"], strict=True)
    )
    late: Dataset = datasets["late"]
    expected = [bool(says[past.customers[code]]) for code in late.customer]
    person = found["late"]["person"]
    known = person.code != person.labels.index("unknown")
    assert known.mean() > 0.9
    assert [label == "sole_trader" for label in np.array(told(person))[known]] == list(
        np.array(expected)[known]
    )
    assert 0.005 < np.mean(expected) < 0.2


@both
def test_what_became_known_since_the_cutoff_tells_no_earlier_row_apart(
    facts, datasets, found, question
):
    witness = known_before(facts, CUTOFF)
    then = history.build(witness)
    dataset, dataset_then = datasets[question], dataset_of(question, then)
    told_then = segments(dataset_then, then, CUTOFF)
    rows, rows_then = dataset.known_before(CUTOFF), dataset_then.known_before(CUTOFF)
    for name, segment in told_then.items():
        assert segment.labels == found[question][name].labels
        np.testing.assert_array_equal(segment.code[rows_then], found[question][name].code[rows])
    assert set(told_then) >= {"size", "sector", "tenure", "person"}
    assert dataset.between(CUTOFF, END).size > 100
