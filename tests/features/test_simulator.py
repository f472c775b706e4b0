"""What a simulated ledger promises: the same bytes, rules kept, and behaviour that looks real."""

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.ledger import TABLES, Ledger, check
from features.simulator import Simulated, Simulation, simulate, write

ENDS_ON = pd.Timestamp("2025-12-31")
RESIDUE = 50  # cents


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    return simulate()


@pytest.fixture(scope="module")
def checked(simulated: Simulated) -> tuple[Ledger, pd.DataFrame]:
    return check(simulated.tables, "EUR")


@pytest.fixture(scope="module")
def ledger(checked: tuple[Ledger, pd.DataFrame]) -> Ledger:
    return checked[0]


@pytest.fixture(scope="module")
def settlements(ledger: Ledger) -> pd.DataFrame:
    """Settlements with a signed amount, and the invoice's own date and amount beside."""
    invoices = ledger["invoices"][["invoice_id", "issued_on", "due_on", "amount_cents"]]
    rows = ledger["settlements"].merge(
        invoices, on="invoice_id", how="left", suffixes=("", "_billed")
    )
    sign = rows["kind"].map({"payment": 1, "credit_note": 1, "write_off": 1, "reversal": -1})
    return rows.assign(signed=sign * rows["amount_cents"])


@pytest.fixture(scope="module")
def invoices(ledger: Ledger, settlements: pd.DataFrame) -> pd.DataFrame:
    """Invoices with what settled them in all, and the day of the last payment or credit note."""
    rows = ledger["invoices"].set_index("invoice_id")
    named = settlements[settlements["invoice_id"].notna()]
    net = named.groupby("invoice_id")["signed"].sum().reindex(rows.index, fill_value=0)
    paid = named[named["kind"].isin(["payment", "credit_note"])]
    last = paid.groupby("invoice_id")["settled_on"].max().reindex(rows.index)
    lost = named[(named["kind"] == "write_off") & (named["amount_cents"] > RESIDUE)]["invoice_id"]
    settled = (net >= rows["amount_cents"] - RESIDUE) & ~rows.index.isin(lost)
    days_late = (last - rows["due_on"]).dt.days.where(settled)
    return rows.assign(net=net, lost=rows.index.isin(lost), days_late=days_late)


@pytest.fixture(scope="module")
def failed_on(ledger: Ledger) -> pd.Series:
    return ledger["insolvency_events"].groupby("customer_id")["opened_on"].min()


def _hashes(folder: Path, simulation: Simulation) -> dict[str, str]:
    write(simulate(simulation).tables, folder)
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    once = _hashes(tmp_path / "once", Simulation(invoices=5_000, seed=3))
    again = _hashes(tmp_path / "again", Simulation(invoices=5_000, seed=3))
    other = _hashes(tmp_path / "other", Simulation(invoices=5_000, seed=4))
    assert set(once) == {f"{name}.parquet" for name in TABLES}
    assert once == again
    assert all(once[name] != other[name] for name in once)


def test_a_written_ledger_reads_back_as_it_was(tmp_path):
    tables = simulate(Simulation(invoices=2_000)).tables
    write(tables, tmp_path)
    for name, rows in tables.items():
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), rows)


def test_only_the_planted_duplicates_are_rejected(checked, simulated):
    ledger, rejects = checked
    assert set(rejects["reason"]) == {"duplicate"}
    assert set(rejects["table"]) == {"invoices", "settlements"}
    for name, count in rejects["table"].value_counts().items():
        rows = simulated.tables[name]
        assert 0.001 < count / len(rows) < 0.003
        assert count == rows.duplicated().sum()
    assert {name for name in TABLES if len(ledger[name])} == set(TABLES)


def test_no_duplicate_is_planted_when_none_is_wanted():
    _, rejects = check(simulate(Simulation(invoices=3_000, duplicate_rate=0)).tables, "EUR")
    assert rejects.empty


@pytest.mark.parametrize(
    "simulation",
    [
        Simulation(invoices=1),
        Simulation(invoices=60, years=1, seed=9),
        Simulation(invoices=3_000, years=2, ends_on=date(2024, 2, 17)),  # a Saturday, mid-month
    ],
)
def test_any_size_and_end_gives_a_ledger_that_passes(simulation):
    simulated = simulate(simulation)
    ledger, rejects = check(simulated.tables, "EUR")
    assert set(rejects["reason"]) <= {"duplicate"}
    assert ledger["invoices"]["issued_on"].max() <= pd.Timestamp(simulation.ends_on)
    assert ledger["settlements"]["settled_on"].max() <= pd.Timestamp(simulation.ends_on) or (
        ledger["settlements"].empty
    )


