"""What the published accounts say, with the arithmetic left visible."""

import numpy as np

RATIOS = ("leverage", "liquidity", "coverage", "profitability")


def test_ratios_of_the_latest_accounts(features_at):
    """
    statement_id | closed_on  | published_on | total_assets | equity
    S1           | 2023-12-31 | 2024-06-30   | 1000         | 400

    statement_id | closed_on  | published_on | current_assets | current_liabilities
    S2           | 2024-12-31 | 2025-06-30   | 300            | 200

    statement_id | closed_on  | published_on | operating_income | financial_debt
    S3           | 2025-12-31 | 2026-06-30   | 50               | 250

    statement_id | closed_on  | published_on | net_income | revenue
    S4           | 2026-12-31 | 2027-06-30   | 20         | 2000.50
    """
    assert features_at("2024-07-01").accounts_leverage == (1000 - 400) / 1000
    row = features_at("2025-07-01")
    assert row.accounts_liquidity == 300 / 200
    assert np.isnan(row.accounts_leverage)  # not given in the latest
    assert features_at("2026-07-01").accounts_coverage == 50 / 250
    row = features_at("2027-07-01")
    assert row.accounts_profitability == 20 / 2000.50
    assert row.accounts_revenue == 2000.50


def test_accounts_are_known_from_the_day_after_they_were_published(features_at):
    """
    statement_id | closed_on  | published_on | total_assets | equity | recorded_at
    S1           | 2022-12-31 | 2023-06-30   | 1000         | 400    | 2023-06-30
    S2           | 2023-12-31 | 2024-06-30   | 1000         | 100    | 2024-06-30
    S3           | 2024-12-31 | 2025-06-30   | 1000         | 800    | 2025-09-10
    """
    assert np.isnan(features_at("2023-06-30").accounts_leverage)
    assert features_at("2024-06-30").accounts_leverage == 0.6
    assert features_at("2024-07-01").accounts_leverage == 0.9
    assert features_at("2025-09-10").accounts_leverage == 0.9
    assert features_at("2025-09-11").accounts_leverage == 0.2


def test_their_age_is_counted_from_the_end_of_the_financial_year(features_at):
    """
    statement_id | closed_on  | published_on | revenue
    S1           | 2023-12-31 | 2024-06-30   | 10
    """
    assert features_at("2024-07-01").accounts_age_days == 183  # 1 January … 30 June, and one


def test_losses_make_ratios_negative_and_debts_beyond_the_assets_a_leverage_above_one(features_at):
    """
    statement_id | closed_on  | published_on | total_assets | equity | net_income | revenue
    S1           | 2023-12-31 | 2024-06-30   | 1000         | -250   | -30        | 600
    """
    row = features_at("2024-07-01")
    assert row.accounts_leverage == 1250 / 1000
    assert row.accounts_profitability == -30 / 600


def test_a_ratio_without_a_positive_divisor_is_missing(features_at):
    """
    statement_id | customer | closed_on  | published_on | total_assets | equity | revenue
    S1           | A        | 2023-12-31 | 2024-06-30   | 0            | -250   | 0
    S2           | B        | 2023-12-31 | 2024-06-30   |              | -250   |
    S6           | F        | 2023-12-31 | 2024-06-30   | -100         | -250   | -600

    statement_id | customer | closed_on  | published_on | current_assets | current_liabilities
    S3           | C        | 2023-12-31 | 2024-06-30   | 100            | 0

    statement_id | customer | closed_on  | published_on | operating_income | financial_debt
    S4           | D        | 2023-12-31 | 2024-06-30   | 100              | 0

    statement_id | customer | closed_on  | published_on | net_income | revenue
    S5           | E        | 2023-12-31 | 2024-06-30   | -30        | 0
    S7           | G        | 2023-12-31 | 2024-06-30   | -30        | -600
    """
    for customer in "ABCDEFG":
        row = features_at("2024-07-01", customer)
        assert np.isnan([getattr(row, f"accounts_{ratio}") for ratio in RATIOS]).all()
        assert row.accounts_age_days == 183
    assert features_at("2024-07-01", "A").accounts_revenue == 0
    assert np.isnan(features_at("2024-07-01", "B").accounts_revenue)


def test_changes_are_those_since_the_accounts_of_the_year_before(features_at):
    """
    statement_id | closed_on  | published_on | total_assets | equity | revenue | net_income
    S1           | 2022-12-31 | 2023-06-30   | 1000         | 500    | 2000    | 200
    S2           | 2023-12-31 | 2024-06-30   | 1000         | 250    | 3000    | 60

    statement_id | customer | closed_on  | published_on | current_assets | current_liabilities
    T1           | B        | 2022-12-31 | 2023-06-30   | 150            | 100
    T2           | B        | 2023-12-31 | 2024-06-30   | 300            | 400

    statement_id | customer | closed_on  | published_on | operating_income | financial_debt
    U1           | C        | 2022-12-31 | 2023-06-30   | 100              | 400
    U2           | C        | 2023-12-31 | 2024-06-30   | -100             | 400
    """
    row = features_at("2024-07-01")
    assert row.accounts_leverage_change == (1000 - 250) / 1000 - (1000 - 500) / 1000
    assert row.accounts_revenue_change == 3000 / 2000 - 1
    assert row.accounts_profitability_change == 60 / 3000 - 200 / 2000
    assert features_at("2024-07-01", "B").accounts_liquidity_change == 300 / 400 - 150 / 100
    assert features_at("2024-07-01", "C").accounts_coverage_change == -100 / 400 - 100 / 400


