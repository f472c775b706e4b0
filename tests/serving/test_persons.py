"""Natural persons on the record: unreadable without their key, and everybody else as before."""

from __future__ import annotations

import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from features.store import Source, Store, connect, writing
from models.alerts import Finding, Reference
from models.workspace import Workspace
from serving import persons as module
from serving.alerts import Alerts, UnknownAlert, _place_after
from serving.alerts import Source as AlertSource
from serving.assess import NotReady, nothing_unrecorded
from serving.audit import AnotherRequest, Kept, New, Once, Record, leaf_hash
from serving.keys import Keys
from serving.overrides import Overrides
from serving.person_key import Erased, PersonKey, Undecipherable, key_named
from serving.persons import Persons
from serving.references import References
from tests.features.ledgers import ledger_of
from tests.features.postgres import postgres

PERSON, OTHER, FIRM = "C-17", "C-18", "C-19"
NOW = datetime(2025, 7, 2, 9, 14, 7, tzinfo=UTC)
ONCE = Once("shop", "k" * 64, "f" * 64)


@pytest.fixture(scope="module")
def server():
    with postgres() as new_url:
        yield new_url


@pytest.fixture(params=["sqlite", "postgresql"])
def workspace(request, tmp_path, monkeypatch) -> Iterator[Workspace]:
    """Make a home with two natural persons and a firm, on both databases."""
    opened = []

    def connect_and_note(url: str, **how: float) -> sa.Engine:
        opened.append(connect(url, **how))
        return opened[-1]

    for name in ("audit", "persons", "references"):
        monkeypatch.setattr(f"serving.{name}.connect", connect_and_note)
    for name in ("store", "store_persons"):
        monkeypatch.setattr(f"features.{name}.connect", connect_and_note)
    urls = [None, None]
    if request.param == "postgresql":
        url = request.getfixturevalue("server")()
        urls = [url, url]
    made = Workspace(tmp_path / "home", *urls)
    customers = pd.DataFrame(
        {
            "customer_id": [PERSON, OTHER, FIRM],
            "name": ["Sophie Morel", "Jean Petit", "Petit SARL"],
            "is_natural_person": [True, True, False],
        }
    )
    store = Store(made.facts_url, "EUR")
    store.append(ledger_of({"customers": customers}), Source(()))
    yield made
    for engine in opened:
        engine.dispose()


@pytest.fixture
def record(workspace) -> Record:
    return Record.of(workspace)


def assessment(customer: str, said: str = "Sophie Morel owes 1 234.00") -> bytes:
    return json.dumps({"answer": {"customer": {"id": customer}, "said": said}}).encode()


def override(customer: str) -> bytes:
    said = {
        "id": "o",
        "assessment": {"id": "a"},
        "customer_id": customer,
        "decided": {"action": "cash", "deposit_rate": None, "limit": "0.00", "terms_days": None},
        "order": {"amount_cents": 1, "margin_cents": 0, "terms_days": 0},
        "direction": None,
        "facts": [],
        "by": "Claire",
        "role": "risk",
        "reason": "Sophie Morel pays.",
        "decided_at": "2025-07-02T09:00:00Z",
        "expires_on": "2025-07-03",
    }
    return json.dumps({"override": said}).encode()


def stored(record: Record, id: str) -> sa.Row:
    with record._engine.connect() as connection:
        query = "SELECT e.*, s.customer_id FROM entries e LEFT JOIN subjects s USING (sequence)"
        rows = connection.exec_driver_sql(query).all()
    return next(row for row in rows if row.id == id)


def begin(workspace: Workspace, customer: str = PERSON) -> PersonKey:
    return Persons.of(workspace).begin_erasure(customer, NOW)


def erase(workspace: Workspace, customer: str = PERSON) -> PersonKey:
    """Erase as far as the record and its keys go."""
    key = begin(workspace, customer)
    persons = Persons.of(workspace)
    persons.destroy(key.id)
    persons.tidy()
    return key


def execute(url: str, statement: str) -> None:
    engine = connect(url)
    with writing(engine) as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def soon(is_so: Callable[[], bool]) -> bool:
    """Tell whether something comes true within a second."""
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.02)
    return False


# What is recorded.


