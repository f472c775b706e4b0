"""Import of the French accounting file: a test's docstring is the FEC it reads.

Columns: journal, number, date (2024), account, auxiliary, piece[@its date], amount (a debit is
positive), letter; see :mod:`tests.features.fec_files`.
"""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from features.importers import fec
from features.importers.fec_matching import match
from features.importers.tabular import summary
from features.ledger import Known, LedgerError
from features.simulator import Simulation, simulate
from tests.features import fec_files

SIMULATED = Simulation(
    invoices=1_500, years=2, seed=5, deposit_rate=0.05, bounce_rate=0.02, instalment_rate=0.05,
    overpayment_rate=0.02, unallocated_rate=0.05, backdated_rate=0.1, residue_rate=0.05,
)  # fmt: skip
EXAMPLE = """
    VE | 1 | 01-15 | 411000 | C-1 | F-1  |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1  | -100
    VE | 1 | 01-15 | 445710 |     | F-1  |  -20
    BQ | 9 | 02-20 | 512000 |     | VIR7 |  120
    BQ | 9 | 02-20 | 411000 | C-1 | VIR7 | -120 | A
    OD | 3 | 02-29 | 641000 |     | PAIE |   80
    OD | 3 | 02-29 | 421000 |     | PAIE |  -80
"""


@pytest.fixture
def book(tmp_path):
    """Read FEC lines, or its text or bytes."""

    def run(source, **options):
        if isinstance(source, pd.DataFrame):
            source = fec_files.text_of(source)
        elif isinstance(source, str) and source.count(" | ") > 6:
            source = fec_files.text_of(fec_files.lines_of(source))
        path = tmp_path / "123456789FEC20241231.txt"
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return fec.read(path, **options)

    return run


@pytest.fixture
def read(book, request):
    """Read the FEC of the test's docstring."""
    return lambda **options: book(request.function.__doc__, **options)


@pytest.fixture
def error_of(book):
    """Say why a file is refused."""

    def run(source, **options):
        with pytest.raises(LedgerError) as error:
            book(source, **options)
        message = str(error.value)
        assert "123456789FEC20241231.txt: " in message
        return message.split("FEC20241231.txt: ")[1]

    return run


def invoices(imported):
    rows = imported.ledger["invoices"]
    day = rows["issued_on"].dt.strftime("%m-%d")
    return sorted(zip(rows["invoice_id"].str[:-9], day, rows["amount_cents"] / 100, strict=True))


def settled(imported):
    rows = imported.ledger["settlements"].sort_values(["settled_on", "settlement_id"])
    invoice = rows["invoice_id"].str[:-9].astype(object).where(rows["invoice_id"].notna(), None)
    day = rows["settled_on"].dt.strftime("%m-%d")
    return list(zip(rows["kind"], invoice, day, rows["amount_cents"] / 100, strict=True))


def owed(imported):
    rows, paid = imported.ledger["invoices"], imported.ledger["settlements"]
    sign = np.where(paid["kind"] == "reversal", 1, -1)
    cents = pd.concat(
        [
            rows.set_index("customer_id")["amount_cents"],
            pd.Series((sign * paid["amount_cents"]).to_numpy(), paid["customer_id"]),
        ]
    )
    sums = cents.groupby(level=0).sum() / 100
    return sums[sums != 0].to_dict()


def known_by(*imports):
    ids = pd.concat([found.ledger["customers"]["customer_id"] for found in imports])
    rows = pd.concat([found.ledger["invoices"] for found in imports])
    debtors = rows.drop_duplicates("invoice_id").set_index("invoice_id")["customer_id"]
    return Known(pd.Index(ids.unique(), dtype="str"), debtors)


def changed(lines, at, **columns):
    return lines.assign(**{c: lines[c].mask(lines.index == at, v) for c, v in columns.items()})


# What a FEC is


def test_the_example_is_an_invoice_and_its_payment(book):
    found = book(EXAMPLE)
    assert invoices(found) == [("C-1/F-1", "01-15", 120)]
    assert settled(found) == [("payment", "C-1/F-1", "02-20", 120)]
    assert found.ledger.currency == "EUR"
    assert found.ledger["customers"][["customer_id", "name"]].to_numpy().tolist() == [
        ["C-1", "Client C-1"]
    ]
    assert found.rows_read == 7
    assert found.rejects.empty
    assert summary(found).kept == {"customers": 1, "invoices": 1, "settlements": 1}
    assert summary(found).exposure_cents == 0
    assert found.assumptions == (
        "due_on = issued_on + 30 days (assumed, C. com. art. L441-10)",
        "recorded_at = EcritureDate (assumed)",
    )
    assert found.ledger["invoices"]["recorded_assumed"].all()
    assert {"disputes", "insurance_covers", "insolvency_events"} <= set(found.absent)


@st.composite
def spellings(draw):
    """Draw a way to write the example's file that programs are known to use."""
    lines = fec_files.lines_of(EXAMPLE)
    zeros, padding = draw(st.sampled_from(["", "0000000"])), draw(st.sampled_from(["", " ", "   "]))
    point, none = draw(st.sampled_from([",", "."])), draw(st.sampled_from(["0,00", "", "0"]))
    for column in ("Debit", "Credit"):
        amount = (zeros + lines[column]).where(lines[column] != "0,00", none)
        lines[column] = padding + amount.str.replace(",", point)
    lines["CompAuxNum"] += padding
    lines["EcritureLib"] = draw(st.sampled_from(["Écriture", "Facture € ½", "", "Noël “Œuvre”"]))
    way = draw(st.sampled_from(["Debit", "D", "+1"]))
    if way != "Debit":
        is_credit = lines["Credit"].str.contains("[1-9]")
        lines["Debit"] = lines["Debit"].where(~is_credit, lines["Credit"])
        lines["Credit"] = np.where(is_credit, {"D": "C", "+1": "-1"}[way], way)
        lines = lines.rename(columns={"Debit": "Montant", "Credit": "Sens"})
    if draw(st.booleans()):
        lines["PieceDate"] = draw(st.sampled_from(["", "00000000", "20991231", "hier"]))
    for n in range(draw(st.integers(0, 4))):
        lines[f"Plus{n}"] = draw(st.sampled_from(["", "x"]))
    spelled = draw(st.sampled_from([str, str.lower, str.upper, lambda c: c.replace("td", "tD")]))
    lines.columns = [spelled(column) for column in lines.columns]
    return lines


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    lines=spellings(),
    separator=st.sampled_from(["\t", "|", ";"]),
    ending=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    trailing=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "iso-8859-15", "utf-16"]),
)
def test_however_it_is_written_the_file_says_the_same(
    book, lines, separator, ending, trailing, encoding
):
    trail = separator if trailing else ""
    text = fec_files.text_of(lines, separator=separator, ending=ending, trailing=trail)
    found = book(text.encode(encoding, "replace"))
    assert invoices(found) == [("C-1/F-1", "01-15", 120)]
    assert settled(found) == [("payment", "C-1/F-1", "02-20", 120)]
    assert found.rejects.empty


