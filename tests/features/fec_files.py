"""FEC files for tests: read from a docstring, or written from the tables of a ledger."""

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = [
    *("JournalCode", "JournalLib", "EcritureNum", "EcritureDate", "CompteNum", "CompteLib"),
    *("CompAuxNum", "CompAuxLib", "PieceRef", "PieceDate", "EcritureLib", "Debit", "Credit"),
    *("EcritureLet", "DateLet", "ValidDate", "Montantdevise", "Idevise"),
]
NAMES = {"VE": "Ventes", "BQ": "Banque", "OD": "Opérations diverses", "AN": "À-nouveaux"}
ACCOUNTS = {"411": "Clients", "512": "Banque", "707": "Ventes", "44571": "TVA collectée"}


def lines_of(text: str) -> pd.DataFrame:
    """Read the lines of a docstring: journal, number, date, account, aux, piece, amount, letter.

    The date is ``01-15`` of 2024 or a whole date; ``piece`` may be followed by its own date,
    ``F-1@2023-12-01``; a positive amount is a debit, in euros.
    """
    cells = [
        [cell.strip() for cell in line.split("|")]
        for line in inspect.cleandoc(text).split("\n")
        if line.count("|") >= 6
    ]
    return pd.DataFrame([_line(*cell) for cell in cells])


def _line(journal, number, day, account, auxiliary, piece, amount, letter="") -> dict[str, str]:
    booked = (day if len(day) > 5 else f"2024-{day}").replace("-", "")
    piece, _, piece_on = piece.partition("@")
    return line(
        journal, number, booked, account, auxiliary, piece, round(float(amount) * 100), letter,
        piece_on=piece_on.replace("-", "") or booked,
    )  # fmt: skip


def line(
    journal, number, booked, account, auxiliary, piece, cents, letter="", *, piece_on=""
) -> dict[str, str]:
    """Write one line of a FEC, as the columns of the law."""
    amount = f"{abs(cents) // 100},{abs(cents) % 100:02d}"
    debit, credit = (amount, "0,00") if cents >= 0 else ("0,00", amount)
    name = next((name for code, name in ACCOUNTS.items() if account.startswith(code)), "Divers")
    values = [
        *(journal, NAMES.get(journal, "Journal"), number, booked, account, name),
        *(auxiliary, f"Client {auxiliary}" if auxiliary else "", piece, piece_on or booked),
        *("Écriture", debit, credit, letter, "", "", "", ""),
    ]
    return dict(zip(COLUMNS, values, strict=True))


def text_of(
    lines: pd.DataFrame, *, separator: str = "\t", ending: str = "\r\n", trailing: str = ""
) -> str:
    """Write lines as the text of a FEC."""
    rows = [list(lines.columns), *lines.to_numpy().tolist()]
    return "".join(separator.join(map(str, row)) + trailing + ending for row in rows)


def write(lines: pd.DataFrame, path: Path, *, encoding: str = "utf-8", **style: Any) -> Path:
    """Write lines as a FEC."""
    path.write_bytes(text_of(lines, **style).encode(encoding))
    return path