def test_a_ledger_of_no_invoice_or_no_year_is_refused():
    with pytest.raises(ValueError, match="must be >= 1"):
        Simulation(invoices=0)
    with pytest.raises(ValueError, match="must be >= 1"):
        Simulation(years=0)


def test_nothing_is_dated_after_the_end_nor_recorded_after_the_next_day(ledger):
    for name, table in TABLES.items():
        rows = ledger[name]
        assert (rows["recorded_at"] < ENDS_ON + pd.Timedelta(days=2)).all(), name
        dates = [c for c in table.columns if c.endswith("_on") and c != "due_on"]
        assert all((rows[c].isna() | (rows[c] <= ENDS_ON)).all() for c in dates), name


def test_nothing_is_recorded_before_it_happened(ledger):
    for name, table in TABLES.items():
        if table.happened_on is not None:
            rows = ledger[name]
            assert (rows["recorded_at"] >= rows[table.happened_on]).all(), name


def test_most_facts_are_recorded_within_days_and_a_few_weeks_later(ledger):
    for name in ("invoices", "settlements"):
        rows = ledger[name]
        delay = (rows["recorded_at"].dt.normalize() - rows[TABLES[name].happened_on]).dt.days
        assert (delay <= 4).mean() > 0.97, name
        assert 0.005 < (delay >= 5).mean() < 0.03, name
        assert delay.max() <= 30 + 3, name


def test_a_customer_is_known_before_its_first_fact(ledger):
    known = ledger["customers"].set_index("customer_id")["recorded_at"]
    for name, day in (("invoices", "issued_on"), ("settlements", "settled_on")):
        first = ledger[name].groupby("customer_id")[day].min()
        assert (first > known.reindex(first.index)).all(), name


def test_nobody_pays_on_a_week_end(ledger):
    rows = ledger["settlements"]
    assert (rows[rows["kind"] == "payment"]["settled_on"].dt.day_of_week < 5).all()


def test_invoices_and_payments_cluster_at_month_end(ledger):
    issued = ledger["invoices"]["issued_on"]
    assert (issued == issued + pd.offsets.MonthEnd(0)).mean() > 0.15
    paid = ledger["settlements"].query("kind == 'payment'")["settled_on"]
    assert (paid.dt.days_in_month - paid.dt.day < 3).mean() > 2 * 3 / 30


def test_the_ledger_has_the_size_and_the_mix_that_were_asked(ledger):
    assert len(ledger["invoices"]) == pytest.approx(100_000, rel=0.03)
    customers = ledger["customers"]
    assert len(customers) == 2_000
    assert 0.75 < (customers["country"] == "FR").mean() < 0.85
    assert 0.05 < customers["is_natural_person"].mean() < 0.11
    assert customers["sector"].nunique() > 10
    revenue = ledger["invoices"].groupby("customer_id")["amount_cents"].sum()
    assert revenue.max() > 0.02 * revenue.sum()
    first = ledger["invoices"].groupby("customer_id")["issued_on"].min()
    assert 0.2 < (first > first.min() + pd.Timedelta(days=365)).mean() < 0.5


@pytest.mark.parametrize(
    ("days", "lowest", "highest"), [(0, 0.35, 0.46), (15, 0.07, 0.13), (30, 0.03, 0.06)]
)
def test_invoices_are_late_as_often_as_in_real_ledgers(invoices, days, lowest, highest):
    """Over the invoices due 90 days before the end; what is still owed is late."""
    due = invoices[invoices["due_on"] < ENDS_ON - pd.Timedelta(days=90)]
    assert lowest < (due["days_late"].fillna(np.inf) > days).mean() < highest