def test_line_endings_may_be_mixed_and_only_the_lines_have_the_trailing_separator(book):
    header, *rows = fec_files.text_of(fec_files.lines_of(EXAMPLE), ending="\n").splitlines()
    endings = ["\r", "\r\n", "\n", "\r\n", "\r", "\n", ""]
    text = header + "\n" + "".join(r + "\t" + e for r, e in zip(rows, endings, strict=True))
    assert invoices(book(text)) == [("C-1/F-1", "01-15", 120)]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", "utf-8"), ("cp1252", "cp1252"), ("iso-8859-15", "iso-8859-15")],
)
def test_names_keep_their_accents_and_the_euro(book, encoding, said):
    lines = fec_files.lines_of(EXAMPLE)
    lines["CompAuxLib"] = "Hôtel “Œ” €" if encoding != "iso-8859-15" else "Hôtel Œ €"
    found = book(fec_files.text_of(lines).encode(encoding))
    assert found.ledger["customers"]["name"].tolist() == [lines["CompAuxLib"][0]]
    assert found.verdict.encoding == said


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("0000000069,60", 6960), ("69.6", 6960), (" 000000000001437,12", 143712), ("69", 6900),
        ("1 234,50", 123450), ("1\u202f234,5", 123450), (",5", 50), ("5,", 500), ("+5,10", 510),
        ("90071992547409,93", 9007199254740993), ("7,5000", 750),
    ],
)  # fmt: skip
def test_amounts_are_read_to_the_cent(book, written, cents):
    lines = fec_files.lines_of(EXAMPLE).iloc[3:5]
    lines = lines.assign(Debit=[written, ""], Credit=["", written])
    found = book(lines)
    assert found.ledger["settlements"]["amount_cents"].tolist() == [cents]


@pytest.mark.parametrize("written", ["-120,00", "120,00-", "-000000000000120,00"])
def test_a_negative_debit_is_a_credit(book, written):
    lines = fec_files.lines_of(EXAMPLE)
    lines.loc[4, ["Debit", "Credit"]] = [written, "0,00"]
    assert settled(book(lines)) == [("payment", "C-1/F-1", "02-20", 120)]


def test_dates_may_be_written_with_slashes(book):
    lines = fec_files.lines_of(EXAMPLE)
    for column in ("EcritureDate", "PieceDate"):
        lines[column] = lines[column].str.replace(r"(\d{4})(\d\d)(\d\d)", r"\3/\2/\1", regex=True)
    assert invoices(book(lines)) == [("C-1/F-1", "01-15", 120)]


def test_a_file_is_known_by_its_header(tmp_path):
    good = fec_files.write(fec_files.lines_of(EXAMPLE), tmp_path / "a", encoding="utf-8-sig")
    assert fec.is_fec(good)
    for n, other in enumerate([b"", b"\0\0", b"a,b\n1,2\n", b"JournalCode|EcritureNum\n"]):
        (tmp_path / f"{n}").write_bytes(other)
        assert not fec.is_fec(tmp_path / f"{n}")
    assert not fec.is_fec(tmp_path / "absent")
    assert not fec.is_fec(tmp_path)


# What happened: the accounts of the entry say it, not the journal's name


def test_a_sale_is_known_by_its_accounts_whatever_the_journal(read):
    """
    ZZ | 1 | 01-15 | 411000 | C-1 | F-1 |  120
    ZZ | 1 | 01-15 | 706000 |     | F-1 | -100
    ZZ | 1 | 01-15 | 445710 |     | F-1 |  -20
    ZZ | 2 | 01-16 | 706000 |     | A-1 |   10
    ZZ | 2 | 01-16 | 445710 |     | A-1 |    2
    ZZ | 2 | 01-16 | 411000 | C-1 | A-1 |  -12
    VE | 3 | 01-17 | 531000 |     | E-1 |   50
    VE | 3 | 01-17 | 411000 | C-1 | E-1 |  -50
    """
    assert invoices(read()) == [("C-1/F-1", "01-15", 120)]
    assert settled(read()) == [
        ("credit_note", None, "01-16", 12),
        ("payment", None, "01-17", 50),
    ]


