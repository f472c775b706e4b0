"""``encours keys``: what is printed, what is kept, and what is refused in one sentence."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

import encours
from commands.keys import one_of_each
from commands.shared import workspace_here
from serving.audit import Record
from serving.keys import ROLES, Keys

A_KEY = re.compile(r"encours_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


def tomorrow() -> str:
    return str((datetime.now(UTC) + timedelta(days=1)).date())


@pytest.fixture
def keys(run):
    """Read the keys as the service does; nothing is there before the first command."""
    keys = Keys(lambda: Record(workspace_here().record_url))

    def read() -> Keys:
        keys.refresh()
        return keys

    return read


def id_of(text: str) -> str:
    return A_KEY.fullmatch(text.strip())[1]


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(run, keys):
    ran = run("keys", "create", "Salesforce", "--role", "crm")
    assert (ran.code, ran.out.count("\n")) == (0, 1)
    assert ran.err == (
        "role crm, all customers, 50 calls a second. "
        "It is not shown again: send it as Authorization: Bearer\n"
    )
    held = keys().holder(ran.out.strip())
    assert (held.client, held.role, held.customers) == ("Salesforce", "crm", None)


def test_a_key_for_some_customers_until_a_day_sees_no_others(run, keys, tmp_path):
    file = tmp_path / "customers.txt"
    file.write_text("C-17\n\n  C-18 \nC-17\nÉ-1\n", "utf-8")
    how = ("--customers", file, "--expires", tomorrow(), "--calls-a-second", 0.5)
    ran = run("keys", "create", "HubSpot", "--role", "risk", *how)
    assert ran.err.startswith("role risk, 3 customers, 0.5 calls a second")
    held = keys().holder(ran.out.strip())
    assert held.customers == {"C-17", "C-18", "É-1"}
    assert not held.sees("C-19")
    assert str(held.expires_on) == tomorrow()


def test_who_made_and_who_revoked_a_key_is_on_the_record(run, keys):
    id = id_of(run("keys", "create", "a", "--role", "crm", "--as", "Claire").out)
    assert run("keys", "revoke", id, "--as", "Paul").out == f"key {id} of a is revoked\n"
    entries = Record(workspace_here().record_url).after(0, "key")
    assert [re.search(b'"by": "([^"]+)"', entry.body)[1] for entry in entries] == [
        b"Claire",
        b"Paul",
    ]


def test_the_list_has_every_key_whole_and_no_secret(run, keys, monkeypatch):
    made = run("keys", "create", "Salesforce", "--role", "crm", "--expires", tomorrow()).out
    other = run("keys", "create", "a client with a long name " * 3, "--role", "auditor").out
    run("keys", "revoke", id_of(other))
    monkeypatch.setattr(encours.console, "_width", 76)
    listed = run("keys", "list").out
    for text in (made, other):
        assert id_of(text) in listed
        assert text.strip().rpartition("_")[2] not in listed
    assert re.search(rf"{id_of(made)} .*Salesforce.* crm .* all .*{tomorrow()} .*works", listed)
    assert "revoked" in listed
    assert "…" not in listed


def test_an_expired_key_is_listed_as_such(run, keys, monkeypatch):
    run("keys", "create", "a", "--role", "crm", "--expires", tomorrow())
    day = (datetime.now(UTC) + timedelta(days=1)).date()
    monkeypatch.setattr("commands.shared.this_day", lambda: day)
    assert " expired " in run("keys", "list").out


def test_before_there_is_a_key_the_list_says_how_to_make_one(run):
    ran = run("keys", "list")
    assert ran.out == "There is no key yet: `encours keys create NAME --role crm` makes one.\n"


def test_a_revoked_key_stops_working(run, keys):
    text = run("keys", "create", "a", "--role", "crm").out.strip()
    assert keys().holder(text) is not None
    assert run("keys", "revoke", id_of(text)).code == 0
    assert keys().holder(text) is None
    again = run("keys", "revoke", id_of(text))
    assert (again.code, again.out) == (2, "")
    assert (
        f"key {id_of(text)} was revoked on {time.strftime('%Y-%m-%d', time.gmtime())}" in again.err
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("a", "--role", "boss"), "--role must be one of crm, risk, auditor, admin"),
        ((" ", "--role", "crm"), "a client needs a name"),
        (("a", "--role", "crm", "--expires", "2020-01-01"), "2020-01-01 is not in the future"),
        (("a", "--role", "crm", "--expires", "soon"), "not a date written YYYY-MM-DD"),
        (("a", "--role", "crm", "--calls-a-second", "0"), "calls a second must be > 0"),
        (("a", "--role", "crm", "--customers", "/nowhere"), "/nowhere: No such file"),
        (("a",), "--role"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused_in_a_sentence(run, given, said):
    ran = run("keys", "create", *given)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "no key yet" in run("keys", "list").out


def test_a_file_without_customers_makes_no_key_for_all(run, tmp_path):
    (tmp_path / "none.txt").write_text("\n \n")
    ran = run("keys", "create", "a", "--role", "crm", "--customers", tmp_path / "none.txt")
    assert (ran.code, ran.out) == (2, "")
    assert "the list of customers is empty" in ran.err


def test_an_unknown_key_is_not_revoked(run):
    ran = run("keys", "revoke", "0" * 12)
    assert (ran.code, ran.out) == (2, "")
    assert "there is no key 000000000000: `encours keys list` shows them" in ran.err


def test_a_first_run_makes_one_key_of_each_role(run, keys):
    made = one_of_each(workspace_here())
    assert tuple(made) == ROLES
    for role, one in made.items():
        assert keys().holder(one.text).role == role
