"""A sole trader is erased: nothing of hers can be read anywhere, and the record verifies."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pysqlite3
import pytest
import structlog
from fastapi import FastAPI

from features.store import Source, Store, connect
from features.store_persons import PersonFacts
from features.workers import here
from models.insurance import load as rules_of_insurer
from models.policy import Order
from models.workspace import Workspace
from serving import portfolio_job, problems
from serving.alerts import Alerts
from serving.api import create_app
from serving.assess import Assessor, UnknownCustomer
from serving.audit import Record
from serving.checkpoint_keys import Keys as CheckpointKeys
from serving.checkpoint_keys import vouched
from serving.contest import Contested, Contester
from serving.erasure import KIND, Eraser, ErasureRefused, Found, Wanted, inactive_since
from serving.export import export, prove
from serving.jobs import Jobs
from serving.keys import Keys
from serving.opened import Opened
from serving.person_key import Erased, key_named
from serving.persons import FRESH_SECONDS, Persons
from serving.references import References
from serving.replay import Entries, Replayer
from serving.sealer import Sealer
from serving.seals import Seals, Witness
from serving.situation import Insurer
from serving.verification import verify
from serving.watch import Watch
from tests.conftest import NOW
from tests.features.ledgers import ledger_of, read_tables
from tests.features.postgres import postgres
from tests.serving.test_access import bearer
from tests.serving.test_api import call, expect
from tests.serving.test_persons import FINDING, AlertSource, assessment

VERIFIER = Path(__file__).parents[2] / "docs" / "verify.py"
ORDER = {"amount": "2000.00", "margin": "20.00", "terms_days": 30}
WHY = "Asked for by letter of 1 July."
CLAIRE = "Claire"


@contextmanager
def in_this_process() -> Iterator[Any]:
    yield here


class Service(NamedTuple):
    """A seller's service, with what was recorded of a person, of her group and of a firm."""

    workspace: Workspace
    store: Store
    record: Record
    opened: Opened
    keys: Keys
    app: FastAPI
    person: str
    firm: str
    relative: str
    secrets: list[bytes]
    ids: dict[str, str]

    def ask(self, method: str, path: str, text: str, body: Any = None, **more: str) -> Any:
        """Ask over HTTP with a key."""
        content = None if body is None else json.dumps(body)
        return call(self.app, method, path, headers=bearer(text, **more), content=content)

    def entries(self) -> dict[str, tuple[Any, ...]]:
        """Read what stands in the record, by id, beside the erasure."""
        with pysqlite3.connect(self.workspace.home / "record.db") as connection:
            query = "SELECT id, body, leaf_hash, kind, recorded_at, sequence FROM entries"
            rows = connection.execute(f"{query} WHERE kind <> 'erasure'").fetchall()
        return {row[0]: row for row in rows}


class _Desk:
    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def get(self) -> Opened:
        return self._opened

    def readiness(self) -> None:
        return None


def opened_on(workspace: Workspace, clock: Any) -> Opened:
    store, record = Store(workspace.facts_url), Record.of(workspace)
    insurer = Insurer(rules_of_insurer())
    references = References(workspace.record_url, record.persons)
    watch = Watch(Alerts(record), references, "EUR")
    assessor = Assessor(store, record, workspace, clock, insurer, watch)
    return Opened(store, record, workspace, clock, insurer, assessor)