def test_a_loss_is_written_off_with_its_vat(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    OD | 2 | 06-30 | 654000 |     | P-1 |  100
    OD | 2 | 06-30 | 445710 |     | P-1 |   20
    OD | 2 | 06-30 | 411000 | C-1 | P-1 | -120 | A
    """
    assert settled(read()) == [("write_off", "C-1/F-1", "06-30", 120)]


def test_one_line_can_be_paid_in_part_and_lost_for_the_rest(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    BQ | 2 | 06-30 | 512000 |     | V-1 |   60
    BQ | 2 | 06-30 | 654000 |     | V-1 |   50
    BQ | 2 | 06-30 | 445710 |     | V-1 |   10
    BQ | 2 | 06-30 | 411000 | C-1 | V-1 | -120 | A
    """
    assert settled(read()) == [
        ("payment", "C-1/F-1", "06-30", 60),
        ("write_off", "C-1/F-1", "06-30", 60),
    ]


def test_a_bank_fee_is_paid_by_us_and_a_discount_is_credited(read):
    """
    BQ | 1 | 01-15 | 512000 |     | V-1 |   99
    BQ | 1 | 01-15 | 627000 |     | V-1 |    1
    BQ | 1 | 01-15 | 411000 | C-1 | V-1 | -100
    BQ | 2 | 01-16 | 512000 |     | V-2 |   98
    BQ | 2 | 01-16 | 665000 |     | V-2 |    2
    BQ | 2 | 01-16 | 411000 | C-2 | V-2 | -100
    """
    assert settled(read()) == [
        ("payment", None, "01-15", 100),
        ("credit_note", None, "01-16", 2),
        ("payment", None, "01-16", 98),
    ]


def test_a_doubtful_claim_is_moved_not_paid(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    OD | 2 | 06-30 | 416000 | C-1 | D-1 |  120 | B
    OD | 2 | 06-30 | 411000 | C-1 | D-1 | -120 | A
    OD | 2 | 06-30 | 681700 |     | D-1 |  100
    OD | 2 | 06-30 | 491000 |     | D-1 | -100
    BQ | 3 | 09-30 | 512000 |     | V-1 |   20
    BQ | 3 | 09-30 | 416000 | C-1 | V-1 |  -20 | B
    OD | 4 | 12-31 | 654000 |     | P-1 |  100
    OD | 4 | 12-31 | 416000 | C-1 | P-1 | -100 | B
    """
    found = read()
    assert settled(found) == [
        ("payment", "C-1/F-1", "09-30", 20),
        ("write_off", "C-1/F-1", "12-31", 100),
    ]
    assert found.verdict.transfers == 1
    assert owed(found) == {}


def test_a_bill_of_exchange_is_paid_when_the_bank_pays_it(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    OD | 2 | 01-31 | 413000 | C-1 | L-1 |  120 | A
    OD | 2 | 01-31 | 411000 | C-1 | L-1 | -120 | A
    BQ | 3 | 03-31 | 511300 |     | R-1 |  120
    BQ | 3 | 03-31 | 413000 | C-1 | R-1 | -120 | A
    """
    assert settled(read()) == [("payment", "C-1/F-1", "03-31", 120)]


def test_doubtful_accounts_without_auxiliary_belong_to_their_customer(read):
    """
    VE | 1 | 01-15 | 411DUPONT |     | F-1 |  120 | A
    VE | 1 | 01-15 | 707000    |     | F-1 | -120
    OD | 2 | 06-30 | 416DUPONT |     | D-1 |  120 | B
    OD | 2 | 06-30 | 411DUPONT |     | D-1 | -120 | A
    BQ | 3 | 09-30 | 512000    |     | V-1 |  120
    BQ | 3 | 09-30 | 416DUPONT |     | V-1 | -120 | B
    """
    found = read()
    assert found.ledger["customers"]["customer_id"].tolist() == ["411DUPONT"]
    assert settled(found) == [("payment", "411DUPONT/F-1", "09-30", 120)]
    assert found.verdict.without_auxiliary == 1


def test_a_claim_sold_to_a_factor_ends_without_a_payment_and_is_named(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    OD | 2 | 01-31 | 467000 |     | Q-1 |  120
    OD | 2 | 01-31 | 411000 | C-1 | Q-1 | -120 | A
    """
    found = read()
    assert settled(found) == [("credit_note", "C-1/F-1", "01-31", 120)]
    assert found.verdict.unusual == {"credit against 467, read as credit note": 1}


def test_operations_nobody_foresaw_keep_balances_and_are_named(read):
    """
    OD | 1 | 01-31 | 401000 | S-1 | K-1 |  120
    OD | 1 | 01-31 | 411000 | C-1 | K-1 | -120
    OD | 2 | 02-28 | 411000 | C-2 | T-1 |   70
    OD | 2 | 02-28 | 411000 | C-1 | T-1 |  -70
    OD | 3 | 03-31 | 411000 | C-3 | X-1 |   30
    OD | 3 | 03-31 | 467000 |     | X-1 |  -30
    """
    found = read()
    assert owed(found) == {"C-1": -190, "C-2": 70, "C-3": 30}
    assert found.verdict.unusual == {
        "credit against 401, read as payment": 1,
        "debit against 411, read as invoice": 1,
        "credit against 411, read as credit note": 1,
        "debit against 467, read as invoice": 1,
    }


def test_a_deposit_is_a_payment_before_the_invoice(read):
    """
    BQ | 1 | 01-05 | 512000 |     | V-1 |   36
    BQ | 1 | 01-05 | 419100 | C-1 | V-1 |  -36 | D
    VE | 2 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 2 | 01-15 | 707000 |     | F-1 | -120
    OD | 3 | 01-15 | 419100 | C-1 | F-1 |   36 | D
    OD | 3 | 01-15 | 411000 | C-1 | F-1 |  -36 | A
    """
    found = read()
    assert settled(found) == [("payment", "C-1/F-1", "01-05", 36)]
    assert owed(found) == {"C-1": 84}


def test_a_deposit_taken_off_in_the_invoices_own_entry_is_no_second_invoice(read):
    """
    BQ | 1 | 01-05 | 512000 |     | V-1 |   36
    BQ | 1 | 01-05 | 419100 | C-1 | V-1 |  -36 | D
    VE | 2 | 01-15 | 411000 | C-1 | F-1 |   84 | A
    VE | 2 | 01-15 | 419100 | C-1 | F-1 |   36 | D
    VE | 2 | 01-15 | 707000 |     | F-1 | -120
    """
    found = read()
    assert invoices(found) == [("C-1/F-1", "01-15", 120)]
    assert settled(found) == [("payment", "C-1/F-1", "01-05", 36)]


def test_a_deposit_of_nobody_is_paid_when_it_finds_its_customer(read):
    """
    BQ | 1 | 01-05 | 512000 |     | V-1 |   36
    BQ | 1 | 01-05 | 419100 |     | V-1 |  -36
    OD | 3 | 01-15 | 419100 |     | F-1 |   36
    OD | 3 | 01-15 | 411000 | C-1 | F-1 |  -36
    """
    assert settled(read()) == [("payment", None, "01-15", 36)]
    assert read().verdict.unusual == {"credit against 419, read as payment": 1}


def test_a_payment_that_comes_back_reopens_its_invoice(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    BQ | 2 | 02-15 | 512000 |     | V-1 |  120
    BQ | 2 | 02-15 | 411000 | C-1 | V-1 | -120 | A
    BQ | 3 | 02-20 | 411000 | C-1 | V-2 |  120 | A
    BQ | 3 | 02-20 | 512000 |     | V-2 | -120
    BQ | 4 | 04-01 | 512000 |     | V-3 |  120
    BQ | 4 | 04-01 | 411000 | C-1 | V-3 | -120 | A
    """
    assert settled(read()) == [
        ("payment", "C-1/F-1", "02-15", 120),
        ("reversal", "C-1/F-1", "02-20", 120),
        ("payment", "C-1/F-1", "04-01", 120),
    ]


def test_a_return_lettered_with_its_payment_alone_finds_the_invoice_by_its_amount(read):
    """
    VE | 1 | 01-10 | 411000 | C-1 | F-0 |   50
    VE | 1 | 01-10 | 707000 |     | F-0 |  -50
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | B
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    BQ | 2 | 02-15 | 512000 |     | V-1 |  120
    BQ | 2 | 02-15 | 411000 | C-1 | V-1 | -120 | A
    BQ | 3 | 02-20 | 411000 | C-1 | V-2 |  120 | A
    BQ | 3 | 02-20 | 512000 |     | V-2 | -120
    BQ | 4 | 04-01 | 512000 |     | V-3 |  120
    BQ | 4 | 04-01 | 411000 | C-1 | V-3 | -120 | B
    """
    found = read()
    assert settled(found) == [
        ("payment", "C-1/F-1", "02-15", 120),
        ("reversal", "C-1/F-1", "02-20", 120),
        ("payment", "C-1/F-1", "04-01", 120),
    ]
    assert found.verdict.returns_inferred == 2
    assert found.verdict.matched.inferred_cents == 12_000


def test_a_refund_of_what_was_paid_twice_touches_no_invoice(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    BQ | 2 | 02-15 | 512000 |     | V-1 |  120
    BQ | 2 | 02-15 | 411000 | C-1 | V-1 | -120 | A
    BQ | 3 | 02-16 | 512000 |     | V-2 |  120
    BQ | 3 | 02-16 | 411000 | C-1 | V-2 | -120 | B
    BQ | 4 | 02-20 | 411000 | C-1 | V-3 |  120 | B
    BQ | 4 | 02-20 | 512000 |     | V-3 | -120
    """
    assert settled(read()) == [
        ("payment", "C-1/F-1", "02-15", 120),
        ("payment", None, "02-16", 120),
        ("reversal", None, "02-20", 120),
    ]


def test_a_cash_sale_in_one_entry_is_an_invoice_and_a_payment(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120 | A
    VE | 1 | 01-15 | 411000 | C-1 | F-1 | -120 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    VE | 1 | 01-15 | 530000 |     | F-1 |  120
    """
    assert invoices(read()) == [("C-1/F-1", "01-15", 120)]
    assert settled(read()) == [("payment", "C-1/F-1", "01-15", 120)]


def test_lines_that_only_change_letters_within_an_account_are_nothing(read):
    """
    OD | 1 | 01-15 | 411000 | C-1 | X-1 |  120 | A
    OD | 1 | 01-15 | 411000 | C-1 | X-1 | -120 | B
    VE | 2 | 01-16 | 411000 | C-1 | F-1 |   10
    VE | 2 | 01-16 | 707000 |     | F-1 |  -10
    """
    assert invoices(read()) == [("C-1/F-1", "01-16", 10)]
    assert settled(read()) == []


def test_accruals_and_provisions_are_no_claims(read):
    """
    OD | 1 | 12-31 | 418100 |     | X-1 |  120
    OD | 1 | 12-31 | 707000 |     | X-1 | -120
    OD | 2 | 12-31 | 681700 |     | X-2 |   50
    OD | 2 | 12-31 | 491000 | C-1 | X-2 |  -50
    VE | 3 | 12-31 | 411000 | C-1 | F-1 |  120
    VE | 3 | 12-31 | 418100 |     | F-1 | -120
    """
    assert invoices(read()) == [("C-1/F-1", "12-31", 120)]


# Entries


def test_one_number_for_a_whole_month_is_cut_where_it_balances(read):
    """
    OD | 1 | 01-31 | 411000 | C-1 | F-1 |  120
    OD | 1 | 01-31 | 707000 |     | F-1 | -120
    OD | 1 | 01-31 | 512000 |     | V-1 |   50
    OD | 1 | 01-31 | 411000 | C-1 | V-1 |  -50
    OD | 1 | 01-31 | 654000 |     | P-1 |   70
    OD | 1 | 01-31 | 411000 | C-1 | P-1 |  -70
    """
    assert invoices(read()) == [("C-1/F-1", "01-31", 120)]
    assert [kind for kind, *_ in settled(read())] == ["write_off", "payment"]
    assert read().verdict.entries == 3


def test_a_number_a_line_and_an_entry_over_two_days_are_put_together(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120
    VE | 2 | 01-15 | 707000 |     | F-1 | -120
    BQ | 7 | 01-30 | 512000 |     | V-1 |   50
    BQ | 7 | 01-31 | 411000 | C-1 | V-1 |  -50
    """
    assert invoices(read()) == [("C-1/F-1", "01-15", 120)]
    assert settled(read()) == [("payment", None, "01-31", 50)]


def test_the_same_number_in_two_journals_is_two_entries(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  120
    BQ | 1 | 01-15 | 512000 |     | V-1 |   50
    VE | 1 | 01-15 | 707000 |     | F-1 | -120
    BQ | 1 | 01-15 | 411000 | C-1 | V-1 |  -50
    """
    assert invoices(read()) == [("C-1/F-1", "01-15", 120)]
    assert settled(read()) == [("payment", None, "01-15", 50)]


# Letters


def test_a_letter_of_several_is_allocated_oldest_first_and_splits_payments(read):
    """
    VE | 2 | 01-20 | 411000 | C-1 | F-2 |   50 | A
    VE | 2 | 01-20 | 707000 |     | F-2 |  -50
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  100 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -100
    BQ | 3 | 02-15 | 512000 |     | V-1 |  120
    BQ | 3 | 02-15 | 411000 | C-1 | V-1 | -120 | A
    BQ | 4 | 02-20 | 512000 |     | V-2 |   30
    BQ | 4 | 02-20 | 411000 | C-1 | V-2 |  -30 | A
    """
    assert settled(read()) == [
        ("payment", "C-1/F-1", "02-15", 100),
        ("payment", "C-1/F-2", "02-15", 20),
        ("payment", "C-1/F-2", "02-20", 30),
    ]
    ids = read().ledger["settlements"]["settlement_id"].tolist()
    assert ids[:2] == [f"C-1/V-1/20240215/payment/12000/{part}" for part in (0, 1)]


def test_a_return_within_a_letter_of_several_undoes_the_latest_allocation(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  100 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -100
    VE | 2 | 01-20 | 411000 | C-1 | F-2 |   50 | A
    VE | 2 | 01-20 | 707000 |     | F-2 |  -50
    BQ | 3 | 02-15 | 512000 |     | V-1 |  120
    BQ | 3 | 02-15 | 411000 | C-1 | V-1 | -120 | A
    BQ | 4 | 02-20 | 411000 | C-1 | V-2 |   30 | A
    BQ | 4 | 02-20 | 512000 |     | V-2 |  -30
    BQ | 5 | 03-20 | 512000 |     | V-3 |   60
    BQ | 5 | 03-20 | 411000 | C-1 | V-3 |  -60 | A
    """
    assert settled(read()) == [
        ("payment", "C-1/F-1", "02-15", 100),
        ("payment", "C-1/F-2", "02-15", 20),
        ("reversal", "C-1/F-2", "02-20", 20),
        ("reversal", "C-1/F-1", "02-20", 10),
        ("payment", "C-1/F-1", "03-20", 10),
        ("payment", "C-1/F-2", "03-20", 50),
    ]


def test_a_letter_belongs_to_one_account_of_one_customer(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  100 | A
    VE | 1 | 01-15 | 707000 |     | F-1 | -100
    VE | 2 | 01-16 | 411000 | C-2 | F-2 |  100 | A
    VE | 2 | 01-16 | 707000 |     | F-2 | -100
    BQ | 3 | 02-15 | 512000 |     | V-1 |  100
    BQ | 3 | 02-15 | 411000 | C-2 | V-1 | -100 | A
    VE | 4 | 02-16 | 411100 | C-2 | F-4 |   70 | a
    VE | 4 | 02-16 | 707000 |     | F-4 |  -70
    BQ | 5 | 03-15 | 512000 |     | V-5 |   70
    BQ | 5 | 03-15 | 411000 | C-2 | V-5 |  -70 | a
    """
    assert settled(read()) == [
        ("payment", "C-2/F-2", "02-15", 100),
        ("payment", "C-2/F-4", "03-15", 70),  # a balances over two accounts only
    ]


def test_a_letter_that_does_not_balance_still_names_its_invoice(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  100 | a
    VE | 1 | 01-15 | 707000 |     | F-1 | -100
    BQ | 3 | 02-15 | 512000 |     | V-1 |   40
    BQ | 3 | 02-15 | 411000 | C-1 | V-1 |  -40 | a
    """
    assert settled(read()) == [("payment", "C-1/F-1", "02-15", 40)]
    assert owed(read()) == {"C-1": 60}


def test_money_without_a_letter_names_no_invoice(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1 |  100
    VE | 1 | 01-15 | 707000 |     | F-1 | -100
    BQ | 3 | 02-15 | 512000 |     | V-1 |  130
    BQ | 3 | 02-15 | 411000 | C-1 | V-1 | -130
    """
    matched = read().verdict.matched
    assert settled(read()) == [("payment", None, "02-15", 130)]
    assert (matched.inferred_cents, matched.unmatched_cents) == (10_000, 3_000)


@st.composite
def letters(draw):
    """Draw claims and settlements of a few letters."""
    groups = st.integers(0, 2)
    claim = st.tuples(groups, st.integers(0, 9), st.integers(0, 60), st.integers(1, 50))
    flow = st.tuples(
        groups, st.sampled_from(["payment", "payment", "write_off", "reversal"]),
        st.integers(0, 60), st.integers(1, 90),
    )  # fmt: skip
    claims = pd.DataFrame(draw(st.lists(claim, max_size=8)), None, [*"gnoc"]).rename(
        columns={"g": "group", "o": "issued_on", "c": "cents"}
    )
    claims["invoice_id"] = claims["group"].astype("str") + "/" + claims.pop("n").astype("str")
    flows = pd.DataFrame(draw(st.lists(flow, max_size=8)), None, [*"gkoc"]).rename(
        columns={"g": "group", "k": "kind", "o": "settled_on", "c": "cents"}
    )
    return claims.astype({"group": "int64"}), flows.astype({"group": "int64", "cents": "int64"})


@settings(max_examples=60, deadline=None)
@given(letters())
def test_matching_loses_no_cent_and_pays_no_invoice_of_several_twice(drawn):
    claims, flows = drawn
    found = match(claims, flows)
    by_flow = found.groupby("at")["cents"].sum()
    assert by_flow.reindex(flows.index, fill_value=0).tolist() == flows["cents"].tolist()
    sign = np.where(flows["kind"].iloc[found["at"]] == "reversal", -1, 1)
    paid = (sign * found["cents"]).groupby(found["invoice_id"]).sum()
    owed_by = claims.groupby("invoice_id")["cents"].sum()
    several = claims.groupby("group")["invoice_id"].transform("nunique") > 1
    for invoice in claims.loc[several, "invoice_id"].unique():
        assert 0 <= paid.get(invoice, 0) <= owed_by[invoice]
    group = found["invoice_id"].dropna().str[0].astype("int64")
    assert (group == flows["group"].iloc[found["at"][group.index]].to_numpy()).all()


# Dates


def test_a_fact_is_dated_by_its_document_and_known_when_booked(read):
    """
    VE | 1 | 02-03 | 411000 | C-1 | F-1@2024-01-31 |  100 | A
    VE | 1 | 02-03 | 707000 |     | F-1@2024-01-31 | -100
    BQ | 2 | 03-05 | 512000 |     | V-1@2024-03-01 |  100
    BQ | 2 | 03-05 | 411000 | C-1 | V-1@2024-03-01 | -100 | A
    """
    found = read()
    assert invoices(found)[0][1] == "01-31"
    assert settled(found)[0][2] == "03-01"
    recorded = [found.ledger[t]["recorded_at"].iloc[0] for t in ("invoices", "settlements")]
    assert recorded == [pd.Timestamp("2024-02-03"), pd.Timestamp("2024-03-05")]


def test_a_document_from_the_future_or_long_ago_is_not_believed(read):
    """
    VE | 1 | 02-03 | 411000 | C-1 | F-1@2042-01-31 |  100
    VE | 1 | 02-03 | 707000 |     | F-1            | -100
    VE | 2 | 02-04 | 411000 | C-1 | F-2@2013-01-31 |  100
    VE | 2 | 02-04 | 707000 |     | F-2            | -100
    """
    assert [day for _, day, _ in invoices(read())] == ["02-03", "02-04"]
    assert read().verdict.redated == 2


def test_a_payment_that_copies_the_invoices_document_is_dated_by_the_bank(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | F-1            |  100 | A
    VE | 1 | 01-15 | 707000 |     | F-1            | -100
    BQ | 2 | 03-05 | 512000 |     | F-1@2024-01-15 |  100
    BQ | 2 | 03-05 | 411000 | C-1 | F-1@2024-01-15 | -100 | A
    """
    assert settled(read()) == [("payment", "C-1/F-1", "03-05", 100)]


def test_the_date_of_lettering_is_no_date_of_payment(book):
    lines = fec_files.lines_of(EXAMPLE)
    lines["DateLet"] = np.where(lines["EcritureLet"] != "", "20241231", "")
    assert settled(book(lines)) == [("payment", "C-1/F-1", "02-20", 120)]


def test_lines_of_one_document_are_one_invoice_and_others_are_told_apart(read):
    """
    VE | 1 | 01-15 | 411000 | C-1 | 12            |   60 | A
    VE | 1 | 01-15 | 411000 | C-1 | 12            |   40
    VE | 1 | 01-15 | 707000 |     | 12            | -100
    VE | 2 | 02-15 | 411000 | C-1 | 12            |   10
    VE | 2 | 02-15 | 707000 |     | 12            |  -10
    VE | 3 | 02-16 | 411000 | C-1 | 12@2024-01-15 |    5
    VE | 3 | 02-16 | 707000 |     | 12            |   -5
    VE | 4 | 02-17 | 411000 | C-1 | -             |    7
    VE | 4 | 02-17 | 707000 |     | -             |   -7
    BQ | 5 | 03-05 | 512000 |     | V-1           |   60
    BQ | 5 | 03-05 | 411000 | C-1 | V-1           |  -60 | A
    """
    rows = read().ledger["invoices"]
    assert dict(zip(rows["invoice_id"], rows["amount_cents"] / 100, strict=True)) == {
        "C-1/12/20240115": 100,
        "C-1/12/20240215": 10,
        "C-1/12/20240115/2": 5,
        "C-1/VE-4/20240217": 7,
    }
    assert settled(read()) == [("payment", "C-1/12", "03-05", 60)]


# Opening entries and successive years

OPENED = """
    AN | 1 | 01-01 | 411000 | C-1 | F-9@2023-11-20 |  100 | A
    AN | 1 | 01-01 | 411000 | C-2 | V-9@2023-12-28 |  -30
    AN | 1 | 01-01 | 512000 |     | AN             |  930
    AN | 1 | 01-01 | 101000 |     | AN             | -1000
    BQ | 2 | 02-15 | 512000 |     | V-1            |  100
    BQ | 2 | 02-15 | 411000 | C-1 | V-1            | -100 | A
"""


@pytest.mark.parametrize(
    ("journal", "account"), [("AN", "101000"), ("RAN", "101000"), ("OD", "890000"), ("X", "120000")]
)
def test_an_opening_entry_holds_last_years_open_items(book, journal, account):
    lines = fec_files.lines_of(
        OPENED.replace("AN | 1", f"{journal} | 1").replace("101000", account)
    )
    lines["JournalLib"] = "Divers"
    found = book(lines)
    assert invoices(found) == [("C-1/F-9", "11-20", 100)]
    assert settled(found) == [
        ("payment", None, "12-28", 30),
        ("payment", "C-1/F-9", "02-15", 100),
    ]
    assert found.ledger["invoices"]["recorded_at"].tolist() == [pd.Timestamp("2024-01-01")]
    assert found.verdict.openings == 2
    assert any(text.startswith("opening entries") for text in found.assumptions)


def test_a_sale_in_a_journal_called_an_is_no_opening(read):
    """
    AN | 1 | 01-01 | 411000 | C-1 | F-1 |  100
    AN | 1 | 01-01 | 707000 |     | F-1 | -100
    """
    assert read().verdict.openings == 0
    assert invoices(read()) == [("C-1/F-1", "01-01", 100)]


def test_closing_entries_end_no_claim(read):
    """
    VE | 1 | 11-20 | 411000 | C-1 | F-9 |  100
    VE | 1 | 11-20 | 707000 |     | F-9 | -100
    CL | 2 | 12-31 | 891000 |     | CL  |  100
    CL | 2 | 12-31 | 411000 | C-1 | CL  | -100
    """
    assert owed(read()) == {"C-1": 100}
    assert settled(read()) == []
    assert read().verdict.closings == 1


def test_an_opening_that_names_a_known_invoice_stands_for_it(book):
    before = book(
        """
        VE | 1 | 2023-11-20 | 411000 | C-1 | F-9 |  100
        VE | 1 | 2023-11-20 | 707000 |     | F-9 | -100
        BQ | 2 | 2023-12-28 | 512000 |     | V-9 |   30
        BQ | 2 | 2023-12-28 | 411000 | C-2 | V-9 |  -30
        VE | 3 | 2023-12-29 | 411000 | C-2 | F-8 |   10
        VE | 3 | 2023-12-29 | 707000 |     | F-8 |  -10
        """
    )
    found = book(OPENED, known=known_by(before))
    assert invoices(found) == []
    assert settled(found) == [("payment", "C-1/F-9", "02-15", 100)]
    assert (found.verdict.openings, found.verdict.openings_known) == (0, 2)
    assert found.verdict.openings_recognised == 1
    assert found.ledger["customers"].empty
    dated_by_the_opening = book(OPENED.replace("@2023-11-20", ""), known=known_by(before))
    assert settled(dated_by_the_opening) == [("payment", "C-1/F-9", "02-15", 100)]


def test_a_summary_opening_of_a_known_customer_doubles_nothing(book):
    before = book(
        """
        VE | 1 | 2023-11-20 | 411000 | C-1 | F-9 |  100
        VE | 1 | 2023-11-20 | 707000 |     | F-9 | -100
        """
    )
    summary_opening = OPENED.replace("F-9@2023-11-20", "AN")
    found = book(summary_opening, known=known_by(before))
    assert invoices(found) == []
    assert settled(found)[-1] == ("payment", None, "02-15", 100)
    assert invoices(book(summary_opening)) == [("C-1/AN", "01-01", 100)]


def two_years(tables, *, detailed):
    """Keep the books of two years in two files, the second with its opening entries."""
    lines = fec_files.book(tables)
    second = lines["EcritureDate"] >= "2025"
    opening = fec_files.opening(lines[~second], "20250101", detailed=detailed)
    return lines, lines[~second], pd.concat([opening, lines[second]])


@pytest.mark.parametrize("detailed", [True, False])
def test_two_successive_years_say_what_one_file_of_both_says(book, detailed):
    tables = simulate(SIMULATED).tables
    lines, first, second = two_years(tables, detailed=detailed)
    both, before = book(lines), book(first)
    after = book(second, known=known_by(before))
    rows = pd.concat([before.ledger["invoices"], after.ledger["invoices"]])
    assert rows["invoice_id"].is_unique
    assert set(rows["invoice_id"]) == set(both.ledger["invoices"]["invoice_id"])
    paid = pd.concat([before.ledger["settlements"], after.ledger["settlements"]])
    whole = both.ledger["settlements"]
    assert paid["amount_cents"].sum() == whole["amount_cents"].sum()
    assert set(paid["settlement_id"]) == set(whole["settlement_id"])
    if detailed:  # all but deposits, whose letter is of the year before
        named = paid.merge(whole, "inner", on=["settlement_id", "invoice_id"])
        assert len(named) > 0.97 * len(whole)


def test_the_same_file_twice_gives_the_same_facts(book):
    once = book(OPENED + EXAMPLE.replace("C-1", "C-3"))
    again = book(OPENED + EXAMPLE.replace("C-1", "C-3"), known=known_by(once))
    for table, key in (("invoices", "invoice_id"), ("settlements", "settlement_id")):
        first, second = once.ledger[table].set_index(key), again.ledger[table].set_index(key)
        assert set(second.index) <= set(first.index)
        pd.testing.assert_frame_equal(second, first.loc[second.index])


# Terms


@pytest.mark.parametrize(
    ("term", "issued_on", "due_on"),
    [
        ("30 days", "2024-01-31", "2024-03-01"),
        ("0 days", "2024-01-31", "2024-01-31"),
        ("45 days end of month", "2024-01-15", "2024-02-29"),
        ("45 days end of month", "2024-01-16", "2024-03-31"),
        ("end of month 45 days", "2024-01-15", "2024-03-16"),
        ("End of month 1 day", "2024-12-31", "2025-01-01"),
    ],
)
def test_terms_give_the_due_date(term, issued_on, due_on):
    due = fec.Term.of(term).due_on(pd.Series([pd.Timestamp(issued_on)]))
    assert due.tolist() == [pd.Timestamp(due_on)]
    assert fec.Term.of(str(fec.Term.of(term))) == fec.Term.of(term)


def test_terms_are_read_by_customer_and_said(book, tmp_path):
    (tmp_path / "terms.yaml").write_text(
        "terms:\n  default: 60 days\n  customers: {C-1: 45 days end of month, C-99: 10 days}\n"
    )
    found = book(
        EXAMPLE + EXAMPLE.replace("C-1", "C-2").replace("F-1", "F-2"),
        terms=fec.load_terms(tmp_path / "terms.yaml"),
    )
    rows = found.ledger["invoices"].set_index("customer_id")["due_on"]
    assert rows.to_dict() == {"C-1": pd.Timestamp("2024-02-29"), "C-2": pd.Timestamp("2024-03-15")}
    verdict = found.verdict
    assert (verdict.due_by_customer, verdict.due_by_default) == (1, 1)
    assert (verdict.default_terms, verdict.terms_without_customer) == ("60 days, stated", 1)
    assert found.assumptions[0].startswith("due_on = issued_on + 60 days (as stated), but for 2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("terms: {default: 30 jours}", "terms.default: '30 jours' is no term; allowed"),
        ("terms: {default: end of month 5 days end of month}", "is no term"),
        ("terms: {default: 30}", "terms.default"),
        ("terms: {standard: 30 days}", "terms.standard: Extra inputs"),
        ("terms: {customers: {0012: 30 days}}", "terms.customers.10"),
        ("terms: {customers: {'0012': 30}}", "terms.customers.0012"),
        ("default: 30 days", "terms: Field required"),
        ("", "allowed: terms.default"),
        ("{", "cannot be read as YAML"),
    ],
)
def test_terms_that_are_wrong_say_the_key_and_what_is_allowed(tmp_path, text, said):
    (tmp_path / "terms.yaml").write_text(text)
    with pytest.raises(fec.TermsError, match=re.escape(said)) as error:
        fec.load_terms(tmp_path / "terms.yaml")
    assert "terms.yaml" in str(error.value)


def test_the_page_shows_terms_that_are_valid(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "fec.md").read_text("utf-8")
    (tmp_path / "terms.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    assert fec.load_terms(tmp_path / "terms.yaml").is_stated


# Files that are wrong


def test_an_unbalanced_entry_of_a_customer_stops_the_import_and_is_named(error_of):
    message = error_of(EXAMPLE.replace("445710 |     | F-1  |  -20", "445710 |     | F-1  |  -19"))
    assert message == (
        "1 entry does not balance, first VE 1 of 2024-01-15 (lines 2 to 4): "
        "1.00 too much on the debit side"
    )


@pytest.mark.parametrize("account", ["411000", "512000", "707000", "445710", "416000", "654000"])
def test_an_entry_that_could_be_a_customers_is_never_put_aside(error_of, account):
    unbalanced = f"OD | 4 | 03-01 | {account} | | X | 5\nOD | 4 | 03-01 | 606000 | | X | -4"
    assert "OD 4 of 2024-03-01 (lines 9 to 10)" in error_of(EXAMPLE + unbalanced)


def test_an_unbalanced_entry_of_others_is_put_aside_whole(book):
    found = book(EXAMPLE.replace("PAIE |  -80", "PAIE |  -79"))
    assert invoices(found) == [("C-1/F-1", "01-15", 120)]
    rejects = found.rejects[["table", "line", "reason"]].to_numpy().tolist()
    assert rejects == [["fec", 7, "unbalanced_entry"], ["fec", 8, "unbalanced_entry"]]
    assert json.loads(found.rejects["row"][0])["text"].startswith("OD\tOpérations diverses\t3\t")
    assert found.verdict.lines_aside == 2
    assert summary(found).quarantined == {"unbalanced_entry": 2}


def test_a_line_of_others_that_cannot_be_read_is_put_aside_with_its_entry(book):
    lines = changed(fec_files.lines_of(EXAMPLE), 5, Debit="quatre-vingts")
    found = book(lines)
    assert dict(zip(found.rejects["line"], found.rejects["reason"], strict=True)) == {
        7: "bad_amount",
        8: "unbalanced_entry",
    }
    assert owed(found) == {}


@pytest.mark.parametrize(
    ("column", "written", "reason"),
    [
        ("Debit", "12O,00", "bad_amount"),
        ("Debit", "1.234,50", "bad_amount"),
        ("Debit", "1,234", "amount_has_more_than_two_decimals"),
        ("EcritureDate", "20240231", "bad_date"),
        ("EcritureDate", "2024-01-15", "bad_date"),
        ("EcritureDate", "18240115", "date_out_of_range"),
    ],
)
def test_a_customers_line_that_cannot_be_read_stops_the_import(error_of, column, written, reason):
    lines = fec_files.lines_of(EXAMPLE).iloc[[3, 4, 0, 1, 2]].reset_index(drop=True)
    message = error_of(changed(lines, 2, **{column: written}))
    assert message == (
        f"1 line(s) that may be on a customer's account cannot be read, first line 4: {reason}"
    )


def test_an_unreadable_line_beside_a_customers_is_said_with_the_entry_it_breaks(error_of):
    lines = changed(fec_files.lines_of(EXAMPLE), 1, Credit="?")
    message = error_of(lines)
    assert "first VE 1 of 2024-01-15 (lines 2 to 4): 100.00 too much on the debit side" in message
    assert message.endswith("1 line(s) could not be read, first line 3: bad_amount")


def test_an_unknown_direction_stops_the_import(error_of):
    lines = fec_files.lines_of(EXAMPLE).rename(columns={"Debit": "Montant", "Credit": "Sens"})
    assert "first line 2: bad_direction" in error_of(lines.assign(Sens="X", Montant="1"))


def test_a_line_of_another_width_is_put_aside_or_stops_the_import(book, error_of):
    rows = fec_files.text_of(fec_files.lines_of(EXAMPLE), ending="\n").splitlines()
    plain = [*rows[:6], "OD\tsolde", *rows[6:]]
    found = book("\n".join(plain))
    assert found.rejects[["line", "reason"]].to_numpy().tolist() == [[7, "wrong_number_of_fields"]]
    rows[1] = rows[1].replace("Écriture", "Écriture\tavec tabulation")
    assert "first line 2: bad_amount" in error_of("\n".join(rows))  # nobody's label is an amount
    rows[1] += "\tFR\tEUR"
    assert "first line 2: wrong_number_of_fields" in error_of("\n".join(rows))


def test_a_file_cut_in_its_last_line_says_so(error_of):
    text = fec_files.text_of(fec_files.lines_of(EXAMPLE))
    message = error_of(text[: text.rindex("PAIE")])
    assert message == "line 8, the last, has 9 of 18 fields: the file was cut short"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"", "the file is empty"),
        (b"\r\n \n", "the file is empty"),
        (b"Jean Dupont|411000|12,00\n", "this is no FEC: line 1 must name the 18 columns"),
        (b"JournalCode|EcritureNum|CompteNum|Debit\n", "not found: ecrituredate, debit and credit"),
        (b"JournalCode\x00", "line 1 holds a NUL byte"),
        (b"JournalCode\n\n\x81\x9d", "byte 13 (line 3) is no UTF-8, ISO-8859-15 or cp1252"),
        ("\t".join(fec_files.COLUMNS).encode(), "a header and no lines"),
        ("\t".join([*fec_files.COLUMNS, "Debit"]).encode() + b"\n1", "'debit' appears twice"),
    ],
)
def test_what_is_no_fec_says_so_and_quotes_nothing(error_of, source, said):
    message = error_of(source)
    assert said in message
    assert "Dupont" not in message


def test_a_file_without_customers_says_so(error_of):
    assert "no line is on a customer's account" in error_of(
        """
        OD | 3 | 02-29 | 641000 |     | PAIE |   80
        OD | 3 | 02-29 | 421000 |     | PAIE |  -80
        """
    )


def test_an_absent_file_says_so(tmp_path):
    with pytest.raises(LedgerError, match="cannot be read: No such file"):
        fec.read(tmp_path / "absent.txt")


# The verdict


def test_the_verdict_is_told_in_labels_and_words(book):
    lines = fec_files.lines_of(EXAMPLE)
    told = dict(book(lines.assign(ValidDate="20250331")).verdict.rows())
    assert told["lines read"] == "7 in 3 entries"
    assert told["entries dated"] == "2024-01-15 to 2024-02-29"
    assert told["settled by lettering"] == "100.0% of 120.00 EUR"
    assert told["due by default terms"] == "1 invoices: 30 days, assumed"
    assert told["ValidDate (not used)"] == "405 days after the entry, by median"
    assert "due dates" in told["this file cannot say"]
    assert dict(book(lines).verdict.rows())["ValidDate (not used)"] == "none"


def test_progress_goes_from_nothing_to_all(book):
    seen = []
    book(EXAMPLE, progress=lambda done, total: seen.append((done, total)))
    assert all(a[0] <= b[0] for a, b in pairwise(seen))
    assert seen[-1][0] == seen[-1][1] > 0


# The laws


def month_ends(imported):
    """Sum what the ledger adds to each balance, by customer and month of recording."""
    rows, paid = imported.ledger["invoices"], imported.ledger["settlements"]
    sign = np.where(paid["kind"] == "reversal", 1, -1)
    cents = pd.concat([rows["amount_cents"], sign * paid["amount_cents"]])
    keys = [
        pd.concat([rows[c], paid[c]]) if c == "customer_id"
        else pd.concat([rows[c], paid[c]]).dt.strftime("%Y%m")
        for c in ("customer_id", "recorded_at")
    ]  # fmt: skip
    sums = cents.groupby(keys).sum()
    return sums[sums != 0]


OTHER_ACCOUNTS = (
    "411100 413000 416000 419100 530000 707000 445710 654000 491000 681700 467000 401000 627000"
    " 471000 890000"
)
ACCOUNT = st.sampled_from(["411000"] * 4 + ["512000"] * 3 + OTHER_ACCOUNTS.split())


@st.composite
def wild_books(draw):
    """Draw entries that balance and make no other sense, with letters at random."""
    lines = []
    for number in range(draw(st.integers(1, 16))):
        n = draw(st.integers(2, 6))
        amounts = draw(st.lists(st.integers(-500, 500), min_size=n - 1, max_size=n - 1))
        amounts.append(-sum(amounts))
        booked = pd.Timestamp("2024-01-01") + pd.Timedelta(days=draw(st.integers(0, 90)))
        journal = draw(st.sampled_from(["VE", "BQ", "OD", "AN"]))
        for cents in amounts:
            account = draw(ACCOUNT)
            auxiliary = draw(st.sampled_from(["A", "B"])) if account[:2] == "41" else ""
            piece = draw(st.sampled_from(["", "P-1", "P-2", f"X{number}"]))
            letter = draw(st.sampled_from(["", "a", "b"]))
            piece_on = booked - pd.Timedelta(days=draw(st.sampled_from([0, 0, 20, 900, -9])))
            day = f"{booked:%Y%m%d}"
            facts = (journal, f"{number // 2}", day, account, auxiliary, piece, cents, letter)
            lines.append(fec_files.line(*facts, piece_on=f"{piece_on:%Y%m%d}"))
    return pd.DataFrame(lines)


@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(wild_books())
def test_whatever_the_entries_each_customer_owes_what_his_accounts_say(book, lines):
    assume(lines["CompAuxNum"].any())
    pd.testing.assert_series_equal(
        month_ends(book(lines)), fec_files.movements(lines), check_names=False, check_dtype=False
    )


@settings(
    max_examples=4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(wild_books(), st.randoms(use_true_random=False))
def test_the_numbers_of_facts_do_not_hang_on_what_else_the_file_holds(book, lines, random):
    assume(lines["CompAuxNum"].any())
    more = fec_files.lines_of(EXAMPLE.replace("C-1", "Z"))
    first, second = book(lines), book(pd.concat([more, lines]))
    for table, key in (("invoices", "invoice_id"), ("settlements", "settlement_id")):
        theirs = second.ledger[table]
        assert set(first.ledger[table][key]) == set(theirs.loc[theirs["customer_id"] != "Z", key])


def test_a_simulated_ledger_comes_back_as_it_was(book):
    """Lost in a FEC: due dates, the hour of recording, disputes, covers, insolvencies."""
    tables = simulate(SIMULATED).tables
    found = book(fec_files.book(tables))
    kept = {
        "invoices": ["invoice_id", "customer_id", "issued_on", "amount_cents", "recorded_at"],
        "settlements": [
            *("settlement_id", "customer_id", "invoice_id", "kind"),
            *("settled_on", "amount_cents", "recorded_at"),
        ],
    }
    for table, columns in kept.items():
        raw = tables[table].drop_duplicates(columns[0])
        expected = raw.assign(recorded_at=raw["recorded_at"].dt.normalize())[columns]
        rows = found.ledger[table][columns].copy()
        for column in rows.filter(regex="invoice_id|settlement_id"):
            rows[column] = rows[column].str.split("/").str[1]
        assert_same_rows(rows, expected, columns[0])
    kinds = set(found.ledger["settlements"]["kind"])
    assert kinds == {"payment", "credit_note", "write_off", "reversal"}
    assert found.verdict.transfers > 20
    assert found.verdict.unusual == {}


def assert_same_rows(rows, expected, key):
    rows, expected = (r.sort_values(key).reset_index(drop=True) for r in (rows, expected))
    pd.testing.assert_frame_equal(rows, expected, check_dtype=False)