def _defaulted(ledger: Ledger, invoices: pd.DataFrame, settlements: pd.DataFrame) -> set[str]:
    """Find who is 90 days past due on 10 % of exposure at some month end, without disputes.

    Cash without an invoice pays the oldest debt first.
    """
    found: set[str] = set()
    disputes = ledger["disputes"]
    for day in pd.date_range("2020-01-31", ENDS_ON, freq="ME"):
        done = settlements[settlements["settled_on"] <= day]
        billed = invoices[invoices["issued_on"] <= day]
        paid = done.groupby("invoice_id")["signed"].sum().reindex(billed.index, fill_value=0)
        owed = (billed["amount_cents"] - paid).where(lambda cents: cents > RESIDUE, 0)
        disputed = disputes[(disputes["opened_on"] <= day) & ~(disputes["closed_on"] <= day)]
        old = billed["due_on"] <= day - pd.Timedelta(days=90)
        old &= ~billed.index.isin(disputed["invoice_id"])
        cash = done[done["invoice_id"].isna()].groupby("customer_id")["signed"].sum()
        overdue = owed.where(old, 0).groupby(billed["customer_id"]).sum()
        exposure = owed.groupby(billed["customer_id"]).sum().sub(cash, fill_value=0)
        overdue = overdue.sub(cash, fill_value=0)
        found |= set(overdue.index[(overdue > 0) & (overdue >= 0.1 * exposure)])
    return found


def test_enough_customers_default_and_not_too_many(
    simulated, ledger, invoices, settlements, failed_on
):
    """In the sense of the preset `bureau`: 90 days past due on 10 % of exposure, or insolvency."""
    defaulted = _defaulted(ledger, invoices, settlements) | set(failed_on.index)
    customer_years = len(simulated.truth) / 12
    assert len(defaulted) >= 150
    assert 0.015 < len(defaulted) / customer_years < 0.04
    assert 0.01 < len(failed_on) / customer_years < 0.03


def test_stress_drives_lateness(simulated, invoices):
    stress = simulated.truth.groupby("customer_id")["stress"].mean()
    days_late = invoices.groupby("customer_id")["days_late"].mean()
    assert stress.corr(days_late, method="spearman") > 0.25


def test_stress_drives_failure_and_climbs_for_months_before_it(simulated, failed_on):
    truth = simulated.truth.assign(failed_on=simulated.truth["customer_id"].map(failed_on))
    months_left = (truth["failed_on"] - truth["month"]).dt.days // 30
    by_lead = truth.groupby(months_left)["stress"].mean()
    assert by_lead[0] > truth["stress"].mean() + 2
    assert by_lead[0] > by_lead[3] > by_lead[6] > by_lead[12] > truth["stress"].mean()
    last = truth[months_left <= 0]["stress"]
    assert 0.05 < (last < 1.5).mean() < 0.35  # sudden failures


def test_failures_come_as_often_as_the_hazard_says(simulated, failed_on):
    expected = simulated.truth["insolvency_hazard"].sum()
    assert len(failed_on) == pytest.approx(expected, abs=4 * np.sqrt(expected))
    assert simulated.truth["insolvency_hazard"].between(0, 1).all()


def test_the_truth_has_one_row_a_customer_and_month(simulated):
    assert not simulated.truth.duplicated(["customer_id", "month"]).any()
    assert (simulated.truth["month"].dt.day == 1).all()


def test_payments_slip_in_the_months_before_a_failure(invoices, failed_on):
    left = (invoices["customer_id"].map(failed_on) - invoices["due_on"]).dt.days
    late = invoices["days_late"].fillna(90).clip(-30, 90)
    assert late[left.between(0, 90)].mean() > late.mean() + 15


def test_orders_fall_before_a_failure_and_stop_after_a_liquidation(ledger, failed_on):
    invoices = ledger["invoices"]
    left = (invoices["customer_id"].map(failed_on) - invoices["issued_on"]).dt.days
    assert left.between(0, 90).sum() < 0.75 * left.between(360, 450).sum()
    events = ledger["insolvency_events"]
    ended = events[events["kind"] == "liquidation"].groupby("customer_id")["opened_on"].min()
    only = ended[ended == failed_on.reindex(ended.index)]
    assert not (invoices["issued_on"] > invoices["customer_id"].map(only)).any()


def test_what_a_failed_customer_owes_is_mostly_lost(invoices, failed_on):
    judged = invoices["customer_id"].map(failed_on)
    old = judged < ENDS_ON - pd.Timedelta(days=600)
    owed = invoices[old & (invoices["issued_on"] <= judged) & (invoices["due_on"] >= judged)]
    assert len(owed) > 50
    assert 0.5 < owed["lost"].mean() < 0.95