@pytest.fixture(scope="module")
def service(trained, tmp_path_factory, clock) -> Service:
    """Record every kind of entry about one person, then seal; nothing is erased yet."""
    workspace = Workspace(tmp_path_factory.mktemp("erased"))
    for file in (trained.facts, trained.champions):
        shutil.copy(file, workspace.home)
    for folder in (trained.bundles, trained.policies):
        shutil.copytree(folder, workspace.home / folder.name)
    (workspace.home / "people.yaml").write_text("people:\n  Claire: credit_manager\n", "utf-8")
    store = Store(workspace.facts_url)
    persons = PersonFacts(workspace.facts_url)
    with_invoices = dict.fromkeys(store.read()["invoices"]["customer_id"].astype(str))
    person = next(one for one in persons.all() if one in with_invoices)
    firm, relative = [one for one in with_invoices if persons.is_person(one) is False][:2]
    name = persons.names(person)[0]
    tables = read_tables(
        f"""
        change_id | customer   | changed_on | kind  | value
        g1        | {person}   | 2025-01-01 | group | Morel
        g2        | {relative} | 2025-01-01 | group | Morel
        """
    )
    tables.pop("customers")
    store.append(ledger_of(tables), Source(()), int(NOW.timestamp() - 86_400) * 1_000_000)
    opened = opened_on(workspace, clock)
    keys = Keys(lambda: opened.record)
    app = create_app(_Desk(opened), keys)
    made = Service(
        workspace, store, opened.record, opened, keys, app, person, firm, relative, [], {}
    )
    opened.assessor.assess(firm, Order(1_000_00, 100_00, 30))  # compiles, which takes its time
    _record_everything(made, name)
    made.secrets.extend([person.encode(), name.encode(), b"Sophie Morel pays"])
    Sealer.of(workspace).seal()
    return made