def test_what_is_recorded_of_a_person_says_neither_who_nor_what(record):
    body = assessment(PERSON)
    entry = record.append("a", "assessment", body)
    row = stored(record, "a")
    raw = bytes(row.body)
    assert not any(word in raw for word in (b"C-17", b"Morel", b"1 234"))
    assert (row.customer_id, row.leaf_hash) == (key_named(raw), leaf_hash(raw))
    assert (entry.body, entry.leaf_hash) == (body, leaf_hash(raw))
    assert entry.is_whole
    again = record.find("a")
    assert again == entry
    assert record.of_customer(PERSON, "assessment", 10) == [entry]
    assert record.find_many(["a"]) == [entry]


def test_what_is_recorded_of_a_firm_is_the_same_bytes_as_ever(workspace, record):
    body = assessment(FIRM)
    entry = record.append("a", "assessment", body)
    row = stored(record, "a")
    assert (bytes(row.body), row.leaf_hash, row.customer_id) == (body, leaf_hash(body), FIRM)
    assert entry == record.find("a")
    assert entry.person is None
    assert not (workspace.home / "person-keys.db").exists()


def test_two_entries_of_one_person_share_a_key_and_no_two_persons_do(record):
    for id, customer in (("a", PERSON), ("b", PERSON), ("c", OTHER)):
        record.append(id, "assessment", assessment(customer))
    first, second, third = (record.find(id) for id in "abc")
    assert first.person == second.person != third.person
    assert first.recorded != second.recorded  # the same body twice gives nothing away


def test_two_processes_make_one_key(workspace):
    found, gate = [], threading.Barrier(4)

    def make() -> None:
        gate.wait()
        found.append(Persons.of(workspace).key_for(PERSON))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.id for key in found}) == 1


def test_an_entry_in_another_ones_place_is_refused(record):
    for id in ("a", "b"):
        record.append(id, "assessment", assessment(PERSON))
    record.append("o", "override", override(PERSON))
    recorded = {id: bytes(stored(record, id).body) for id in ("a", "b", "o")}
    key = record.persons.find(PERSON)
    key.decrypt("entry assessment a", recorded["a"])
    changed = recorded["a"].replace(b'"ciphertext": "', b'"ciphertext": "AAAA')
    cut = recorded["a"][:-40] + b'"}'
    for what, body in (
        ("entry assessment b", recorded["a"]),  # the same person's, another id
        ("entry assessment o", recorded["o"]),  # another kind
        ("entry assessment a", changed),
        ("entry assessment a", cut),
        ("entry assessment a", b'{"person_key": "x"}'),
    ):
        with pytest.raises(Undecipherable):
            key.decrypt(what, body)
    other = record.persons.key_for(OTHER)
    with pytest.raises(Undecipherable):
        other.decrypt("entry assessment a", recorded["a"])


def test_without_its_key_an_entry_is_unreadable_and_not_erased(workspace, record):
    record.append("a", "assessment", assessment(PERSON))
    execute(workspace.person_keys_url, "DELETE FROM person_keys")
    with pytest.raises(Undecipherable, match="not here"):
        Record.of(workspace).find("a")
    with pytest.raises(NotReady, match="natural person cannot be read"), nothing_unrecorded():
        Record.of(workspace).find("a")


