"""What the credit insurer covers, with the arithmetic left visible."""

import numpy as np

FIELDS = ("amount", "insured_rate", "use", "cut_180", "refused")


def test_a_cover_counts_from_the_day_after_it_starts_to_the_day_after_it_ends(features_at):
    """
    cover_id | starts_on  | ends_on    | amount | insured_rate
    K1       | 2024-01-01 | 2024-03-31 | 1000   | 0.9
    """
    row = vars(features_at("2024-01-01"))
    assert np.isnan([row[f"cover_{field}"] for field in FIELDS]).all()
    row = features_at("2024-01-02")
    assert (row.cover_amount, row.cover_insured_rate) == (1000, 0.9)
    row = features_at("2024-04-01")  # the end of 31 March, its last day
    assert (row.cover_amount, row.cover_insured_rate) == (1000, 0.9)
    row = features_at("2024-04-02")
    assert row.cover_amount == 0
    assert np.isnan(row.cover_insured_rate)
    assert row.cover_refused == 0  # it ended, nobody refused


def test_the_use_of_the_cover_is_the_exposure_against_it(features_at):
    """
    due_on     | settled_on | amount
    2024-03-31 | 2024-04-10 | 1500
    2024-04-30 |            | 300

    cover_id | starts_on  | ends_on    | amount | insured_rate
    K1       | 2024-01-01 | 2024-05-31 | 1000   | 0.9
    """
    assert features_at("2024-02-29").cover_use == 0 / 1000
    assert features_at("2024-04-10").cover_use == (1500 + 300) / 1000
    assert features_at("2024-04-11").cover_use == 300 / 1000
    assert np.isnan(features_at("2024-06-02").cover_use)  # nothing in force


def test_the_decision_known_last_is_in_force_and_once_it_ends_the_one_before(features_at):
    """
    cover_id | starts_on  | ends_on    | amount | insured_rate | recorded_at
    K9       | 2024-01-01 |            | 1000   | 0.9          | 2024-01-01
    K2       | 2024-03-01 | 2024-03-31 | 5000   | 0.8          | 2024-03-01
    K1       | 2023-06-01 | 2024-12-31 | 300    | 0.7          | 2024-05-10
    """
    row = features_at("2024-03-02")
    assert (row.cover_amount, row.cover_insured_rate) == (5000, 0.8)
    row = features_at("2024-04-02")
    assert (row.cover_amount, row.cover_insured_rate) == (1000, 0.9)
    assert features_at("2024-05-10").cover_amount == 1000
    assert features_at("2024-05-11").cover_amount == 300  # it started earlier, we knew it later


def test_of_decisions_known_on_one_day_the_last_recorded_then_the_last_numbered(features_at):
    """
    cover_id | customer | starts_on  | amount | insured_rate | recorded_at
    K1       | A        | 2024-01-01 | 1000   | 0.9          | 2024-01-01 09:00
    K2       | A        | 2024-01-01 | 2000   | 0.9          | 2024-01-01 08:00
    K3       | B        | 2024-01-01 | 1000   | 0.9          | 2024-01-01 09:00
    K4       | B        | 2024-01-01 | 2000   | 0.9          | 2024-01-01 09:00
    """
    assert features_at("2024-02-01", "A").cover_amount == 1000
    assert features_at("2024-02-01", "B").cover_amount == 2000


def test_an_end_that_was_learned_later_counts_from_then(features_at):
    """
    cover_id | starts_on  | ends_on    | amount | insured_rate | recorded_at
    K1       | 2024-01-01 |            | 1000   | 0.9          | 2024-01-01
    K1'      | 2024-01-01 | 2024-03-31 | 1000   | 0.9          | 2024-04-10
    """
    assert features_at("2024-04-02").cover_amount == 1000  # nobody had told us
    assert features_at("2024-04-10").cover_amount == 1000
    row = features_at("2024-04-11")
    assert (row.cover_amount, row.cover_refused) == (0, 0)


def test_a_cover_lower_than_180_days_before_was_cut(features_at):
    """
    cover_id | starts_on  | amount | insured_rate
    K1       | 2023-01-01 | 1000   | 0.9
    K2       | 2024-03-01 | 400    | 0.9
    """
    assert features_at("2024-03-01").cover_cut_180 == 0
    assert features_at("2024-03-02").cover_cut_180 == 1
    assert features_at("2024-08-28").cover_cut_180 == 1  # 180 days before, 1000 were in force
    assert features_at("2024-08-29").cover_cut_180 == 0


def test_an_ended_cover_is_cut_and_a_new_or_a_larger_one_is_not(features_at):
    """
    cover_id | customer | starts_on  | ends_on    | amount | insured_rate
    K1       | ENDED    | 2023-01-01 | 2024-03-31 | 1000   | 0.9
    K2       | NEW      | 2024-03-01 |            | 1000   | 0.9
    K3       | LARGER   | 2023-01-01 |            | 1000   | 0.9
    K4       | LARGER   | 2024-03-01 |            | 1500   | 0.9
    """
    assert features_at("2024-04-01", "ENDED").cover_cut_180 == 0
    assert features_at("2024-04-02", "ENDED").cover_cut_180 == 1
    assert features_at("2024-04-02", "NEW").cover_cut_180 == 0
    assert features_at("2024-04-02", "LARGER").cover_cut_180 == 0


def test_a_decision_of_nothing_is_a_refusal(features_at):
    """
    due_on     | settled_on | amount
    2024-03-31 |            | 100

    cover_id | starts_on  | amount | insured_rate
    K1       | 2023-01-01 | 1000   | 0.9
    K2       | 2024-03-01 | 0      | 0
    K3       | 2024-05-01 | 600    | 0.9
    """
    assert features_at("2024-03-01").cover_refused == 0
    row = features_at("2024-03-02")
    assert (row.cover_refused, row.cover_amount, row.cover_cut_180) == (1, 0, 1)
    assert np.isnan(row.cover_insured_rate)
    assert np.isnan(row.cover_use)
    row = features_at("2024-05-02")
    assert (row.cover_refused, row.cover_amount) == (0, 600)


def test_a_customer_the_insurer_never_decided_on_has_no_cover_features(features_at):
    """
    customer | due_on     | settled_on | amount
    A        | 2024-03-31 |            | 100

    cover_id | customer | starts_on  | amount | insured_rate
    K1       | B        | 2024-01-01 | 1000   | 0.9
    """
    for customer in ("A", "nobody"):
        row = features_at("2024-03-01", customer)
        assert np.isnan(row.cover_amount)
        assert np.isnan(row.cover_insured_rate)
        assert np.isnan(row.cover_use)
        assert np.isnan(row.cover_cut_180)
        assert np.isnan(row.cover_refused)


def test_a_cut_needs_180_days_of_history(features_at):
    """
    cover_id | starts_on  | amount | insured_rate
    K1       | 2024-01-01 | 1000   | 0.9
    """
    row = features_at("2024-06-28", observed_from="2024-01-01")  # 179 days
    assert np.isnan(row.cover_cut_180)
    assert row.cover_amount == 1000
    assert features_at("2024-06-29", observed_from="2024-01-01").cover_cut_180 == 0