def _record_everything(made: Service, name: str) -> None:
    """Have one of everything about the person, and of the same about a firm."""
    risk = made.keys.make(CLAIRE, "risk", "the tests").text
    made.keys.make("shop", "crm", "the tests", [made.person, made.firm])
    made.ids["risk"] = risk
    for label, customer in (("person", made.person), ("firm", made.firm), ("kin", made.relative)):
        body = {"customer": {"id": customer}, "order": ORDER}
        answer = made.ask(
            "POST", "/v1/assessments", risk, body, **{"Idempotency-Key": f"a-{label}"}
        )
        assert answer.status_code == 201, answer.text
        made.ids[label] = answer.json()["id"]
    items = [{"customer": {"id": one}, "order": ORDER} for one in (made.person, made.firm)]
    batch = made.ask(
        "POST", "/v1/assessments/batch", risk, {"items": items}, **{"Idempotency-Key": "b"}
    )
    assert [one["status"] for one in batch.json()["items"]] == [201, 201], batch.text
    decision = {
        "action": "shorter_terms",
        "terms_days": 10,
        "reason": "Sophie Morel pays what she owes.",
        "until": "2025-07-20",
    }
    path = f"/v1/assessments/{made.ids['person']}/override"
    decided = made.ask("POST", path, risk, decision)
    assert decided.status_code == 201, decided.text
    source = AlertSource(NOW, "EUR", "0" * 64)
    alert = made.opened.alerts.tell(made.person, FINDING, source)
    note = {"note": "Sophie Morel pays tomorrow."}
    path = f"/v1/alerts/{alert.id}/acknowledge"
    seen = made.ask("POST", path, risk, note, **{"Idempotency-Key": "n"})
    assert seen.status_code == 200, seen.text
    made.ids["alert"] = alert.id
    invoice = str(made.store.read(made.person)["invoices"]["invoice_id"][-1])
    dispute = {"customer_id": made.person, "invoice_id": invoice, "opened_on": "2025-06-20"}
    correction = json.dumps({"disputes": [{"dispute_id": "D-erase", **dispute}]}).encode()
    replayer = Replayer(made.workspace, made.store)
    contester = Contester(
        made.store, made.record, made.opened.assessor, made.opened.clock, replayer
    )
    contester.contest(
        Contested(made.ids["person"], name, f"{name} disputes it.", "letter.json", correction)
    )
    jobs = Jobs(made.workspace.home / "jobs")
    actor = {"client": CLAIRE, "role": "risk", "key": "0" * 12}
    for id, customers in (("with", [made.person, made.firm]), ("without", [made.firm])):
        jobs.add(id, actor, None, customers, 10)
        job = jobs.take(1)
        portfolio_job.run(job, jobs, made.store, made.record, made.workspace, NOW, in_this_process)
    jobs.close()
    rejects = made.workspace.rejects
    rejects.mkdir()
    with (rejects / "import-1.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [{"customer": made.person, "amount": "x"}, {"customer": f"{made.person}0"}]
        rows += [{"text": f'9\t"{made.person}"\t{name}'}]
        writer = csv.writer(file)
        writer.writerow(["table", "reason", "row"])
        writer.writerows(["invoices", "bad", json.dumps(row)] for row in rows)


@pytest.fixture(scope="module")
def before(service) -> dict[str, tuple[Any, ...]]:
    return service.entries()


@pytest.fixture(scope="module")
def erased(service, before) -> Found:
    """Erase the person, while the service runs."""
    with structlog.testing.capture_logs() as logs:
        found = Eraser(service.workspace, service.record).erase(Wanted(service.person, "DPO", WHY))
    assert not any(secret.decode() in str(logs) for secret in service.secrets)
    Sealer.of(service.workspace).seal()
    return found


def test_before_she_is_erased_every_answer_of_hers_can_be_made_again(service, before):
    replayer = Replayer(service.workspace, Store(service.workspace.facts_url))
    for entry in Entries.of(service.workspace).sample(100, 1):
        told = replayer.replay(entry)
        assert (told.differences, told.erased) == ((), None)


def test_nothing_of_hers_was_ever_in_clear_on_the_record(service, before):
    service.record.empty_log()
    for file in service.workspace.home.glob("record.db*"):
        content = file.read_bytes()
        for secret in service.secrets:
            assert secret not in content, (file.name, secret)


def test_no_byte_of_hers_is_left_in_any_file(service, erased):
    kinds = set()
    for file in service.workspace.home.rglob("*"):
        if not file.is_file():
            continue
        content = file.read_bytes()
        kinds.add(file.name)
        for secret in service.secrets:
            if secret == service.person.encode():  # C-001 stands in C-0010 of another one
                content = content.replace(secret + b"0", b"")
            assert secret not in content, (file, secret)
    expected = {"facts.db", "record.db", "person-keys.db", "jobs.db", "import-1.csv"}
    assert expected <= kinds
    assert erased.facts > 10
    assert erased.in_clear == 0


def test_the_record_verifies_as_before(service, erased, tmp_path):
    lines = CheckpointKeys(service.workspace.home / "keys").public.read_text("utf-8").splitlines()
    engine = connect(service.workspace.record_url, only_reads=True)
    with engine.connect() as connection:
        seals, witness = Seals(connection), Witness(service.workspace.witness)
        report = verify(seals, vouched(lines), witness)
        assert report.fault is None
        assert report.unsealed == 0
        proof = prove(seals, lines, service.ids["person"])
        (tmp_path / "proof.json").write_text(json.dumps(proof), "utf-8")
        (tmp_path / "export.jsonl").write_text("".join(export(seals, lines, 0, report.entries)))
    engine.dispose()
    for name in ("proof.json", "export.jsonl"):
        command = [sys.executable, VERIFIER, tmp_path / name]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_nobodys_entry_changes(service, before, erased):
    assert service.entries() == before


def test_the_record_says_who_erased_and_why_and_not_whom(service, erased):
    (entry,) = service.record.after(0, KIND)
    said = json.loads(entry.body)["erasure"]
    assert (said["by"], said["why"]) == ("DPO", WHY)
    assert (said["facts"], said["entries"]) == (erased.facts, erased.entries)
    assert said["person"] in service.record.persons.erased()
    count = sum(key_named(bytes(row[1])) == said["person"] for row in service.entries().values())
    assert count == said["entries"] >= 7  # three assessments, a decision, two of the alert, contest


def test_what_is_asked_about_her_is_answered_410_or_404(service, erased):
    risk = service.ids["risk"]
    path = f"/v1/assessments/{service.ids['person']}"
    for part in ("", "/explanation", "/options", "/registers", "/evidence"):
        expect(service.ask("GET", path + part, risk), problems.ERASED)
    body = {"customer": {"id": service.person}, "order": ORDER}
    again = service.ask("POST", "/v1/assessments", risk, body, **{"Idempotency-Key": "a-person"})
    expect(again, problems.ERASED)
    expect(service.ask("POST", "/v1/assessments", risk, body), problems.UNKNOWN_CUSTOMER)
    for route in ("", "/assessments"):
        told = service.ask("GET", f"/v1/customers/{service.person}{route}", risk)
        expect(told, problems.UNKNOWN_CUSTOMER)
    note = {"note": "Sophie Morel pays tomorrow."}
    path = f"/v1/alerts/{service.ids['alert']}/acknowledge"
    expect(
        service.ask("POST", path, risk, note, **{"Idempotency-Key": "n"}),
        problems.ERASED,
    )
    expect(service.ask("POST", path, risk, note), problems.UNKNOWN_ALERT)
    assert service.ask("GET", "/v1/alerts?status=all", risk).json()["alerts"] == []
    assert service.ask("GET", "/v1/overrides", risk).json()["overrides"] == []


def test_to_a_key_for_other_customers_she_was_never_there(service, erased):
    own = service.keys.make("HubSpot", "crm", "the tests", [service.firm]).text
    gone = service.ask("GET", f"/v1/assessments/{service.ids['person']}", own)
    expect(gone, problems.UNKNOWN_ASSESSMENT)


def test_in_a_batch_she_alone_is_gone(service, erased):
    risk = service.ids["risk"]
    items = [{"customer": {"id": one}, "order": ORDER} for one in (service.person, service.firm)]
    again = service.ask(
        "POST", "/v1/assessments/batch", risk, {"items": items}, **{"Idempotency-Key": "b"}
    )
    assert [one["status"] for one in again.json()["items"]] == [410, 201]
    assert again.json()["items"][0]["problem"]["type"] == "/problems/erased"


def test_a_job_that_held_her_has_no_result_any_more_and_others_have(service, erased):
    jobs = Jobs(service.workspace.home / "jobs")
    assert [jobs.file("with", f).exists() for f in ("parquet", "csv")] == [False, False]
    assert [jobs.file("without", f).exists() for f in ("parquet", "csv")] == [True, True]
    assert jobs.find("with").customers == [service.firm]
    jobs.close()
    listed = [json.loads(one.body)["customers"] for one in service.record.after(0, "portfolio")]
    assert listed[0] != listed[1] == [service.firm]


def test_rows_put_aside_that_name_her_are_gone_and_no_others(service, erased):
    with (service.workspace.rejects / "import-1.csv").open(encoding="utf-8") as file:
        assert [json.loads(row["row"]) for row in csv.DictReader(file)] == [
            {"customer": f"{service.person}0"}
        ]


def test_a_replay_says_what_was_erased_and_of_whose_group_somebody_was(service, erased):
    entries, passed_over = Entries.of(service.workspace).draw(100, 1)
    assert passed_over == 3
    replayer = Replayer(service.workspace, Store(service.workspace.facts_url))
    for entry in entries:
        told = replayer.replay(entry)
        assert told.differences == ()
        if entry.id == service.ids["kin"]:
            assert told.erased.startswith("a person of the customer's group was erased on 20")
        else:
            assert told.erased is None
    with pytest.raises(Erased):
        Entries.of(service.workspace).find(service.ids["person"])


def test_how_peers_paid_is_the_same_without_her(service, erased, trained):
    with_her, without = (Store(one.facts_url).peers(1) for one in (trained, service.workspace))
    assert with_her.places == without.places
    for mine, theirs in zip(with_her.table, without.table, strict=True):
        assert mine.tolist() == theirs.tolist()


def test_erasing_again_what_is_gone_is_refused(service, erased):
    with pytest.raises(ErasureRefused, match="no longer"):
        Eraser(service.workspace, service.record).erase(Wanted(service.person, "DPO", WHY))


def test_a_firm_is_refused_with_the_reason(service):
    with pytest.raises(ErasureRefused, match="legal person"):
        Eraser(service.workspace, service.record).erase(Wanted(service.firm, "DPO", WHY))


def test_from_the_moment_that_an_erasure_begins_nobody_knows_the_person(service, erased):
    persons = PersonFacts(service.workspace.facts_url)
    another = next(
        one for one in persons.all() if service.store.read(one)["invoices"]["invoice_id"].size
    )
    service.opened.assessor.assess(another, None)
    Persons.of(service.workspace).begin_erasure(another, NOW)  # and nothing more, as if cut short
    time.sleep(FRESH_SECONDS)
    with pytest.raises(UnknownCustomer):
        service.opened.assessor.assess(another, None)
    for route in ("", "/assessments"):
        told = service.ask("GET", f"/v1/customers/{another}{route}", service.ids["risk"])
        expect(told, problems.UNKNOWN_CUSTOMER)


def test_a_prospect_who_is_a_person_is_hidden_and_erased_and_a_firm_is_not(service, erased):
    risk, answers = service.ids["risk"], {}
    for id, is_person in (("P-person", True), ("P-firm", False)):
        row = {"customer_id": id, "name": f"Lea {id}", "is_natural_person": is_person}
        body = {"facts": {"customers": [row]}, "order": ORDER}
        answer = service.ask("POST", "/v1/assessments/prospect", risk, body)
        assert answer.status_code == 201, answer.text
        answers[id] = answer.json()["id"]
        decision = {"action": "cash", "reason": f"Nothing known of {id}.", "until": "2025-07-20"}
        path = f"/v1/assessments/{answers[id]}/override"
        refused = service.ask("POST", path, risk, decision)
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/override-refused")
    bodies = b"".join(bytes(row[1]) for row in service.entries().values())
    assert b"P-person" not in bodies
    assert b"P-firm" in bodies
    found = Eraser(service.workspace, service.record).erase(Wanted("P-person", "DPO", WHY))
    assert found == Found(0, 1, 0)
    path = "/v1/assessments/"
    expect(service.ask("GET", path + answers["P-person"], risk), problems.ERASED)
    assert service.ask("GET", path + answers["P-firm"], risk).status_code == 200


# Without a model: cut short, two processes, PostgreSQL, records of before.

PERSON, FIRM = "Morel-17", "Petit-19"


@pytest.fixture(scope="module")
def server():
    with postgres() as new_url:
        yield new_url


@pytest.fixture
def closing(monkeypatch) -> Iterator[None]:
    """PostgreSQL's driver complains of connections that nobody closes."""
    engines = []

    def connect_and_note(url: str, **how: Any) -> Any:
        engines.append(connect(url, **how))
        return engines[-1]

    for name in ("audit", "persons", "references", "sealer"):
        monkeypatch.setattr(f"serving.{name}.connect", connect_and_note)
    for name in ("store", "store_persons"):
        monkeypatch.setattr(f"features.{name}.connect", connect_and_note)
    yield
    for engine in engines:
        engine.dispose()


def small(workspace: Workspace) -> Workspace:
    """Make a ledger of a person and a firm with invoices."""
    tables = read_tables(
        f"""
        customer | invoice | issued_on  | due_on     | amount
        {PERSON} | X1      | 2020-03-01 | 2020-03-31 | 900
        {FIRM}   | X2      | 2020-03-01 | 2020-03-31 | 900
        """
    )
    tables["customers"] = pd.DataFrame(
        {
            "customer_id": [PERSON, FIRM],
            "name": ["Sophie Morel", "Petit SARL"],
            "is_natural_person": [True, False],
            "recorded_at": pd.to_datetime(["2020-03-01"] * 2),
        }
    )
    Store(workspace.facts_url, "EUR").append(ledger_of(tables), Source(()))
    return workspace


STEPS = [
    "PersonFacts.forget",
    "PersonFacts.tidy",
    "Eraser._put",
    "Eraser._forget_jobs",
    "References.forget",
    "Record.empty_log",
    "Persons.destroy",
    "Persons.tidy",
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_an_erasure_that_is_cut_short_is_finished_by_the_same_call(
    tmp_path, monkeypatch, step, after
):
    workspace = small(Workspace(tmp_path / "home"))
    Record.of(workspace).append("a", "assessment", assessment(PERSON))
    Record.of(workspace).append("b", "assessment", assessment(FIRM, "owes"))
    owner, name = step.split(".")
    real = {"PersonFacts": PersonFacts, "Eraser": Eraser, "References": References}
    real |= {"Record": Record, "Persons": Persons}
    work, calls = getattr(real[owner], name), []
    is_last = step == "Persons.tidy"  # it is first too

    def cut(*arguments: Any) -> None:
        calls.append(1)
        if is_last and len(calls) == 1:
            work(*arguments)
            return
        if after:
            work(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(real[owner], name, cut)
        with pytest.raises(KeyboardInterrupt):
            Eraser(workspace, Record.of(workspace)).erase(Wanted(PERSON, "DPO", WHY))
    with pytest.raises(Erased):
        Record.of(workspace).find("a")
    try:
        Eraser(workspace, Record.of(workspace)).erase(Wanted(PERSON, "DPO", WHY))
    except ErasureRefused:
        assert owner == "Persons"  # the key was destroyed: it was finished but for the file
    again = Record.of(workspace)
    assert len(again.after(0, KIND)) == 1
    assert again.persons.find(PERSON) is None
    assert again.find("b").body == assessment(FIRM, "owes")
    again.empty_log()
    for file in workspace.home.glob("*.db*"):
        content = file.read_bytes()
        for secret in (PERSON.encode(), b"Sophie Morel"):
            assert secret not in content, file


def test_many_are_erased_with_one_rewrite_and_who_was_cut_short_with_them(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path / "home")
    ids = [f"Morel-{n}" for n in range(17, 22)]
    customers = pd.DataFrame({"customer_id": ids, "is_natural_person": [True] * 5})
    Store(workspace.facts_url, "EUR").append(ledger_of({"customers": customers}), Source(()))
    record = Record.of(workspace)
    for id in ids:
        record.append(id, "assessment", assessment(id, "owes"))
    with monkeypatch.context() as patched:
        patched.setattr(Eraser, "_forget_jobs", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            Eraser(workspace, record).erase(Wanted(ids[0], "DPO", WHY))
    rewrites, tidy = [], PersonFacts.tidy
    monkeypatch.setattr(PersonFacts, "tidy", lambda self: rewrites.append(tidy(self)))
    found = Eraser(workspace, record).erase_all([Wanted(id, "DPO", WHY) for id in ids[1:4]])
    assert (found, len(rewrites)) == ([Found(1, 1, 0)] * 3, 1)
    assert len(record.after(0, KIND)) == 4
    persons = Persons.of(workspace)
    assert [persons.find(id) is None for id in ids] == [True, True, True, True, False]
    assert record.find(ids[4]).body == assessment(ids[4], "owes")
    with pytest.raises(ErasureRefused):  # one is unknown: nobody is erased
        Eraser(workspace, record).erase_all([Wanted(id, "DPO", WHY) for id in (ids[4], "nobody")])
    assert not Persons.of(workspace).is_erased(ids[4])


def test_nothing_is_erased_while_a_job_may_have_read_the_facts(tmp_path):
    workspace = small(Workspace(tmp_path / "home"))
    record = Record.of(workspace)
    record.append("a", "assessment", assessment(PERSON))
    jobs = Jobs(workspace.home / "jobs")
    jobs.add("J1", {"client": "x"}, None, None, 10)
    jobs.take(1)
    eraser = Eraser(workspace, record)
    with pytest.raises(ErasureRefused, match="a job is at work"):
        eraser.erase(Wanted(PERSON, "DPO", WHY))
    with pytest.raises(Erased):
        Record.of(workspace).find("a")
    jobs.fail("J1", "for a test")
    eraser.erase(Wanted(PERSON, "DPO", WHY))
    jobs.close()


def test_on_postgresql_the_same(server, tmp_path, closing):
    url = server()
    workspace = small(Workspace(tmp_path / "home", url, url))
    record = Record.of(workspace)
    for id, customer in (("a", PERSON), ("b", FIRM)):
        record.append(id, "assessment", assessment(customer, "owes"))
    Sealer.of(workspace).seal()
    found = Eraser(workspace, record).erase(Wanted(PERSON, "DPO", WHY))
    assert found == Found(2, 1, 0)
    with pytest.raises(Erased):
        record.find("a")
    assert Store(url).read(PERSON)["customers"]["customer_id"].size == 0
    engine = connect(url)
    with engine.connect() as connection:
        for table in ("entries", "requests", "subjects", "person_keys", "alert_references"):
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}"):  # noqa: S608
                assert PERSON not in str(row), table
    engine.dispose()


def test_entries_of_before_stay_in_clear_and_the_erasure_says_how_many(tmp_path):
    workspace = small(Workspace(tmp_path / "home"))
    old = Record(workspace.record_url)  # a version of before knew no persons
    old.append("a", "assessment", assessment(PERSON))
    Keys(lambda: old).make("shop", "crm", "the tests", [PERSON, FIRM])
    record = Record.of(workspace)
    record.append("b", "assessment", assessment(PERSON))
    assert [one.id for one in record.of_customer(PERSON, "assessment", 5)] == ["b", "a"]
    found = Eraser(workspace, record).erase(Wanted(PERSON, "DPO", WHY))
    assert found == Found(2, 1, 2)
    assert Record.of(workspace).find("a").body == assessment(PERSON)


@pytest.mark.parametrize("why", ["short", "x" * 501, "two\nlines of text", f"{PERSON} asked"])
def test_the_reason_is_a_reason_and_names_nobody(tmp_path, why):
    workspace = small(Workspace(tmp_path / "home"))
    with pytest.raises(ErasureRefused, match="the reason"):
        Eraser(workspace, Record.of(workspace)).erase(Wanted(PERSON, "DPO", why))
    assert not (workspace.home / "person-keys.db").exists()


# Retention.


def test_who_is_inactive_is_a_person_who_owes_nothing_and_did_nothing_since(tmp_path):
    """
    Five persons and a firm: A paid in 2020; B's invoice of 2020 is open; C paid in 2024; D has an
    order of 2020 that is open; E never bought and came in 2019; F did and came in 2024.
    """
    workspace = Workspace(tmp_path / "home")
    tables = read_tables(
        """
        customer | due_on     | settled_on
        A        | 2020-03-31 | 2020-04-10
        B        | 2020-03-31 |
        C        | 2020-03-31 | 2024-04-10
        firm     | 2020-03-31 | 2020-04-10

        order_id | customer | accepted_on | amount | deposit
        O1       | D        | 2020-03-31  | 100    | 0
        """.replace("settled_on\n", "settled_on | amount\n")
        .replace("2020-04-10\n", "2020-04-10 | 100\n")
        .replace("2024-04-10\n", "2024-04-10 | 100\n")
        .replace("2020-03-31 |\n", "2020-03-31 |            | 100\n")
    )
    ids = ["A", "B", "C", "D", "E", "F", "firm"]
    came = [f"{year}-01-01" for year in (2019, 2019, 2019, 2019, 2019, 2024, 2019)]
    tables["customers"] = pd.DataFrame(
        {
            "customer_id": ids,
            "is_natural_person": [one != "firm" for one in ids],
            "recorded_at": pd.to_datetime(came),
        }
    )
    Store(workspace.facts_url, "EUR").append(ledger_of(tables), Source(()))
    assert inactive_since(workspace, date(2021, 1, 1)) == ["A", "E"]
    assert inactive_since(workspace, date(2025, 1, 1)) == ["A", "C", "E", "F"]
    assert inactive_since(workspace, date(2020, 4, 10)) == ["E"]
    assert inactive_since(workspace, date(2020, 4, 11)) == ["A", "E"]