def test_the_file_of_the_keys_is_its_owners_alone(workspace, record):
    record.append("a", "assessment", assessment(PERSON))
    for file in workspace.home.glob("person-keys.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    shown = repr(record.persons.find(PERSON))
    assert "secret" not in shown


# Erased.


def test_an_erasure_counts_in_every_process_within_a_second(workspace, record):
    record.append("a", "assessment", assessment(PERSON))
    record.append("b", "assessment", assessment(OTHER))
    assert record.find("a").person is not None
    begin(workspace)

    def is_gone() -> bool:
        try:
            record.find("a")
        except Erased as erased:
            return erased.at == NOW
        return False

    assert soon(is_gone)
    assert record.of_customer(PERSON, "assessment", 10) == []
    assert isinstance(record.find_many(["a", "b"])[0], Erased)
    assert record.find("b").body == assessment(OTHER)
    with pytest.raises(Erased):
        record.append_many([New("c", "assessment", assessment(PERSON), is_person=True)])


def test_once_the_key_is_destroyed_nothing_leads_back(workspace, record):
    record.append("a", "assessment", assessment(PERSON))
    secret = record.persons.find(PERSON).secret
    key = erase(workspace)
    for file in workspace.home.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert secret not in content, file
        assert file.name.startswith("facts.db") or PERSON.encode() not in content, file
    with pytest.raises(Erased, match="erased on 2025-07-02"):
        Record.of(workspace).find("a")
    again = Persons.of(workspace)
    assert again.find(PERSON) is None
    assert again.erased() == {key.id}


def test_what_is_on_its_way_while_a_person_is_erased_leaves_nothing_in_clear(workspace, record):
    """The ledger was read before his facts were removed, the record is written after."""
    erase(workspace)
    execute(workspace.facts_url, "DELETE FROM customers WHERE customer_id = 'C-17'")
    for is_person in (True, None):
        late = New("late", "assessment", assessment(PERSON), is_person=is_person)
        with pytest.raises(Erased):
            Record.of(workspace).append_many([late])
    assert Persons.of(workspace).find(PERSON) is None
    assert Record.of(workspace).find("late") is None


def test_an_erased_person_who_comes_back_is_another_one(workspace, record):
    record.append("a", "assessment", assessment(PERSON))
    old = erase(workspace)
    again = Record.of(workspace)
    again.append("b", "assessment", assessment(PERSON))
    assert again.find("b").person != old.id
    with pytest.raises(Erased):
        again.find("a")


# Requests.


def test_a_request_about_a_person_is_answered_once_and_cannot_be_guessed(workspace, record):
    record.append("a", "assessment", assessment(PERSON), ONCE)
    with record._engine.connect() as connection:
        (said,) = connection.exec_driver_sql("SELECT fingerprint FROM requests").scalars()
    assert ONCE.fingerprint not in said
    assert record.answered(ONCE).id == "a"
    assert record.append("b", "assessment", assessment(PERSON), ONCE).id == "a"
    with pytest.raises(AnotherRequest):
        record.answered(ONCE._replace(fingerprint="e" * 64))
    for customer in (OTHER, FIRM):
        with pytest.raises(AnotherRequest):
            record.append("c", "assessment", assessment(customer), ONCE._replace(fingerprint="e"))
    erase(workspace)
    again = Record.of(workspace)
    with pytest.raises(Erased):
        again.answered(ONCE)
    with pytest.raises(Erased):
        again.append("d", "assessment", assessment(FIRM), ONCE)
    assert again.append("e", "assessment", assessment(FIRM)).id == "e"  # others write on


def test_an_answer_that_is_kept_about_a_person_is_hidden_too(workspace, record):
    answer = b'{"note": "Sophie Morel pays"}'
    assert record.keep(ONCE, 200, answer, PERSON) == Kept(200, answer)
    with record._engine.connect() as connection:
        (kept,) = connection.exec_driver_sql("SELECT answer FROM requests").scalars()
    assert b"Morel" not in bytes(kept)
    assert record.answered(ONCE) == Kept(200, answer)
    assert record.keep(ONCE, 200, b"{}", PERSON) == Kept(200, answer)
    erase(workspace)
    with pytest.raises(Erased):
        Record.of(workspace).answered(ONCE)


def test_one_who_is_erased_stops_nobody_who_is_written_with_him(workspace, record):
    record.append("a", "assessment", assessment(PERSON), ONCE)
    erase(workspace)
    again, failed = Record.of(workspace), []
    again._committing.acquire()

    def append(id: str, once: Once | None) -> None:
        try:
            again.append(id, "assessment", assessment(FIRM), once)
        except Erased:
            failed.append(id)

    threads = [
        threading.Thread(target=append, args=one) for one in (("b", ONCE), ("c", None), ("d", None))
    ]
    for thread in threads:
        thread.start()
    soon(lambda: len(again._waiting) == 3)
    again._committing.release()
    for thread in threads:
        thread.join()
    assert failed == ["b"]
    assert None not in (again.find("c"), again.find("d"))


# What is made from the record, in memory.


FINDING = Finding(
    code="grade_fell",
    severity="high",
    fr="Sophie Morel",
    en="Sophie Morel",
    evidence={},
    measure=1.0,
    is_again=False,
)


def test_alerts_of_a_person_are_one_chain_in_all_processes_and_gone_when_erased(workspace, record):
    first, second = Alerts(record), Alerts(Record.of(workspace))
    source = AlertSource(NOW, "EUR", "0" * 64)
    raised = first.tell(PERSON, FINDING, source)
    first.tell(FIRM, FINDING, source)
    assert second.tell(PERSON, FINDING, source) is None
    assert [one.chain[0] for one in second.all()] == [PERSON, FIRM]
    with record._engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT key_hash FROM requests").scalars().all()
    assert len(names) == 2
    guesses = [_place_after((who, FINDING.code), None).key_hash for who in (PERSON, FIRM)]
    assert [guess in names for guess in guesses] == [False, True]
    erase(workspace)
    for alerts in (first, second, Alerts(Record.of(workspace))):
        assert soon(lambda alerts=alerts: [one.chain[0] for one in alerts.all()] == [FIRM])
        with pytest.raises(UnknownAlert):
            alerts.acknowledge(raised.id, {"client": "x", "role": "risk"}, "Seen.", NOW)


def test_decisions_about_a_person_are_gone_when_erased(workspace, record):
    overrides = Overrides(record)
    record.append("o", "override", override(PERSON))
    record.append("p", "override", override(FIRM))
    assert [one.customer_id for one in overrides.all()] == [PERSON, FIRM]
    assert overrides.in_force(PERSON, NOW.date()) is not None
    erase(workspace)
    assert soon(lambda: [one.customer_id for one in overrides.all()] == [FIRM])
    assert overrides.in_force(PERSON, NOW.date()) is None
    assert [one.customer_id for one in Overrides(Record.of(workspace)).all()] == [FIRM]


def test_a_key_for_a_list_of_customers_names_no_person_and_loses_who_is_erased(workspace, record):
    keys = Keys(lambda: record)
    made = keys.make("shop", "crm", "the tests", [PERSON, FIRM, "unknown yet"])
    (entry,) = record.after(0, "key")
    assert b"C-17" not in entry.body
    assert Keys(lambda: record).all()[0].customers == {PERSON, FIRM, "unknown yet"}
    erase(workspace)
    keys.revoke(made.key.id, "the tests")
    again = Record.of(workspace)
    assert all(b"C-17" not in one.body for one in again.after(0, "key"))
    (key,) = Keys(lambda: again).all()
    assert key.customers == {FIRM, "unknown yet"}


def test_a_batch_of_entries_hides_the_persons_alone(record):
    new = [New(id, "assessment", assessment(who)) for id, who in (("a", PERSON), ("b", FIRM))]
    record.append_many([*new, New("c", "batch", b'{"items": []}')], ONCE)
    assert key_named(bytes(stored(record, "a").body)) is not None
    assert bytes(stored(record, "b").body) == assessment(FIRM)
    assert record.answered(ONCE).kind == "batch"


def test_whom_entries_are_about_is_filled_with_the_same_name(workspace, record):
    record.append("a", "assessment", assessment(PERSON))
    before = stored(record, "a").customer_id
    with writing(record._engine) as connection:
        connection.exec_driver_sql("DROP TABLE subjects")
    again = Record.of(workspace)
    assert stored(again, "a").customer_id == before
    assert [one.id for one in again.of_customer(PERSON, "assessment", 5)] == ["a"]


def test_every_record_that_is_opened_to_be_used_knows_the_persons():
    root = Path(module.__file__).parents[1]
    files = [f for p in ("serving", "commands") for f in (root / p).rglob("*.py")]
    for file in [*files, root / "encours.py"]:
        text = file.read_text("utf-8")
        assert "Record(workspace" not in text, file
        assert "Entries(workspace" not in text, file
        assert "References(workspace.record_url)" not in text, file


def test_the_state_that_alerts_compare_with_is_hidden_and_gone_when_erased(workspace, record):
    state = Reference(NOW, None, "C", 0.0123, NOW, "B", NOW, None, NOW)
    before = References(workspace.record_url)  # a version of before knew no persons
    before.put({PERSON: state, FIRM: state})
    references = References(workspace.record_url, record.persons)
    assert references.of(PERSON) == state
    later = replace(state, at=NOW + timedelta(days=1), grade="D")
    references.put({PERSON: later, OTHER: state})
    assert references.of(PERSON) == later
    assert references.all() == {PERSON: later, OTHER: state, FIRM: state}
    with record._engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM alert_references").all()
    assert sum(FIRM in row for row in rows) == 1
    assert not any(PERSON in str(row) or OTHER in str(row) for row in rows)
    erase(workspace)
    assert soon(lambda: references.all() == {OTHER: state, FIRM: state})
