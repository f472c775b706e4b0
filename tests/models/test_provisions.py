"""The provision matrix: roll rates, the model's side, the insured part, and their sums."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import history
from models.portfolio import portfolio_at
from models.provisions import (
    cohort,
    horizon_days,
    insured_cents,
    lost_after,
    matrix,
    provision,
    roll_rates,
)
from models.receivables_file import load
from tests.features.ledgers import day

HOW = load().provision
ONE_GROUP = np.zeros(1, np.int64)
EMPTY = portfolio_at(history.build(history.NO_FACTS), day("2024-01-01"))


def rates(seen, fewest: int = 1):
    """Roll rates of all customers together."""
    followed = cohort(seen, HOW)
    return roll_rates(followed.reached_cents, np.zeros(followed.invoice.size, np.int64), 1, fewest)


def test_roll_rates_follow_each_invoice_from_bucket_to_bucket(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2024-03-01 | 2024-03-01 | 600
    F2      | 2024-03-01 | 2024-03-31 | 200
    F3      | 2024-03-01 | 2024-04-20 | 100
    F4      | 2024-03-01 |            | 100
    """
    seen = portfolio_at(known, day("2024-12-01"))
    found = rates(seen)
    # issued 1000; past due 400; past 30 days 200 (F2 came on the 30th); past 60 days 100
    assert found.rate.ravel().tolist() == [100 / 1000, 100 / 400, 100 / 200, 100 / 100, 1]
    assert found.invoices.ravel().tolist() == [4, 3, 2, 1, 1]


def test_a_write_off_is_no_payment_and_a_credit_note_is_no_loss(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-01 | 2024-03-01 | 100

    invoice | kind        | settled_on | amount
    F1      | write_off   | 2024-03-20 | 100
    F2      | credit_note | 2024-03-20 | 100
    """
    assert rates(portfolio_at(known, day("2024-12-01"))).rate[:2].ravel().tolist() == [0.5, 0.5]


def test_disputed_invoices_and_those_that_may_still_default_teach_nothing(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-03-01 | 100
    F2      | 2024-02-01 | 2024-09-02 | 100

    dispute_id | invoice | opened_on
    D1         | F1      | 2024-03-10
    """
    seen = portfolio_at(known, day("2024-12-01"))
    assert cohort(seen, HOW).invoice.size == 0  # F2 may be paid until its 90th day, 1 December
    later = portfolio_at(known, day("2024-12-03"))
    assert later.invoice_id[cohort(later, HOW).invoice].tolist() == ["F2"]


def test_a_small_cell_takes_the_rate_of_its_bucket():
    reached = np.array([[100, 300], [100, 100], [50, 0]])
    found = roll_rates(reached, np.array([0, 1]), 2, fewest=2)
    assert found.is_pooled[:2].all()
    assert found.rate[0].tolist() == [50 / 400, 50 / 400]
    assert not found.is_pooled[-1].any()


def test_the_insured_part_of_the_domain_is_not_provisioned_again(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-12-31 | 30000
    F2      | 2024-02-01 | 2025-01-31 | 20000

    cover_id | starts_on  | amount | insured_rate
    K1       | 2024-01-01 | 40000  | 0.9
    """
    seen = portfolio_at(known, day("2024-12-01"))
    assert insured_cents(seen).tolist() == [27_000_00, 9_000_00]
    p = provision(seen, rates(seen), ONE_GROUP, HOW, np.array([0.04, 0.04]))
    (cell,) = matrix(p, 5, 1)
    assert cell.insured_cents == 36_000_00
    assert cell.model_cents == 336_00  # 4 % × 60 % × (50,000 − 36,000)
    assert cell.model_rate == pytest.approx(0.04)
    assert math.isnan(cell.historical_rate)  # nothing fell due long enough ago
    assert cell.historical_cents == 0


def test_a_disputed_invoice_is_not_insured(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-12-31 | 100

    cover_id | starts_on  | amount | insured_rate
    K1       | 2024-01-01 | 40000  | 0.9

    dispute_id | invoice | opened_on
    D1         | F1      | 2024-03-10
    """
    assert insured_cents(portfolio_at(known, day("2024-12-01"))).tolist() == [0]


def test_more_than_90_days_past_due_or_insolvent_is_in_default_on_both_bases(known):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-02-01 | 2024-03-01 | 100
    B        | F2      | 2024-02-01 | 2024-12-31 | 100
    C        | F3      | 2024-02-01 | 2024-12-31 | 100

    customer | event_id | kind        | opened_on
    B        | J1       | liquidation | 2024-05-01
    """
    seen = portfolio_at(known, day("2024-12-01"))
    said = np.array([0.01, 0.01, math.nan])
    p = provision(seen, rates(seen), np.zeros(3, np.int64), HOW, said)
    assert p.historical_rate.tolist() == [1.0, 1.0, 1.0]  # F1 alone taught, and came to default
    assert p.model_rate.tolist() == [1.0, 1.0, 1.0]  # where the model abstains, the roll rate
    assert p.is_asked.tolist() == [True, True, False]
    assert p.historical_cents.tolist() == [60_00, 60_00, 60_00]


def test_the_model_is_asked_for_the_days_left_and_the_margin(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-02-01 | 2024-11-20 | 100
    F2      | 2024-02-01 | 2024-12-10 | 100
    """
    seen = portfolio_at(known, day("2024-12-01"))
    assert horizon_days(seen, HOW).tolist() == [90, 100]


def test_what_became_of_defaults_stands_beside_the_lgd(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2023-03-01 | 2023-08-01 | 300
    F2      | 2023-03-01 |            | 100
    F3      | 2024-03-01 |            | 100
    """
    seen = portfolio_at(known, day("2024-12-01"))
    lost = lost_after(seen, cohort(seen, HOW), 365)
    assert lost == (400_00, 100_00)  # F3 has not been due for a year
    assert lost.rate == 0.25


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.booleans()), min_size=1, max_size=20),
    st.integers(0, 10**10),
    st.sampled_from([0.0, 0.7, 0.85, 0.9, 0.95, 1.0]),
)
def test_the_insured_parts_add_up_to_the_insured_share_of_what_is_covered(rows, cover, rate):
    owed = np.array([cents for cents, _ in rows])
    disputed = np.array([is_disputed for _, is_disputed in rows])
    seen = replace(
        EMPTY,
        owed_cents=owed,
        is_disputed=disputed,
        customer=np.zeros(owed.size, np.int64),
        customers=EMPTY.customers._replace(
            covered_cents=np.array([cover]), insured_rate=np.array([rate])
        ),
    )
    insured = insured_cents(seen)
    covered = min(int(owed[~disputed].sum()), cover)
    assert insured.sum() == covered * round(rate * 100) // 100
    assert (insured >= 0).all()
    assert (insured <= owed).all()
