"""Late-payment interest and the indemnity, to the cent, beside a reckoning day by day."""

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from hypothesis import given, settings

from features import history
from features.history import facts_of
from models.late_interest import claim, last_day_with_rate, late_interest
from models.portfolio import portfolio_at
from models.receivables_file import PATH, load
from tests.features.ledgers import day, ledger_of, moments

HOW = load().late_interest
TEXT = PATH.read_text("utf-8")


def due_of(known, on: str, how=HOW) -> dict[str, tuple[int, int]]:
    seen = portfolio_at(known, day(on))
    due = late_interest(seen, how)
    amounts = zip(due.interest_cents.tolist(), due.indemnity_cents.tolist(), strict=True)
    return dict(zip(seen.invoice_id, amounts, strict=True))


def test_1_000_paid_30_days_late_in_the_second_half_of_2025_owe_9_99_and_40(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2025-08-31 | 2025-09-30 | 1000
    F2      | 2025-08-31 | 2025-08-31 | 1000
    """
    assert round(1000 * 0.1215 * 30 / 365, 2) == 9.99
    assert due_of(known, "2025-12-01") == {"F1": (9_99, 40_00), "F2": (0, 0)}


def test_interest_runs_from_the_day_after_the_due_date_on_what_is_unpaid(known):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2025-07-01 | 2025-07-31 | 1000

    invoice | settled_on | amount
    F1      | 2025-08-10 | 600
    """
    ten_days, twenty_one = 1000 * 10, 400 * 21  # to 31 August
    assert due_of(known, "2025-08-01")["F1"] == (0, 0)
    assert due_of(known, "2025-08-02")["F1"] == (33, 40_00)  # one day: 0.333
    assert due_of(known, "2025-09-01")["F1"] == (
        round((ten_days + twenty_one) * 12.15 / 365),
        40_00,
    )


def test_each_half_year_has_its_rate(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2025-06-20 | 2025-07-10 | 1000
    """
    assert due_of(known, "2025-12-01")["F1"][0] == round(1000 * (10 * 13.15 + 10 * 12.15) / 365)


def test_days_without_a_rate_bear_none_and_are_counted(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2026-06-20 | 2026-07-10 | 1000
    """
    seen = portfolio_at(known, day("2026-11-25"))
    due = late_interest(seen, HOW)
    assert due.days_without_rate.tolist() == [10]
    assert due.interest_cents.tolist() == [round(1000 * 10 * 12.15 / 365)]
    assert claim(due, np.ones(1, bool)) == (1, 3_33, 40_00, 1)
    assert str(last_day_with_rate(HOW)) == "2026-06-30"


def test_what_was_agreed_is_at_least_three_times_the_legal_rate(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2024-03-31 | 2024-04-30 | 1000
    """
    low = load(TEXT.replace("agreed_rate: null", "agreed_rate: 0.05")).late_interest
    high = load(TEXT.replace("agreed_rate: null", "agreed_rate: 0.20")).late_interest
    assert due_of(known, "2024-12-01", low)["F1"][0] == round(1000 * 3 * 5.07 * 30 / 365)
    assert due_of(known, "2024-12-01", high)["F1"][0] == round(1000 * 20 * 30 / 365)
    assert due_of(known, "2024-12-01")["F1"][0] == round(1000 * 14.5 * 30 / 365)  # not agreed


def test_insolvency_proceedings_stop_interest_and_nothing_is_claimed_of_a_disputed_invoice(known):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2025-07-01 | 2025-07-31 | 1000
    A        | F2      | 2025-07-01 | 2025-08-31 | 1000
    B        | F3      | 2025-07-01 | 2025-07-31 | 1000

    customer | event_id | kind        | opened_on
    A        | J1       | liquidation | 2025-08-10

    customer | dispute_id | invoice | opened_on
    B        | D1         | F3      | 2025-08-10
    """
    ten_days = round(1000 * 10 * 12.15 / 365)
    assert due_of(known, "2025-12-01") == {"F1": (ten_days, 40_00), "F2": (0, 0), "F3": (0, 0)}


def test_nothing_is_claimed_after_five_years(known):
    """
    invoice | due_on     | settled_on | amount
    F1      | 2020-08-31 | 2020-09-30 | 1000
    """
    assert due_of(known, "2025-09-01")["F1"][1] == 40_00
    assert due_of(known, "2025-09-03")["F1"][1] == 0


@given(moments())
@settings(max_examples=30)
def test_it_is_the_sum_of_each_days_interest_on_that_days_balance(moment):
    tables, as_of = moment
    seen = portfolio_at(history.build(facts_of(ledger_of(tables))), as_of)
    due = late_interest(seen, HOW)
    rate = {
        d: HOW.rate(p)
        for p in HOW.rates
        for d in range(day(str(p.first_on)), day(str(p.last_on)) + 1)
    }
    first = int(seen.due_on.min(initial=seen.today)) + 1
    balances = {d: seen.balance_cents(d) for d in range(first, as_of)}
    for i in np.flatnonzero(due.is_late).tolist():
        until = min(seen.today, int(seen.customers.insolvent_on[seen.customer[i]]))
        accrued = sum(
            int(balances[d][i]) * rate[d] for d in range(int(seen.due_on[i]) + 1, until + 1)
        )
        exact = (Decimal(accrued) / 365).to_integral_value(ROUND_HALF_EVEN)
        assert due.interest_cents[i] == exact
