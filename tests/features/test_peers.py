"""How others of the same sector and country pay, with the arithmetic left visible."""

import numpy as np


def test_peers_are_the_others_of_the_same_sector_and_country(features_at):
    """
    customer | sector | country
    A        | 4321A  | FR
    B        | 4321A  | FR
    C        | 4321A  | FR
    D        | 4321A  | BE
    E        | 4669B  | FR
    F        | 4321A  |

    customer | due_on     | settled_on | amount | times
    A        | 2024-03-01 | 2024-05-01 | 100    | 9
    B        | 2024-03-01 | 2024-03-01 | 100    | 15
    C        | 2024-03-01 | 2024-03-31 | 100    | 4
    C        | 2024-03-01 | 2024-04-01 | 900    | 1
    D        | 2024-03-01 | 2024-05-01 | 100    | 30
    E        | 2024-03-01 | 2024-05-01 | 100    | 30
    F        | 2024-03-01 | 2024-05-01 | 100    | 30
    """
    row = features_at("2024-06-01")  # 15 by B in time; by C 4 of 30 days and 1 of 31
    assert row.peers_late_rate == (4 + 1) / (15 + 5)
    assert row.peers_late_30_rate == 1 / (15 + 5)
    row = features_at("2024-06-01", "B")  # those of A and of C
    assert np.isnan(row.peers_late_rate)  # 9 + 5 are fewer than 20
    row = features_at("2024-06-01", "C")
    assert row.peers_late_rate == 9 / (9 + 15)
    assert row.peers_late_30_rate == 9 / (9 + 15)


def test_fewer_than_twenty_payments_of_peers_in_the_year_say_nothing(features_at):
    """
    customer | sector | country
    A        | 4321A  | FR
    B        | 4321A  | FR

    customer | due_on     | settled_on | amount | times
    B        | 2024-03-01 | 2024-03-01 | 100    | 1
    B        | 2024-03-01 | 2024-03-11 | 100    | 18
    B        | 2024-03-01 | 2024-03-20 | 100    | 1
    """
    assert np.isnan(features_at("2024-03-20").peers_late_rate)  # 19
    assert np.isnan(features_at("2024-03-20").peers_late_30_rate)
    assert features_at("2024-03-21").peers_late_rate == 19 / 20
    assert features_at("2025-03-01").peers_late_rate == 19 / 20  # 365 days after 1 March
    assert np.isnan(features_at("2025-03-02").peers_late_rate)


def test_without_a_sector_or_a_country_there_are_no_peers(features_at):
    """
    customer | sector | country | recorded_at
    A        |        | FR      | 2023-01-01
    B        | 4321A  |         | 2023-01-01
    C        | 4321A  | FR      | 2024-05-01
    D        | 4321A  | FR      | 2023-01-01

    customer | due_on     | settled_on | amount | times
    D        | 2024-03-01 | 2024-03-02 | 100    | 20
    """
    assert np.isnan(features_at("2024-06-01", "A").peers_late_rate)
    assert np.isnan(features_at("2024-06-01", "B").peers_late_rate)
    assert np.isnan(features_at("2024-06-01", "nobody").peers_late_rate)
    assert np.isnan(features_at("2024-05-01", "C").peers_late_rate)  # not recorded before
    assert features_at("2024-05-02", "C").peers_late_rate == 1


def test_payments_of_a_peer_count_from_the_day_he_was_recorded(features_at):
    """
    customer | sector | country | recorded_at
    A        | 4321A  | FR      | 2023-01-01
    B        | 4321A  | FR      | 2024-05-01

    customer | due_on     | settled_on | amount | times
    B        | 2024-03-01 | 2024-03-02 | 100    | 20
    """
    assert np.isnan(features_at("2024-05-01").peers_late_rate)
    assert features_at("2024-05-02").peers_late_rate == 1
    assert features_at("2025-05-01").peers_late_rate == 1  # 365 days after he was recorded
    assert np.isnan(features_at("2025-05-02").peers_late_rate)


def test_what_peers_paid_counts_as_it_was_first_seen_though_it_bounced_later(features_at):
    """
    customer | sector | country
    A        | 4321A  | FR
    B        | 4321A  | FR

    customer | due_on     | settled_on | amount | times
    B        | 2024-03-01 | 2024-03-11 | 100    | 19

    invoice | customer | issued_on  | due_on     | amount
    X       | B        | 2024-02-01 | 2024-03-01 | 100

    settled_on | customer | kind     | invoice | amount
    2024-03-01 | B        | payment  | X       | 100
    2024-04-08 | B        | reversal | X       | 100
    2024-04-21 | B        | payment  | X       | 100
    """
    assert features_at("2024-04-09").peers_late_rate == 19 / 20
    assert features_at("2024-04-22").peers_late_rate == (19 + 1) / (20 + 1)  # paid twice: late now
    assert features_at("2024-04-22").peers_late_30_rate == 1 / (20 + 1)


def test_a_year_of_peers_needs_a_year_of_history(features_at):
    """
    customer | sector | country
    A        | 4321A  | FR
    B        | 4321A  | FR

    customer | due_on     | settled_on | amount | times
    B        | 2024-03-01 | 2024-03-02 | 100    | 20
    """
    assert np.isnan(features_at("2024-04-01", observed_from="2023-04-03").peers_late_rate)
    assert np.isnan(features_at("2024-04-01", observed_from="2023-04-03").peers_late_30_rate)
    assert features_at("2024-04-01", observed_from="2023-04-02").peers_late_rate == 1
