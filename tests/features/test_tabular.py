"""Import of CSV and Parquet: what a user can get wrong, and that nothing is lost."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.importers.tabular import MappingError, load_mapping, read, summary
from features.ledger import Known, LedgerError

ROOT = Path(__file__).parents[2]
RECEIVABLES = ROOT.parent / "shared" / "data" / "receivables_2018_2019.csv"
EXAMPLE = (ROOT / "mappings" / "receivables.yaml").read_text("utf-8")
HEADER = "document,customer,due_date,clear_date,amount\n"
GOOD = "F-1,C-1,2024-01-31,2024-02-10,80.50\n"


@pytest.fixture
def imported(tmp_path):
    """Import CSV text (or bytes) with the example mapping, some of its text replaced."""

    def run(source, *replaced, mapping=EXAMPLE, **options):
        for old, new in replaced:
            assert old in mapping
            mapping = mapping.replace(old, new)
        (tmp_path / "mapping.yaml").write_text(mapping, "utf-8")
        data = source if isinstance(source, bytes) else source.encode()
        (tmp_path / "ledger.csv").write_bytes(data)
        return read(tmp_path / "ledger.csv", load_mapping(tmp_path / "mapping.yaml"), **options)

    return run


@pytest.fixture
def mapping_error(tmp_path):
    """Say what is wrong with a mapping."""

    def run(*replaced, mapping=EXAMPLE):
        for old, new in replaced:
            assert old in mapping
            mapping = mapping.replace(old, new)
        (tmp_path / "wrong.yaml").write_text(mapping, "utf-8")
        with pytest.raises(MappingError) as error:
            load_mapping(tmp_path / "wrong.yaml")
        assert "wrong.yaml" in str(error.value)
        return str(error.value)

    return run


def reasons(imported, table="invoices"):
    rejects = imported.rejects[imported.rejects["table"] == table]
    return dict(zip(rejects["line"], rejects["reason"], strict=True))


def balanced(imported):
    return all(
        a.read == a.kept + a.rejected + a.repeated_customers + a.not_settled
        for a in imported.accounts.values()
    )


# What is read


def test_the_example_reads_as_its_mapping_says(imported):
    found = imported(HEADER + GOOD + "F-2,C-1,2024-03-01,2024-02-20,1000\n")
    invoices, settlements = found.ledger["invoices"], found.ledger["settlements"]
    assert found.ledger.currency == "USD"
    assert found.ledger["customers"]["customer_id"].tolist() == ["C-1"]
    assert invoices["invoice_id"].tolist() == ["F-1", "F-2"]
    assert invoices["amount_cents"].tolist() == [8050, 100000]
    assert invoices["due_on"].dt.strftime("%Y-%m-%d").tolist() == ["2024-01-31", "2024-03-01"]
    assert invoices["issued_on"].dt.strftime("%Y-%m-%d").tolist() == ["2024-01-17", "2024-02-16"]
    assert (invoices["recorded_at"] == invoices["issued_on"]).all()
    assert invoices["recorded_assumed"].all()
    assert settlements["customer_id"].tolist() == ["C-1", "C-1"]
    assert settlements["kind"].tolist() == ["payment", "payment"]
    assert found.rejects.empty
    assert "issued_on = due_on - 14 days (assumed)" in found.assumptions
    said = ("disputes", "credit_notes", "write_offs", "covers", "terms")
    not_filled = ("insurance_covers", "credit_limits", "insolvency_events", "financial_statements")
    assert found.absent == (*said, *not_filled, "orders", "customer_changes")
    assert found.sources[0][0] == "ledger.csv"
    assert len(found.sources[0][1]) == 64


def test_the_example_of_the_contracts_stays_valid():
    contracts = ROOT.parent / "shared" / "design" / "CONTRACTS.md"
    if not contracts.exists():
        pytest.skip("../shared/design/CONTRACTS.md is absent: it is not part of the project")
    example = contracts.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    lines = [line.split(" #")[0].strip() for line in example.splitlines()]
    ours = [line.split(" #")[0].strip() for line in EXAMPLE.splitlines()]
    assert [line for line in lines if line and line[0] != "#"] == [
        line for line in ours if line and line[0] != "#"
    ]


def test_the_summary_speaks_of_money_dates_and_lateness(imported):
    """F-1 is paid 10 days late, F-2 10 days early, F-3 not at all."""
    found = imported(
        HEADER + GOOD + "F-2,C-2,2024-03-01,2024-02-20,1000\nF-3,C-2,2024-03-01,,19.99\nbad\n"
    )
    told = summary(found)
    assert told.rows_read == 4
    assert told.kept == {"customers": 2, "invoices": 3, "settlements": 2}
    assert told.quarantined == {"wrong_number_of_fields": 1}
    assert (told.first_on, told.last_on) == (date(2024, 1, 17), date(2024, 2, 20))
    assert (told.customers, told.exposure_cents, told.late_rate) == (2, 1999, 1 / 2)
    assert summary(found, as_of=date(2024, 2, 10)).exposure_cents == 8050
    assert summary(found, as_of=date(2020, 1, 1)).late_rate is None


def test_invoices_that_differ_only_by_number_stay_apart(imported):
    found = imported(HEADER + GOOD + GOOD.replace("F-1", "F-2"))
    assert len(found.ledger["invoices"]) == 2


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("cp1252", "cp1252"),
        ("iso-8859-15", "iso-8859-15"),
        ("utf-16", "utf-16"),
    ],
)
def test_the_declared_encoding_is_read(imported, encoding, declared):
    text = HEADER + "Pièce-1€,Hôtel,2024-01-31,2024-02-10,80.50\n"
    found = imported(text.encode(encoding), ("utf-8", declared))
    assert found.ledger["invoices"][["invoice_id", "customer_id"]].to_numpy().tolist() == [
        ["Pièce-1€", "Hôtel"]
    ]


def test_a_quoted_header_after_a_byte_order_mark_is_read(imported):
    header = '"' + HEADER.strip().replace(",", '","') + '"\n'
    assert len(imported(("\ufeff" + header + GOOD).encode()).ledger["invoices"]) == 1


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_read_and_the_last_may_be_missing(imported, ending):
    text = (HEADER + GOOD + "F-2,C-1,31/01/2024,,1").replace("\n", ending)
    found = imported(text)
    assert found.ledger["invoices"]["amount_cents"].tolist() == [8050]
    assert reasons(found) == {3: "bad_date"}


@pytest.mark.parametrize(
    ("thousands", "amounts"),
    [
        (None, {"1234,5": 123450, "0,10000": 10, "+7": 700, "00,5": 50}),
        (None, {"90071992547409,93": 9007199254740993}),  # 2**53 + 1 is no double
        (".", {"1.234.567,89": 123456789, "1234567,89": 123456789, "1.23": None}),
        (" ", {"1 234,00": 123400, "1\u202f234": 123400, "12 34": None, "1.5": None}),
    ],
)
def test_amounts_are_read_to_the_cent(imported, thousands, amounts):
    lines = [f"F-{n};C-1;2024-01-31;;{amount}\n" for n, amount in enumerate(amounts)]
    found = imported(
        HEADER.replace(",", ";") + "".join(lines),
        ('separator: ","', 'separator: ";"'),
        ('decimal: "."', f'decimal: ",", thousands: {json.dumps(thousands)}'),
    )
    kept = [cents for cents in amounts.values() if cents is not None]
    assert found.ledger["invoices"]["amount_cents"].tolist() == kept
    assert set(reasons(found).values()) <= {"bad_amount"}


def test_days_without_a_leading_zero_can_be_declared(imported):
    text = HEADER + "F-1,C-1,3/1/2024,10/2/2024,1\nF-2,C-1,03/01/2024,,1\n"
    found = imported(text, ('"%Y-%m-%d"', '"%-d/%-m/%Y"'))
    assert found.ledger["invoices"]["due_on"].tolist() == [pd.Timestamp("2024-01-03")]
    assert reasons(found) == {3: "bad_date"}


def test_recorded_at_is_an_instant_in_utc_with_a_format_of_its_own(imported):
    found = imported(
        HEADER.strip() + ",entered\n" + GOOD.strip() + ",2024-01-18T09:30:00+02:00\n",
        ('date: "%Y-%m-%d"', 'date: "%Y-%m-%d", instant: "%Y-%m-%dT%H:%M:%S%z"'),
        ("recorded_at: issued_on", "recorded_at: entered"),
    )
    invoices = found.ledger["invoices"]
    assert invoices["recorded_at"].tolist() == [pd.Timestamp("2024-01-18 07:30:00")]
    assert not invoices["recorded_assumed"].any()


def test_source_kinds_are_translated(imported):
    found = imported(
        HEADER.strip() + ",type\n" + GOOD.strip() + ",REG\n"
        "F-2,C-1,2024-01-31,2024-02-10,1,AVO\nF-3,C-1,2024-01-31,2024-02-10,1,XYZ\n",
        ("kind: =payment", "kind: type, kinds: {REG: payment, AVO: credit_note}"),
    )
    assert found.ledger["settlements"]["kind"].tolist() == ["payment", "credit_note"]
    assert reasons(found, "settlements") == {4: "unknown_kind"}


def test_an_empty_settlement_date_means_not_settled_yet(imported):
    found = imported(HEADER + GOOD + "F-2,C-1,2024-01-31,,5\nF-3,C-1,2024-01-31,never,5\n")
    assert len(found.ledger["invoices"]) == 3
    assert found.ledger["settlements"]["invoice_id"].tolist() == ["F-1"]
    assert found.accounts["settlements"].not_settled == 1
    assert reasons(found, "settlements") == {4: "bad_date"}
    assert balanced(found)


def test_a_customer_repeats_on_its_invoices_and_another_name_is_a_reject(imported):
    text = HEADER.strip() + ",name\n" + GOOD.strip() + ",Morel\n"
    text += "F-2,C-1,2024-01-31,,1,Morel\nF-3,C-1,2024-01-31,,1,Martin\n"
    found = imported(text, ("{customer_id: customer}", "{customer_id: customer, name: name}"))
    assert found.ledger["customers"]["name"].tolist() == ["Morel"]
    assert found.accounts["customers"].repeated_customers == 1
    assert reasons(found, "customers") == {4: "duplicate_with_other_content"}
    assert len(found.ledger["invoices"]) == 3
    assert balanced(found)


def test_lines_without_a_customer_are_no_repeats_of_each_other(imported):
    found = imported(HEADER + GOOD + 2 * "F-2,,2024-01-31,,5\n")
    assert reasons(found, "customers") == {3: "missing_value", 4: "missing_value"}
    assert found.accounts["customers"].repeated_customers == 0


# Currencies

FOREIGN = [
    ("currency: USD", "currency: EUR\nexchange_rates: {USD: 0.92, GBP: 1.005}"),
    ("amount: amount,\n", "amount: amount, currency: money,\n"),
    ("amount: amount, kind", "amount: amount, currency: money, kind"),
]


def test_foreign_amounts_are_converted_and_kept_as_written(imported):
    text = HEADER.strip() + ",money\n"
    for n, (amount, money) in enumerate(
        [("100.00", "EUR"), ("80.5", "usd"), ("3.00", "GBP"), ("1", "CHF"), ("1", "")]
    ):
        text += f"F-{n},C-1,2024-01-31,2024-02-10,{amount},{money}\n"
    found = imported(text, *FOREIGN)
    invoices = found.ledger["invoices"]
    # 80.50 × 0.92 = 74.06; 300 × 1.005 = 301.5 cents, 302 (in doubles 301.49999999999994)
    assert invoices["amount_cents"].tolist() == [10000, 7406, 302]
    assert invoices["original_amount"].tolist() == ["100.00", "80.5", "3.00"]
    assert invoices["original_currency"].tolist() == ["EUR", "USD", "GBP"]
    assert reasons(found) == {5: "no_exchange_rate", 6: "missing_value"}
    assert "1 USD = 0.92 EUR at any date (assumed)" in found.assumptions
    assert balanced(found)


@settings(deadline=None, max_examples=5, suppress_health_check=list(HealthCheck))
@given(
    amounts=st.lists(st.integers(1, 10**14).map(lambda cents: Decimal(cents) / 100), min_size=20),
    rate=st.integers(1, 10**6).map(lambda rate: Decimal(rate) / 10_000),
)
def test_conversion_is_exact_and_rounded_once(imported, amounts, rate):
    lines = [f"F-{n},C-1,2024-01-31,,{amount},USD\n" for n, amount in enumerate(amounts)]
    rates = (FOREIGN[0][0], f"currency: EUR\nexchange_rates: {{USD: {rate:f}}}")
    found = imported(HEADER.strip() + ",money\n" + "".join(lines), rates, *FOREIGN[1:])
    exact = [round(amount * 100 * rate) for amount in amounts]
    assert found.ledger["invoices"]["amount_cents"].tolist() == [c for c in exact if c > 0]


# Folders and Parquet


def test_a_folder_of_parquet_files_passes_straight_through(tmp_path):
    day = pd.to_datetime(["2024-01-17", "2024-02-10"]).astype("datetime64[ns]")
    noon = day + pd.Timedelta(hours=12)
    tables = {
        "customers": {
            "customer_id": ["C-1", "C-2"],
            "name": ["Morel", None],
            "country": "FR",
            "sector": "43",
            "is_natural_person": [False, True],
            "recorded_at": day,
        },
        "invoices": {
            "invoice_id": ["F-1", "F-2"],
            "customer_id": ["C-1", "C-2"],
            "issued_on": day,
            "due_on": day + pd.Timedelta(days=30),
            "amount_cents": [8050, 2**53 + 1],
            "recorded_at": noon,
        },
        "settlements": {
            "settlement_id": ["R-1", "R-2"],
            "customer_id": ["C-1", "C-2"],
            "invoice_id": ["F-1", None],
            "kind": ["payment", "payment"],
            "settled_on": day + pd.Timedelta(days=40),
            "amount_cents": [8050, 7],
            "recorded_at": noon + pd.Timedelta(days=40),
        },
        "insurance_covers": {
            "cover_id": ["A-1", "A-2"],
            "customer_id": ["C-1", "C-9"],
            "starts_on": day,
            "ends_on": [pd.NaT, pd.Timestamp("2024-05-01")],
            "amount_cents": [0, 1],
            "insured_rate": [0.9, 0.9],
            "recorded_at": noon,
        },
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_parquet(tmp_path / f"{name}.parquet", index=False)
    found = read(tmp_path, load_mapping(ROOT / "mappings" / "encours.yaml"))
    for name in ("customers", "invoices", "settlements"):
        kept = found.ledger[name][list(tables[name])]
        pd.testing.assert_frame_equal(kept, pd.DataFrame(tables[name]), check_dtype=False)
    assert len(found.ledger["insurance_covers"]) == 1
    assert reasons(found, "insurance_covers") == {2: "unknown_customer"}
    assert json.loads(found.rejects["row"][0])["starts_on"] == "2024-02-10 00:00:00"
    said = ("disputes", "credit_limits", "insolvency_events", "financial_statements")
    assert found.absent == (*said, "orders", "customer_changes")
    assert len(found.sources) == 4
    assert balanced(found)


PARQUET = """
format: {type: parquet, date: "%Y%m%d"}
currency: EUR
customers: {file: invoices.parquet, customer_id: who}
invoices: {file: invoices.parquet, invoice_id: n, customer_id: who, issued_on: day, due_on: due,
           amount: amount}
