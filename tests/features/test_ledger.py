"""Each rule's name is its error, and no row is ever lost."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs.ledger_page import PAGE, page
from features.ledger import TABLES, Known, LedgerError, check, empty_table
from tests.features.ledgers import raw_tables, read_tables

ROWS = {
    "customers": {"customer_id": "A"},
    "invoices": {
        "invoice_id": "F1",
        "customer_id": "A",
        "issued_on": pd.Timestamp("2024-03-01"),
        "due_on": pd.Timestamp("2024-03-31"),
        "amount_cents": 100,
    },
    "settlements": {
        "settlement_id": "R1",
        "customer_id": "A",
        "invoice_id": "F1",
        "kind": "payment",
        "settled_on": pd.Timestamp("2024-03-10"),
        "amount_cents": 100,
    },
    "disputes": {
        "dispute_id": "D1",
        "customer_id": "A",
        "invoice_id": "F1",
        "opened_on": pd.Timestamp("2024-03-10"),
        "closed_on": pd.NaT,
    },
    "insurance_covers": {
        "cover_id": "K1",
        "customer_id": "A",
        "starts_on": pd.Timestamp("2024-01-01"),
        "ends_on": pd.NaT,
        "amount_cents": 0,
        "insured_rate": 0.9,
    },
    "credit_limits": {
        "limit_id": "L1",
        "customer_id": "A",
        "decided_on": pd.Timestamp("2024-01-02"),
        "amount_cents": 0,
    },
    "insolvency_events": {
        "event_id": "E1",
        "customer_id": "A",
        "kind": "liquidation",
        "opened_on": pd.Timestamp("2024-03-10"),
    },
    "financial_statements": {
        "statement_id": "S1",
        "customer_id": "A",
        "closed_on": pd.Timestamp("2023-12-31"),
        "published_on": pd.Timestamp("2024-06-30"),
        "revenue_cents": None,
        "equity_cents": -100,
    },
    "orders": {
        "order_id": "O1",
        "customer_id": "A",
        "accepted_on": pd.Timestamp("2024-03-10"),
        "amount_cents": 100,
        "deposit_cents": 30,
        "closed_on": pd.NaT,
    },
    "customer_changes": {
        "change_id": "M1",
        "customer_id": "A",
        "changed_on": pd.Timestamp("2024-03-10"),
        "kind": "group",
        "value": "Groupe Morel",
    },
}
IBAN = "FR7630006000011234567890189"
OTHER_KEY = {TABLES[name].key: "other" for name in TABLES}
LONG_AGO, FAR = pd.Timestamp("1989-12-31"), pd.Timestamp("2100-01-02")
BEYOND_NANOSECONDS = np.datetime64("9999-12-31", "us")

BREACHES = [
    ("customers", {"customer_id": " "}, "customer_id", "blank_identifier"),
    ("customers", {"customer_id": None}, "customer_id", "missing_value"),
    ("invoices", {"customer_id": None}, "customer_id", "missing_value"),
    ("invoices", {"customer_id": "Z"}, "customer_id", "unknown_customer"),
    ("invoices", {"due_on": pd.NaT}, "due_on", "missing_value"),
    ("invoices", {"due_on": pd.Timestamp("2024-02-29")}, None, "due_before_issue"),
    ("invoices", {"due_on": FAR}, "due_on", "date_out_of_range"),
    ("invoices", {"due_on": BEYOND_NANOSECONDS}, "due_on", "date_out_of_range"),
    ("invoices", {"issued_on": LONG_AGO}, "issued_on", "date_out_of_range"),
    ("invoices", {"issued_on": pd.NaT}, "issued_on", "missing_value"),
    ("invoices", {"recorded_at": FAR}, "recorded_at", "date_out_of_range"),
    ("invoices", {"amount_cents": 0}, "amount_cents", "amount_not_positive"),
    ("invoices", {"amount_cents": -1}, "amount_cents", "amount_not_positive"),
    ("invoices", {"amount_cents": None}, "amount_cents", "missing_value"),
    ("settlements", {"customer_id": "Z"}, "customer_id", "unknown_customer"),
    ("settlements", {"invoice_id": "F9"}, "invoice_id", "unknown_invoice"),
    ("settlements", {"customer_id": "B"}, "customer_id", "not_the_invoiced_customer"),
    ("settlements", {"kind": "cheque"}, "kind", "unknown_kind"),
    ("settlements", {"kind": None}, "kind", "missing_value"),
    ("settlements", {"settled_on": pd.NaT}, "settled_on", "missing_value"),
    ("settlements", {"amount_cents": None}, "amount_cents", "missing_value"),
    ("disputes", {"invoice_id": None}, "invoice_id", "missing_value"),
    ("disputes", {"invoice_id": "F9"}, "invoice_id", "unknown_invoice"),
    ("disputes", {"closed_on": pd.Timestamp("2024-03-09")}, None, "closed_before_opened"),
    ("insurance_covers", {"ends_on": pd.Timestamp("2023-12-31")}, None, "ends_before_start"),
    ("insurance_covers", {"amount_cents": -1}, "amount_cents", "amount_negative"),
    ("insurance_covers", {"insured_rate": 1.01}, "insured_rate", "rate_outside_0_1"),
    ("insurance_covers", {"insured_rate": None}, "insured_rate", "missing_value"),
    ("credit_limits", {"amount_cents": -1}, "amount_cents", "amount_negative"),
    ("credit_limits", {"decided_on": None}, "decided_on", "missing_value"),
    ("insolvency_events", {"kind": "rumour"}, "kind", "unknown_kind"),
    ("insolvency_events", {"customer_id": "Z"}, "customer_id", "unknown_customer"),
    (
        "financial_statements",
        {"published_on": pd.Timestamp("2023-12-30")},
        None,
        "published_before_closed",
    ),
    ("orders", {"customer_id": "Z"}, "customer_id", "unknown_customer"),
    ("orders", {"accepted_on": pd.NaT}, "accepted_on", "missing_value"),
    ("orders", {"closed_on": pd.Timestamp("2024-03-09")}, None, "closed_before_accepted"),
    ("orders", {"amount_cents": 0}, "amount_cents", "amount_not_positive"),
    ("orders", {"deposit_cents": -1}, "deposit_cents", "amount_negative"),
    ("orders", {"deposit_cents": 101}, None, "deposit_above_amount"),
    ("customer_changes", {"customer_id": "Z"}, "customer_id", "unknown_customer"),
    ("customer_changes", {"changed_on": pd.NaT}, "changed_on", "missing_value"),
    ("customer_changes", {"kind": "address"}, "kind", "unknown_kind"),
    ("customer_changes", {"value": " "}, "value", "blank_value"),
    (
        "customer_changes",
        {"kind": "bank_details", "value": IBAN},
        None,
        "bank_details_are_not_kept",
    ),
    (
        "customer_changes",
        {"kind": "strategic_importance", "value": "vital"},
        None,
        "unknown_importance",
    ),
]


def frames(**more):
    """One good row of each table, two customers, and more rows of some."""
    rows = {name: [row] for name, row in ROWS.items()}
    rows["customers"].append({"customer_id": "B"})
    for name, extra in more.items():
        rows[name] = rows[name] + extra
    return {name: pd.DataFrame(part) for name, part in rows.items()}


@pytest.mark.parametrize(("table", "breach", "column", "reason"), BREACHES)
def test_a_bad_row_is_rejected_under_the_name_of_its_rule(table, breach, column, reason):
    bad = ROWS[table] | {TABLES[table].key: "other"} | breach
    ledger, rejects = check(frames(**{table: [bad]}), "EUR")
    assert rejects["table"].tolist() == [table]
    assert rejects["row"].tolist() == [len(frames()[table])]  # its index label
    assert rejects["reason"].tolist() == [reason]
    assert rejects["column"].isna().tolist() == [column is None]  # a rule between two columns
    assert rejects["column"].dropna().tolist() == ([column] if column else [])
    assert len(ledger[table]) == len(frames()[table])


def test_good_rows_at_the_edge_of_every_rule_pass():
    edge = {
        "invoices": [ROWS["invoices"] | {"invoice_id": "F2", "due_on": pd.Timestamp("2024-03-01")}],
        "insurance_covers": [
            ROWS["insurance_covers"]
            | {"cover_id": "K2", "ends_on": pd.Timestamp("2024-01-01"), "insured_rate": 1.0}
        ],
        "settlements": [ROWS["settlements"] | {"settlement_id": "R2", "invoice_id": None}],
        "orders": [
            ROWS["orders"]
            | {"order_id": "O2", "closed_on": pd.Timestamp("2024-03-10"), "deposit_cents": 100}
        ],
        "customer_changes": [
            ROWS["customer_changes"] | {"change_id": f"N{n}", "kind": kind, "value": value}
            for n, (kind, value) in enumerate(
                [
                    ("group", None),
                    ("bank_details", "unverified"),
                    ("bank_details", "verified"),
                    ("bank_details", None),
                    ("strategic_importance", "key"),
                    ("strategic_importance", "normal"),
                    ("strategic_importance", None),
                ]
            )
        ],
    }
    ledger, rejects = check(frames(**edge), "EUR")
    assert rejects.empty
    assert ledger.rows == sum(map(len, frames(**edge).values()))
    assert ledger["financial_statements"]["revenue_cents"].isna().all()


def test_a_row_that_breaks_several_rules_is_listed_once_under_the_first_column():
    bad = {"invoice_id": " ", "due_on": LONG_AGO, "amount_cents": -1}
    _, rejects = check(frames(invoices=[ROWS["invoices"] | bad]), "EUR")
    assert rejects[["column", "reason"]].to_numpy().tolist() == [["invoice_id", "blank_identifier"]]


# --- Duplicates --------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_the_same_row_twice_is_a_duplicate(table):
    ledger, rejects = check(frames(**{table: [ROWS[table]]}), "EUR")
    assert rejects[["table", "reason"]].to_numpy().tolist() == [[table, "duplicate"]]
    assert len(ledger[table]) == len(frames()[table])


@pytest.mark.parametrize(
    ("table", "other"),
    [
        ("customers", {"name": "Atelier Morel"}),
        ("invoices", {"amount_cents": 101}),
        ("invoices", {"original_currency": "USD"}),
        ("settlements", {"invoice_id": None}),
        ("disputes", {"closed_on": pd.Timestamp("2024-04-01")}),
        ("financial_statements", {"revenue_cents": 5}),
        ("financial_statements", {"equity_cents": None}),
    ],
)
def test_the_same_key_with_other_content_is_told_apart_from_a_duplicate(table, other):
    _, rejects = check(frames(**{table: [ROWS[table] | other]}), "EUR")
    found = rejects[["column", "reason"]].to_numpy().tolist()
    assert found == [[TABLES[table].key, "duplicate_with_other_content"]]


def test_of_two_records_of_a_fact_the_earlier_counts_wherever_it_stands(checked):
    """
    customer | invoice | issued_on  | due_on     | amount | recorded_at
    A        | F1      | 2024-03-01 | 2024-03-31 | 100    | 2024-03-09
    A        | F1      | 2024-03-01 | 2024-03-31 | 100    | 2024-03-02
    """
    ledger, rejects = checked
    assert ledger["invoices"]["recorded_at"].tolist() == [pd.Timestamp("2024-03-02")]
    assert rejects["row"].tolist() == [0]


@pytest.mark.parametrize("bad_first", [True, False])
def test_a_refused_row_does_not_push_out_a_good_one_of_the_same_number(bad_first):
    bad = ROWS["settlements"] | {"customer_id": "B"}
    rows = [bad, ROWS["settlements"]] if bad_first else [ROWS["settlements"], bad]
    ledger, rejects = check(frames() | {"settlements": pd.DataFrame(rows)}, "EUR")
    assert ledger["settlements"]["customer_id"].tolist() == ["A"]
    assert rejects["reason"].tolist() == ["not_the_invoiced_customer"]


# --- Numbers of settlements --------------------------------------------------------------

UNNUMBERED = """
    settled_on | invoice | amount | customer
    2024-03-10 | F1      | 50.00  | A
    2024-03-10 | F1      | 50.00  | A
    2024-03-10 | F1      | 25.00  | A
    2024-03-11 | F1      | 50.00  | A
    2024-03-11 |         | 50.00  | A
    2024-03-11 |         | 50.00  | B
    """


def numbers(rows):
    tables = frames() | {"settlements": rows}
    ledger, rejects = check(tables, "EUR")
    assert len(ledger["settlements"]) + (rejects["table"] == "settlements").sum() == len(rows)
    return ledger["settlements"]["settlement_id"]


def test_unnumbered_settlements_get_a_number_each_that_depends_on_their_content_alone():
    rows = read_tables(UNNUMBERED)["settlements"]
    given = numbers(rows)
    assert given.is_unique
    assert set(numbers(rows[::-1])) == set(given)
    assert set(numbers(rows[2:])) < set(given)


def test_a_bad_row_in_the_file_does_not_renumber_the_good_ones():
    rows = read_tables(UNNUMBERED)["settlements"]
    clean = numbers(rows.astype({"amount_cents": "int64"}))
    bad = rows.iloc[:1].assign(amount_cents=np.nan, settled_on=pd.NaT)
    with_bad = pd.concat([rows, bad], ignore_index=True).astype({"amount_cents": "float64"})
    assert set(numbers(with_bad)) == set(clean)


def test_cash_in_no_invoices_name_is_not_taken_for_an_invoice_named_like_the_customer():
    tables = frames()
    tables["invoices"]["invoice_id"] = "A"
    row = {k: v for k, v in ROWS["settlements"].items() if k != "settlement_id"}
    tables["settlements"] = pd.DataFrame([row | {"invoice_id": "A"}, row | {"invoice_id": None}])
    tables["disputes"] = empty_table("disputes")
    ledger, rejects = check(tables, "EUR")
    assert rejects.empty
    assert ledger["settlements"]["settlement_id"].is_unique


def test_a_file_of_cash_without_invoices_needs_no_invoice_column():
    rows = pd.DataFrame([ROWS["settlements"]]).drop(columns=["settlement_id", "invoice_id"])
    ledger, rejects = check(frames() | {"settlements": rows}, "EUR")
    assert rejects.empty
    assert ledger["settlements"]["invoice_id"].isna().all()


# --- What is already known ---------------------------------------------------------------


def known(customer="A"):
    return Known(pd.Index(["A", "B"], dtype="str"), pd.Series({"F1": customer}, dtype="str"))


def test_a_later_file_may_refer_to_customers_and_invoices_of_earlier_ones():
    tables = {"settlements": pd.DataFrame([ROWS["settlements"]])}
    ledger, rejects = check(tables, "EUR", known())
    assert rejects.empty
    assert len(ledger["settlements"]) == 1
    _, rejects = check(tables, "EUR")
    assert rejects["reason"].tolist() == ["unknown_customer"]


def test_the_debtor_already_known_wins_over_what_a_later_file_says():
    """The store refuses the other invoice F1, so nothing may refer to it."""
    _, rejects = check(frames(), "EUR", known(customer="B"))
    assert rejects[["table", "reason"]].to_numpy().tolist() == [
        ["settlements", "not_the_invoiced_customer"],
        ["disputes", "not_the_invoiced_customer"],
    ]


# --- Defaults ----------------------------------------------------------------------------


def test_without_recorded_at_a_fact_was_known_on_its_own_date_and_is_flagged():
    rows = pd.DataFrame([ROWS["invoices"] | {"recorded_at": pd.Timestamp("2024-03-05 10:00")}])
    rows = pd.concat([rows, pd.DataFrame([ROWS["invoices"] | {"invoice_id": "F2"}])])
    ledger, _ = check(frames() | {"invoices": rows.reset_index(drop=True)}, "EUR")
    recorded = ledger["invoices"]["recorded_at"]
    assert recorded.tolist() == [pd.Timestamp("2024-03-05 10:00"), pd.Timestamp("2024-03-01")]
    assert ledger["invoices"]["recorded_assumed"].tolist() == [False, True]


def test_a_customer_is_no_natural_person_unless_said():
    said = pd.DataFrame({"customer_id": list("ABC"), "is_natural_person": [True, None, np.nan]})
    ledger, _ = check({"customers": said}, "EUR")
    assert ledger["customers"]["is_natural_person"].tolist() == [True, False, False]
    ledger, _ = check({"customers": said[["customer_id"]]}, "EUR")
    assert not ledger["customers"]["is_natural_person"].any()


@pytest.mark.parametrize("given", [{}, {name: pd.DataFrame() for name in TABLES}])
def test_absent_tables_are_empty_and_typed(given):
    ledger, rejects = check(given, "EUR")
    assert rejects.empty
    for name in TABLES:
        pd.testing.assert_frame_equal(ledger[name], empty_table(name))


# --- Calls that cannot be understood -----------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"parcels": pd.DataFrame()}, "1 unknown table.*'parcels'"),
        ({"customers": pd.DataFrame({"rank": [1]})}, "customers has 1 unknown column.*'rank'"),
        (
            {"invoices": pd.DataFrame([ROWS["invoices"] | {"amount_cents": 100.5}])},
            "invoices.amount_cents must be whole cents; 1 rows, first 0",
        ),
        (
            {"invoices": pd.DataFrame([ROWS["invoices"]] * 2, index=[7, 7])},
            "invoices: index labels must be unique",
        ),
        (
            {"customers": pd.DataFrame({"customer_id": ["A"], "is_natural_person": ["no"]})},
            "customers.is_natural_person must be true or false; 1 rows, first 0",
        ),
        (
            {"invoices": pd.DataFrame([ROWS["invoices"] | {"due_on": "soon"}])},
            "invoices cannot be read as declared",
        ),
        (
            {"invoices": pd.DataFrame([ROWS["invoices"] | {"due_on": pd.Timestamp(0, tz="UTC")}])},
            "invoices cannot be read as declared",
        ),
    ],
)
def test_a_call_outside_the_contract_says_what_and_where(tables, message):
    with pytest.raises(LedgerError, match=message):
        check(tables, "EUR")


# --- Nothing is lost ---------------------------------------------------------------------


@st.composite
def damaged_tables(draw):
    """Draw good tables, then spoil some rows, repeat some, and drop some customers."""
    tables = draw(raw_tables())
    for name, rows in tables.items():
        picked = st.lists(st.integers(0, max(len(rows) - 1, 0)), max_size=4)
        if len(rows):
            rows = pd.concat([rows, rows.iloc[draw(picked)]], ignore_index=True)
        for row in draw(picked) if len(rows) else []:
            column = draw(st.sampled_from(list(rows)))
            if rows[column].dtype == "int64":
                rows[column] = rows[column].astype("Int64")
            rows.loc[row, column] = None
        tables[name] = rows
    return tables


@given(damaged_tables(), st.sampled_from([1, 3]))
@settings(max_examples=10, deadline=None)
def test_rows_kept_and_rejects_are_the_rows_given(tables, step):
    tables = {name: rows.set_index(rows.index * step + 10) for name, rows in tables.items()}
    ledger, rejects = check(tables, "EUR")
    for name, rows in tables.items():
        lost = rejects.loc[rejects["table"] == name, "row"]
        assert sorted([*ledger[name].index, *lost]) == sorted(rows.index)


@given(raw_tables())
@settings(max_examples=4, deadline=None)
def test_a_checked_ledger_checks_again_without_a_change(tables):
    ledger, _ = check(tables, "EUR")
    again, rejects = check(ledger.tables, "EUR")
    assert rejects.empty
    for name in TABLES:
        pd.testing.assert_frame_equal(again[name], ledger[name])


def test_the_page_of_the_ledger_is_the_contract():
    assert PAGE.read_text("utf-8") == page(), "run `make docs`"