def test_a_change_is_missing_when_either_value_is_and_growth_needs_revenue_in_both(features_at):
    """
    statement_id | customer | closed_on  | published_on | total_assets | equity | revenue
    S1           | A        | 2022-12-31 | 2023-06-30   | 1000         |        | 0
    S2           | A        | 2023-12-31 | 2024-06-30   | 1000         | 250    | 3000
    T1           | B        | 2022-12-31 | 2023-06-30   | 1000         | 250    | 3000
    T2           | B        | 2023-12-31 | 2024-06-30   | 1000         |        | 0
    U1           | C        | 2023-12-31 | 2024-06-30   | 1000         | 250    | 3000
    """
    for customer in "ABC":
        row = features_at("2024-07-01", customer)
        assert np.isnan(row.accounts_leverage_change)
        assert np.isnan(row.accounts_liquidity_change)
        assert np.isnan(row.accounts_coverage_change)
        assert np.isnan(row.accounts_profitability_change)
        assert np.isnan(row.accounts_revenue_change)
    assert features_at("2024-07-01", "A").accounts_leverage == 0.75


def test_the_year_before_closed_300_to_430_days_earlier(features_at):
    """
    statement_id | customer | closed_on  | published_on | revenue
    A1           | A        | 2023-03-06 | 2023-09-30   | 1000
    A2           | A        | 2023-12-31 | 2024-06-30   | 1100
    B1           | B        | 2023-03-07 | 2023-09-30   | 1000
    B2           | B        | 2023-12-31 | 2024-06-30   | 1100
    C1           | C        | 2022-10-27 | 2023-09-30   | 1000
    C2           | C        | 2023-12-31 | 2024-06-30   | 1100
    D1           | D        | 2022-10-26 | 2023-09-30   | 1000
    D2           | D        | 2023-12-31 | 2024-06-30   | 1100
    """

    def growth(customer):
        return features_at("2024-07-01", customer).accounts_revenue_change

    assert growth("A") == 1100 / 1000 - 1  # 300 days
    assert np.isnan(growth("B"))  # 299
    assert growth("C") == 1100 / 1000 - 1  # 430
    assert np.isnan(growth("D"))  # 431


def test_of_several_years_before_the_last_closed_counts(features_at):
    """
    statement_id | closed_on  | published_on | revenue
    S1           | 2022-12-31 | 2023-09-30   | 1000
    S2           | 2022-11-30 | 2023-10-31   | 500
    S3           | 2023-12-31 | 2024-06-30   | 1100
    """
    assert features_at("2024-07-01").accounts_revenue_change == 1100 / 1000 - 1


def test_an_older_year_published_late_is_the_year_before_and_not_the_latest(features_at):
    """
    statement_id | closed_on  | published_on | revenue
    S2           | 2023-12-31 | 2024-06-30   | 1100
    S1           | 2022-12-31 | 2024-08-31   | 1000
    """
    assert np.isnan(features_at("2024-08-31").accounts_revenue_change)
    row = features_at("2024-09-01")
    assert row.accounts_revenue == 1100
    assert row.accounts_revenue_change == 1100 / 1000 - 1


def test_of_two_filings_of_one_year_the_last_known_counts_then_the_last_numbered(features_at):
    """
    statement_id | customer | closed_on  | published_on | revenue
    S9           | A        | 2023-12-31 | 2024-06-30   | 1000
    S1           | A        | 2023-12-31 | 2024-07-31   | 2000
    T1           | B        | 2023-12-31 | 2024-06-30   | 1000
    T2           | B        | 2023-12-31 | 2024-06-30   | 3000
    U9           | A        | 2024-12-31 | 2025-06-30   | 6000
    U1           | B        | 2024-12-31 | 2025-06-30   | 6000
    """
    assert features_at("2024-07-31").accounts_revenue == 1000
    assert features_at("2024-08-01").accounts_revenue == 2000
    assert features_at("2024-08-01", "B").accounts_revenue == 3000
    assert features_at("2025-07-01").accounts_revenue_change == 6000 / 2000 - 1
    assert features_at("2025-07-01", "B").accounts_revenue_change == 6000 / 3000 - 1


def test_without_accounts_all_is_missing(features_at):
    """
    due_on     | settled_on | amount
    2024-03-01 |            | 100
    """
    row = vars(features_at("2024-07-01"))
    said = {name: value for name, value in row.items() if name.startswith("accounts_")}
    assert np.isnan(list(said.values())).all()
    assert len(said) == 11