"""


def test_typed_columns_are_never_guessed(tmp_path):
    """Numbers as identifiers, a date as an integer, an amount as a double, the year 9999."""
    (tmp_path / "mapping.yaml").write_text(PARQUET)
    table = {
        "n": pa.array([1.0, 2.0, 3.0, 4.0]),
        "who": pa.array([140104249] * 4),
        "day": pa.array([20240117] * 4),
        "due": pa.array([date(2024, 1, 31), date(9999, 12, 31), date(2024, 1, 31), None]),
        "amount": pa.array([155010.63, 1.0, 0.125, 1e10]),
    }
    pq.write_table(pa.table(table), tmp_path / "invoices.parquet")
    found = read(tmp_path, load_mapping(tmp_path / "mapping.yaml"))
    assert found.ledger["invoices"]["invoice_id"].tolist() == ["1"]
    assert found.ledger["invoices"]["customer_id"].tolist() == ["140104249"]
    assert found.ledger["invoices"]["amount_cents"].tolist() == [15501063]
    assert found.ledger["invoices"]["issued_on"].tolist() == [pd.Timestamp("2024-01-17")]
    assert reasons(found) == {
        2: "date_out_of_range",
        3: "amount_has_more_than_two_decimals",
        4: "missing_value",
    }


def test_a_date_with_a_time_zone_is_the_day_there(tmp_path):
    (tmp_path / "mapping.yaml").write_text(PARQUET)
    midnight = pd.to_datetime(["2024-01-17"]).tz_localize("Europe/Paris")
    table = {"n": ["F-1"], "who": ["C-1"], "day": midnight, "due": midnight, "amount": ["1.00"]}
    pd.DataFrame(table).to_parquet(tmp_path / "invoices.parquet")
    found = read(tmp_path, load_mapping(tmp_path / "mapping.yaml"))
    assert found.ledger["invoices"]["due_on"].tolist() == [pd.Timestamp("2024-01-17")]


def test_a_parquet_column_of_lists_is_a_clear_error(tmp_path):
    (tmp_path / "mapping.yaml").write_text(PARQUET)
    table = {name: pa.array([[1]]) for name in ("n", "who", "day", "due", "amount")}
    pq.write_table(pa.table(table), tmp_path / "invoices.parquet")
    with pytest.raises(LedgerError, match=r"'who' of type list.* cannot be read as text"):
        read(tmp_path, load_mapping(tmp_path / "mapping.yaml"))


def test_a_csv_file_is_no_parquet_file(tmp_path):
    (tmp_path / "invoices.parquet").write_text(HEADER)
    (tmp_path / "mapping.yaml").write_text(PARQUET)
    with pytest.raises(LedgerError, match=r"invoices.parquet: .*no readable Parquet.*csv"):
        read(tmp_path, load_mapping(tmp_path / "mapping.yaml"))


SETTLEMENTS_ONLY = """
format: {type: csv}
currency: EUR
settlements: {invoice_id: n, settled_on: day, amount: paid, kind: =payment}
"""


def test_a_settlement_file_finds_the_customers_of_known_invoices(imported):
    known = Known(pd.Index(["C-1"]), pd.Series({"F-1": "C-1"}))
    found = imported(
        "n,day,paid\nF-1,2024-02-10,5\nF-9,2024-02-10,5\n,2024-02-10,5\nF-1,,5\n",
        mapping=SETTLEMENTS_ONLY,
        known=known,
    )
    assert found.ledger["settlements"]["customer_id"].tolist() == ["C-1"]
    rejected = reasons(found, "settlements")
    assert rejected == {3: "unknown_invoice", 4: "missing_value", 5: "missing_value"}
    assert balanced(found)


def test_a_folder_wants_a_file_for_each_table_and_a_missing_file_is_named(tmp_path):
    with pytest.raises(LedgerError, match=r"is a folder, and the mapping has no customers.file"):
        read(tmp_path, load_mapping(ROOT / "mappings" / "receivables.yaml"))
    encours = load_mapping(ROOT / "mappings" / "encours.yaml")
    with pytest.raises(LedgerError, match=r"customers.parquet cannot be read: No such file"):
        read(tmp_path, encours)
    (tmp_path / "one").write_text("")
    with pytest.raises(LedgerError, match=r"is one file; give the folder"):
        read(tmp_path / "one", encours)


# Files that cannot be read


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", ["the file is empty"]),
        (b"\n\n", ["no readable header"]),
        (HEADER, ["has a header and no rows"]),
        (HEADER.replace("customer", "document") + GOOD, ["twice", "'document'"]),
        (
            HEADER.replace("due_date", "echeance") + GOOD,
            ["needs", "not found: due_date", "the file has document", "echeance"],
        ),
        (
            (HEADER + GOOD).replace(",", ";"),
            ["not found: customer, document", "format.separator ';' they are all there"],
        ),
        (('"' + HEADER.strip().replace(",", '"\t"') + '"\n' + GOOD), ["'\\t' they are all there"]),
        (
            (HEADER + GOOD + "F-é,C,2024-01-31,,1\n").encode("cp1252"),
            ["byte 83 (line 3) is no utf-8", "try format.encoding cp1252"],
        ),
        ((HEADER + GOOD).encode("utf-16"), ["is no utf-8", "try format.encoding utf-16"]),
        ((HEADER + GOOD).encode("utf-16-le"), ["line 1", "NUL", "format.encoding utf-16-le"]),
        (HEADER + GOOD.replace("F-1", "F\0"), ["line 2 holds a NUL byte"]),
        (b"PK\x03\x04rest", ["an Excel or zip file"]),
        (b"PAR1rest", ["a Parquet file"]),
    ],
)
def test_a_file_that_cannot_be_read_says_why(imported, source, words):
    with pytest.raises(LedgerError) as error:
        imported(source)
    message = str(error.value)
    assert "ledger.csv" in message
    assert [word for word in words if word not in message] == []
    assert not [value for value in ("F-1", "C-1", "80.50") if value in message]


@pytest.mark.parametrize(
    "first_line",
    [
        "F-1,Morel,2024-01-31,2024-02-10,80.50",
        "F-1,Morel,31 janv. 2024,,-80.50",
        "F-1,Morel,2024-01-31,2024-01-31,Morel",  # two "names" appear twice
        "F-1,customer,Morel,2024-01-31,80.50",  # a value is also the name of a column
        "F-1,customer,Morel,,-80.50",
        "F-1,Morel,Paris,Lyon,Nantes",  # neither a number nor a date
    ],
)
def test_the_first_line_of_a_file_without_a_header_is_not_quoted(imported, first_line):
    with pytest.raises(LedgerError, match=r"ledger.csv: .*the file has 5 column\(s\)") as error:
        imported(first_line + "\n" + GOOD)
    values = set(first_line.split(",")) - {"", "customer"}
    assert not [value for value in values if value in str(error.value)]


def test_a_wrong_separator_quotes_no_header_in_one_piece(imported):
    with pytest.raises(LedgerError, match=r"the file has 1 column\(s\)") as error:
        imported("F-1;Morel;2024-01-31;;80.50\n")
    assert "Morel" not in str(error.value)


def test_utf8_declared_as_another_encoding_is_an_error_not_a_wrong_name(imported):
    text = HEADER + "F-1,Hôtel,2024-01-31,2024-02-10,80.50\n"
    with pytest.raises(LedgerError, match="declared as cp1252, this reads as utf-8"):
        imported(text, ("utf-8", "cp1252"))


def test_utf16_without_its_mark_is_a_clear_error(imported):
    with pytest.raises(LedgerError, match=r"is no utf-16; try format.encoding utf-16-le"):
        imported((HEADER + GOOD).encode("utf-16-le"), ("utf-8", "utf-16"))


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(LedgerError, match=r"nowhere.csv does not exist"):
        read(tmp_path / "nowhere.csv", load_mapping(ROOT / "mappings" / "receivables.yaml"))


# Rows that cannot be read


BAD_LINES = [
    ("B-01,C-1,2024-02-31,,5", "due_on", "bad_date"),
    ("B-02,C-1,2024-2-3,,5", "due_on", "bad_date"),
    ("B-03,C-1,03/02/2024,,5", "due_on", "bad_date"),
    ("B-04,C-1,2024-02-03 00:00,,5", "due_on", "bad_date"),
    ("B-05,C-1,9999-12-31,,5", "due_on", "date_out_of_range"),
    ("B-06,C-1,1989-12-31,,5", "due_on", "date_out_of_range"),
    ('B-07,C-1,2024-01-31,,"1.234,56"', "amount_cents", "bad_amount"),
    ('B-08,C-1,2024-01-31,,"1,234"', "amount_cents", "bad_amount"),
    ("B-09,C-1,2024-01-31,,1e3", "amount_cents", "bad_amount"),
    ("B-10,C-1,2024-01-31,,NaN", "amount_cents", "bad_amount"),
    ("B-11,C-1,2024-01-31,,1 000", "amount_cents", "bad_amount"),
    ("B-12,C-1,2024-01-31,,1" + 30 * "0", "amount_cents", "bad_amount"),
    ("B-13,C-1,2024-01-31,,1.005", "amount_cents", "amount_has_more_than_two_decimals"),
    ("B-14,C-1,2024-01-31,,-5", "amount_cents", "amount_not_positive"),
    ("B-15,C-1,2024-01-31,,0.00", "amount_cents", "amount_not_positive"),
    ("B-16,C-1,2024-01-31,, ", "amount_cents", "missing_value"),
    ("B-17,C-1,,,5", "due_on", "missing_value"),
    (",C-1,2024-01-31,,5", "invoice_id", "missing_value"),
    ("B-19,,2024-01-31,,5", "customer_id", "missing_value"),
    ("F-1,C-1,2024-01-31,2024-02-10,80.50", "invoice_id", "duplicate"),
    ("F-1,C-1,2024-01-31,,5", "invoice_id", "duplicate_with_other_content"),
    ("B-22,C-1,2024-01-31,,5,", None, "wrong_number_of_fields"),
    ("B-23,C-1,2024-01-31", None, "wrong_number_of_fields"),
    ('B-24,"C"1,2024-01-31,,5', None, "bad_quotes"),
    ('B-25,"C-1,2024-01-31,,5', None, "bad_quotes"),
]


def test_bad_rows_are_kept_among_the_rejects_with_their_reason(imported):
    bad = "".join(line + "\n" for line, _, _ in BAD_LINES)
    found = imported(HEADER + GOOD + bad + GOOD.replace("F-1", "F-3"))
    rejects = found.rejects[found.rejects["table"] == "invoices"]
    columns = rejects["column"].fillna("")
    assert list(zip(rejects["line"], columns, rejects["reason"], strict=True)) == [
        (number, column or "", reason) for number, (_, column, reason) in enumerate(BAD_LINES, 3)
    ]
    for text, (line, column, _) in zip(rejects["row"], BAD_LINES, strict=True):
        row = json.loads(text)
        assert row == {"text": line} if column is None else row["document"] == line.split(",")[0]
    assert set(rejects["file"]) == {"ledger.csv"}
    assert found.ledger["invoices"]["invoice_id"].tolist() == ["F-1", "F-3"]
    assert found.rows_read == len(BAD_LINES) + 2
    assert balanced(found)


def test_a_reject_shows_the_record_as_it_was_written(imported):
    found = imported(HEADER + 'F-1, C-1 ,2024-01-31,,"5,\n 0"\n')
    assert json.loads(found.rejects["row"][0]) == {
        "document": "F-1",
        "customer": " C-1 ",
        "due_date": "2024-01-31",
        "clear_date": "",
        "amount": "5,\n 0",
    }


def test_due_before_issue_is_a_reject(imported):
    text = HEADER.strip() + ",issued\n" + GOOD.strip() + ",2024-02-01\n"
    found = imported(text, ("due_on - 14 days", "issued"))
    assert reasons(found) == {2: "due_before_issue"}


def test_a_customer_file_of_its_own_has_no_repeats(tmp_path):
    (tmp_path / "mapping.yaml").write_text(
        "format: {type: csv}\ncurrency: EUR\n"
        "customers: {file: c.csv, customer_id: id}\n"
        "invoices: {file: i.csv, invoice_id: n, customer_id: id, issued_on: d, due_on: d,"
        " amount: a}"
    )
    (tmp_path / "c.csv").write_text("id\nC-1\nC-1\n")
    (tmp_path / "i.csv").write_text("n,id,d,a\nF-1,C-1,2024-01-01,5\nF-2,C-2,2024-01-01,5\n")
    found = read(tmp_path, load_mapping(tmp_path / "mapping.yaml"))
    assert reasons(found, "customers") == {3: "duplicate"}
    assert reasons(found) == {3: "unknown_customer"}
    assert found.rows_read == 4


def test_lines_are_counted_as_an_editor_does(imported):
    """Line 3 is blank, the record of line 4 holds a line break, that of line 6 has a bad date."""
    text = HEADER + GOOD + '\nF-2,"C\n2",2024-01-31,,1\nF-3,C-1,soon,,1\n\nF-4\n'
    found = imported(text)
    assert reasons(found) == {6: "bad_date", 8: "wrong_number_of_fields"}
    assert found.ledger["invoices"]["customer_id"].tolist() == ["C-1", "C\n2"]


def test_a_quote_that_never_closes_costs_its_own_line_only(imported):
    good = [GOOD.replace("F-1", f"F-{n}") for n in range(3, 6_000)]
    quoted = 'F-6000,"C-1",2024-01-31,,1\n'
    found = imported(HEADER + GOOD + 'F-2,"C-1,2024-01-31,,1\n' + "".join(good) + quoted)
    assert reasons(found) == {3: "bad_quotes"}
    assert len(found.ledger["invoices"]) == 5_999


def test_progress_ends_at_the_size_of_the_file(imported):
    told = []
    imported(HEADER + GOOD, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(HEADER + GOOD), len(HEADER + GOOD))


PIECES = ["", ",", ";", "\n", "\r\n", "x", " ", "é", "-", "0", "\x85", "\u2028", '"']
DAMAGE = st.tuples(st.integers(0, 40), st.integers(0, 3), st.sampled_from(PIECES))


@settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck))
@given(damages=st.dictionaries(st.integers(0, 29), DAMAGE, min_size=5))
def test_no_row_is_lost_whatever_happens_to_the_file(imported, damages):
    """Thirty lines; some lose up to 3 characters, somewhere, to a piece that may break them.

    Only the first gets a quote: two can make a legal record out of several lines.
    """
    lines = [f"F-{n:02},C-{n % 4},2024-01-31,2024-02-10,{n + 1}.50" for n in range(30)]
    quoted = min(damages)
    for n, (at, cut, piece) in damages.items():
        piece = piece if n == quoted else piece.replace('"', "")
        lines[n] = lines[n][:at] + piece + lines[n][at + cut :]
    found = imported(HEADER + "\n".join(lines) + "\n")
    assert balanced(found)
    assert {account.read for account in found.accounts.values()} == {found.rows_read}
    kept = found.ledger["invoices"].set_index("invoice_id")["amount_cents"]
    rejected = "".join(found.rejects.loc[found.rejects["table"] == "invoices", "row"])
    for n in set(range(30)) - set(damages):
        if f"F-{n:02}" in kept.index:
            assert kept[f"F-{n:02}"] == 100 * n + 150
        else:
            assert f"F-{n:02}" in rejected


# Mappings


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("type: csv", "type: xls", ["format.type", "'csv' or 'parquet'"]),
        ("encoding: utf-8", "encoding: klingon", ["format.encoding", "cp1252"]),
        ("encoding: utf-8", "charset: utf-8", ["format: 'charset'", "encoding, date"]),
        ('separator: ","', 'separator: ",,"', ["format.separator"]),
        ('"%Y-%m-%d"', '"%d/%m"', ["format.date", "year, month and day"]),
        ('"%Y-%m-%d"', '"%Q"', ["format.date"]),
        ('decimal: "."', 'decimal: ",", thousands: ","', ["format", "must differ"]),
        ("currency: USD", "currency: dollars", ["currency", "A-Z"]),
        ("currency: USD", "currency: USD\nexchange_rates: {USD: 1}", ["exchange_rates.USD"]),
        ("currency: USD", "currency: USD\nexchange_rates: {EUR: 0}", ["exchange_rates.EUR"]),
        ("currency: USD", "", ["currency: Field required"]),
        ("customers:", "clients:", ["'clients' is not a known key", "customers, invoices"]),
        ("due_on: due_date", "due: due_date", ["invoices: 'due'", "allowed", "due_on"]),
        ("due_on: due_date", "due_on: 3", ["invoices.due_on", "string"]),
        ("due_on: due_date,", "", ["invoices: lacks due_on"]),
        ("amount: amount,\n", "amount: amount, amount_cents: amount,\n", ["amount_cents twice"]),
        ("due_on - 14 days", "recorded_at", ["invoices: columns are derived", "circle"]),
        ("recorded_at: issued_on", "recorded_at: amount", ["recorded_at", "kind amount"]),
        ("document, customer_id", "document - 2 days, customer_id", ["only dates move"]),
        ("kind: =payment", "kind: type, kinds: {REG: cash}", ["settlements: kinds: 'cash'"]),
        ("settled_on: clear_date", "settled_on: =soon", ["settlements.settled_on", "no date"]),
        ("{customer_id: customer}", "{customer_id: customer, file: ../x.csv}", ["file: must lie"]),
        ("{customer_id: customer}", "customer", ["customers: must hold keys", "customer_id"]),
        ("format:", "format: [", ["cannot be read as YAML"]),
    ],
)
def test_a_wrong_mapping_says_the_key_and_what_is_allowed(mapping_error, old, new, words):
    message = mapping_error((old, new))
    assert [word for word in words if word not in message] == []


def test_a_mapping_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(MappingError, match=r"none.yaml cannot be read"):
        load_mapping(tmp_path / "none.yaml")


def test_a_mapping_needs_a_table(mapping_error):
    assert "customers" in mapping_error(mapping="format: {type: csv}\ncurrency: EUR\n")


# Real data


def test_the_real_receivables_are_read_without_loss():
    if not RECEIVABLES.exists():
        pytest.skip("../shared/data/receivables_2018_2019.csv is absent: real data is not shipped")
    found = read(RECEIVABLES, load_mapping(ROOT / "mappings" / "receivables.yaml"))
    told = summary(found)
    assert told.kept == {"customers": 1_003, "invoices": 34_545, "settlements": 34_545}
    assert found.rejects.empty
    invoices = found.ledger["invoices"]
    settled = found.ledger["settlements"].set_index("invoice_id")["settled_on"]
    lines = invoices.assign(settled_on=invoices["invoice_id"].map(settled))
    assert lines.duplicated(["customer_id", "due_on", "settled_on", "amount_cents"]).sum() == 842
    assert told.late_rate == pytest.approx(0.42, abs=0.005)
    assert told.exposure_cents == 0
    assert balanced(found)