def test_every_oddity_of_real_ledgers_is_there(ledger, invoices, settlements):
    paid = settlements[settlements["kind"] == "payment"]
    short = invoices["amount_cents"] - invoices["net"]
    events = ledger["insolvency_events"]
    seen = {
        "partial payment": (paid["invoice_id"].dropna().value_counts() >= 2).sum(),
        "third instalment": (paid["invoice_id"].dropna().value_counts() >= 3).sum(),
        "residue": short.between(1, RESIDUE).sum(),
        "over-payment": (short < 0).sum(),
        "unallocated": paid["invoice_id"].isna().sum(),
        "deposit before issue": (paid["settled_on"] < paid["issued_on"]).sum(),
        "full credit note": (
            (settlements["kind"] == "credit_note")
            & (settlements["amount_cents"] == settlements["amount_cents_billed"])
        ).sum(),
        "credit note": (settlements["kind"] == "credit_note").sum(),
        "reversal": (settlements["kind"] == "reversal").sum(),
        "write-off": (settlements["kind"] == "write_off").sum(),
        "immediate terms": (invoices["due_on"] == invoices["issued_on"]).sum(),
        "closed dispute": ledger["disputes"]["closed_on"].notna().sum(),
        "open dispute": ledger["disputes"]["closed_on"].isna().sum(),
        "withdrawn cover": (ledger["insurance_covers"]["amount_cents"] == 0).sum(),
        "converted rescue": events["customer_id"].duplicated().sum(),
        "statement": len(ledger["financial_statements"]),
        "open at the end": (short > RESIDUE).sum(),
    }
    rare = {name: count for name, count in seen.items() if count < 5}
    assert not rare, seen
    assert set(events["kind"]) == {"safeguard", "reorganisation", "liquidation"}


def test_disputes_bring_credit_notes(ledger, settlements):
    credited = set(settlements[settlements["kind"] == "credit_note"]["invoice_id"])
    disputed = ledger["invoices"]["invoice_id"].isin(ledger["disputes"]["invoice_id"])
    has_note = ledger["invoices"]["invoice_id"].isin(credited)
    assert has_note[disputed].mean() > 10 * has_note[~disputed].mean()


def test_a_reversal_takes_back_an_earlier_payment_of_the_same_amount(settlements):
    reversals = settlements[settlements["kind"] == "reversal"]
    payments = settlements[settlements["kind"] == "payment"]
    pairs = reversals.merge(payments, on=["invoice_id", "amount_cents"], suffixes=("", "_paid"))
    earlier = pairs[
        (pairs["settled_on_paid"] < pairs["settled_on"])
        & (pairs["recorded_at_paid"] < pairs["recorded_at"])
    ]
    assert set(earlier["settlement_id"]) == set(reversals["settlement_id"])


def test_money_is_conserved(invoices):
    """Payments + credit notes + write-offs - reversals <= amount, but for rare over-payments."""
    excess = invoices["net"] - invoices["amount_cents"]
    assert (invoices["net"] >= 0).all()
    assert (excess <= 0.05 * invoices["amount_cents"]).all()
    assert 0.001 < (excess > 0).mean() < 0.005


def test_without_overpayments_no_invoice_is_settled_beyond_its_amount():
    tables = simulate(Simulation(invoices=10_000, overpayment_rate=0, duplicate_rate=0)).tables
    rows = tables["settlements"]
    signed = rows["amount_cents"].where(rows["kind"] != "reversal", -rows["amount_cents"])
    billed = tables["invoices"].set_index("invoice_id")["amount_cents"]
    net = signed.groupby(rows["invoice_id"]).sum()
    assert (net <= billed.reindex(net.index)).all()


def test_covers_of_a_customer_follow_each_other_and_shrink(ledger):
    covers = ledger["insurance_covers"].sort_values(["customer_id", "starts_on"])
    before = covers.groupby("customer_id").shift()
    follows = before["starts_on"].notna()
    assert follows.sum() > 50
    gap = covers["starts_on"] - before["ends_on"]
    assert (gap[follows] == pd.Timedelta(days=1)).all()
    assert (covers["amount_cents"] < before["amount_cents"])[follows].all()


def test_statements_come_4_to_9_months_after_the_year_and_get_worse_with_stress(simulated, ledger):
    rows = ledger["financial_statements"]
    assert (rows["published_on"] - rows["closed_on"]).dt.days.between(120, 275).all()
    stress = simulated.truth.groupby("customer_id")["stress"].mean()
    equity_rate = (rows["equity_cents"] / rows["total_assets_cents"]).astype("float64")
    by_customer = equity_rate.groupby(rows["customer_id"]).mean()
    assert by_customer.corr(stress, method="spearman") < -0.4
