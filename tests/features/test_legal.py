"""Insolvency judgments: from the day after we knew, and for good."""


def test_any_judgment_is_an_insolvency_and_only_a_liquidation_a_liquidation(features_at):
    """
    event_id | customer | kind           | opened_on
    E1       | A        | safeguard      | 2024-03-05
    E2       | A        | liquidation    | 2024-09-05
    E3       | B        | reorganisation | 2024-03-05
    """
    row = features_at("2024-03-05")
    assert (row.legal_insolvency, row.legal_liquidation) == (0, 0)
    row = features_at("2024-03-06")
    assert (row.legal_insolvency, row.legal_liquidation) == (1, 0)
    row = features_at("2024-09-06")
    assert (row.legal_insolvency, row.legal_liquidation) == (1, 1)
    row = features_at("2034-09-06", "B")
    assert (row.legal_insolvency, row.legal_liquidation) == (1, 0)


def test_a_judgment_counts_from_the_day_after_we_knew_of_it(features_at):
    """
    event_id | kind        | opened_on  | recorded_at
    E1       | liquidation | 2024-03-05 | 2024-03-12 10:00
    """
    assert features_at("2024-03-12").legal_liquidation == 0
    assert features_at("2024-03-13").legal_liquidation == 1


def test_no_judgment_known_is_zero_and_never_missing(features_at):
    """
    event_id | customer | kind        | opened_on
    E1       | A        | liquidation | 2024-03-05
    """
    row = features_at("2024-04-01", "nobody", observed_from="2024-03-31")
    assert (row.legal_insolvency, row.legal_liquidation) == (0, 0)