def book(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Keep the books of a ledger: its invoices and settlements as the lines of a FEC.

    An entry is booked on the day of ``recorded_at``; its piece has the day it happened. A letter
    is an invoice that something named settles. Money for an invoice not issued yet is a deposit on
    4191, moved to 411 on the later of both days. A loss goes to 416 first, then to 654 with its
    VAT. A credit note of more than half its invoice credits the account by a negative debit.
    """
    invoices = tables["invoices"].drop_duplicates("invoice_id")
    settlements = tables["settlements"].drop_duplicates("settlement_id")
    letters = {i: _letter(n) for n, i in enumerate(settlements["invoice_id"].dropna().unique())}
    issued = invoices.set_index("invoice_id")
    entries: list[list[dict[str, str]]] = []
    for i in invoices.itertuples():
        ht = round(i.amount_cents / 1.2)
        booked = [("411000", i.amount_cents), ("707000", -ht), ("445710", ht - i.amount_cents)]
        entries.append(
            _entry("VE", i, i.invoice_id, i.issued_on, booked, letters.get(i.invoice_id, ""))
        )
    for s in settlements.itertuples():
        letter = letters.get(s.invoice_id, "")
        entries += _settle(s, letter, issued)
    lines = pd.DataFrame([written for entry in entries for written in entry])
    order = lines["EcritureDate"].argsort(kind="stable")
    return lines.iloc[order].reset_index(drop=True)


def _settle(s, letter: str, issued: pd.DataFrame) -> Iterable[list[dict[str, str]]]:
    cents, ht = s.amount_cents, round(s.amount_cents / 1.2)
    piece, on = s.settlement_id, s.settled_on
    if s.kind == "payment" and letter and _day(s) < _day(issued.loc[s.invoice_id]):
        yield _entry("BQ", s, piece, on, [("512000", cents), ("419100", -cents)], f"d{letter}")
        moved = [("419100", cents, f"d{letter}"), ("411000", -cents, letter)]
        later = issued.loc[s.invoice_id]
        yield _entry("OD", later, f"{piece}-A", later["recorded_at"], moved, letter)
    elif s.kind == "payment":
        yield _entry("BQ", s, piece, on, [("512000", cents), ("411000", -cents)], letter)
    elif s.kind == "reversal":
        yield _entry("BQ", s, piece, on, [("512000", -cents), ("411000", cents)], letter)
    elif s.kind == "credit_note":
        booked = [("411000", -cents), ("709000", ht), ("445710", cents - ht)]
        yield _entry("VE", s, piece, on, booked, letter)
    else:
        doubtful = [("416000", cents, f"w{piece}"), ("411000", -cents, letter)]
        yield _entry("OD", s, f"{piece}-D", on, doubtful, letter)
        lost = [("416000", -cents), ("654000", ht), ("445710", cents - ht)]
        yield _entry("OD", s, piece, on, lost, f"w{piece}")


def _day(fact) -> str:
    return f"{fact.recorded_at:%Y%m%d}"


def _entry(journal, fact, piece, on, booked, letter) -> list[dict[str, str]]:
    return [
        line(
            journal, piece, _day(fact), account, fact.customer_id if account[0] == "4" and
            account[:3] != "445" else "", piece, cents,
            (own[0] if own else letter) if account[:2] == "41" else "",
            piece_on=f"{on:%Y%m%d}",
        )
        for account, cents, *own in booked
    ]  # fmt: skip


def _letter(n: int) -> str:
    """Letter code number `n`: A to Z, then AA…"""
    return _letter(n // 26 - 1) + chr(65 + n % 26) if n >= 26 else chr(65 + n)


def movements(lines: pd.DataFrame) -> pd.Series:
    """Sum accounts 411, 413, 416, 419 by auxiliary and month, read anew from the text."""
    theirs = lines[lines["CompteNum"].str[:3].isin(["411", "413", "416", "419"])]
    cents = _cents(theirs)
    sums = cents.groupby([theirs["CompAuxNum"], theirs["EcritureDate"].str[:6]]).sum()
    return sums[sums != 0]


def opening(lines: pd.DataFrame, booked: str, *, detailed: bool) -> pd.DataFrame:
    """Open the year after `lines`: a line an open item as it was, or one a customer's account."""
    theirs = lines[lines["CompteNum"].str[:3].isin(["411", "413", "416", "419"])]
    keys = ["CompteNum", "CompAuxNum"]
    cents = _cents(theirs)
    if detailed:
        lettered = theirs["EcritureLet"] != ""
        left = cents.groupby([theirs[c] for c in [*keys, "EcritureLet"]]).transform("sum") != 0
        items = theirs.assign(cents=cents)[~lettered | left]
        pieces = items[[*keys, "PieceRef", "cents", "EcritureLet", "PieceDate"]].to_numpy().tolist()
    else:
        sums = cents.groupby([theirs[c] for c in keys]).sum()
        pieces = [[*key, "AN", total, "", booked] for key, total in sums.items() if total]
    rows = [
        line("AN", "1", booked, account, auxiliary, piece, total, letter, piece_on=on)
        for account, auxiliary, piece, total, letter, on in pieces
    ]
    capital = -sum(total for _, _, _, total, _, _ in pieces)
    return pd.DataFrame([*rows, line("AN", "1", booked, "101000", "", "AN", capital)])


def _cents(lines: pd.DataFrame) -> pd.Series:
    debit, credit = (
        lines[c].str.replace(",", ".").astype("float64") * 100 for c in ("Debit", "Credit")
    )
    return np.rint(debit - credit).astype("int64")
