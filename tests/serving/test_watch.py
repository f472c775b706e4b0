"""The watch: nobody is alerted twice, nothing is lost, and both ways to look see the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import OperationalError

from features.history import build
from features.store import Store, connect, sqlite_url
from models.alerts import State
from models.insurance import load as rules_of_insurer
from models.policy import Order
from serving.alerts import AlertClosed, Alerts, UnknownAlert
from serving.assess import Assessor
from serving.audit import Record
from serving.portfolio_states import states
from serving.references import References
from serving.speaking import Speaking
from serving.watch import Watch
from tests.features.postgres import postgres

NOW = datetime(2025, 7, 2, 9, 14, 7, tzinfo=UTC)
WELL = State(
    customer_id="C-17",
    at=NOW,
    model="m",
    grade="B",
    default_probability=0.008,
    data_depth="A",
    insolvency_opened=False,
    in_default=False,
    exposure_cents=2_000_000,
    overdue_cents=0,
    longest_overdue_days=0,
    limit_cents=3_000_000,
    cover="in_force",
    covered_cents=2_500_000,
)
WORSE = replace(WELL, grade="E", default_probability=0.08, at=NOW + timedelta(days=1))
WORST = replace(WELL, grade="G", default_probability=0.30, at=NOW + timedelta(days=2))
RISK = {"client": "Claire", "role": "risk", "key": "k"}


@pytest.fixture(scope="module")
def server():
    with postgres() as new_url:
        yield new_url


@pytest.fixture(autouse=True)
def _closes_what_was_opened(monkeypatch) -> Iterator[None]:
    """PostgreSQL's driver complains of connections that nobody closes."""
    opened = []

    def connect_and_note(url: str, **how: float) -> sa.Engine:
        opened.append(connect(url, **how))
        return opened[-1]

    for module in ("audit", "references"):
        monkeypatch.setattr(f"serving.{module}.connect", connect_and_note)
    yield
    for engine in opened:
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "record.db")
    return request.getfixturevalue("server")()


def watch_of(url: str) -> Watch:
    """Open a watch as another process would."""
    return Watch(Alerts(Record(url)), References(url), "EUR")


def codes(url: str) -> list[tuple[str, str]]:
    return [(one.said["code"], one.status) for one in Alerts(Record(url)).all()]


# Told once.


def test_a_change_is_told_once_whoever_looks_again(url):
    watch = watch_of(url)
    assert watch.see(WELL, "a") == []
    (alert,) = watch.see(WORSE, "b")
    assert (alert.said["code"], alert.said["assessment_id"]) == ("grade_worsened", "b")
    for other in (watch, watch_of(url)):
        assert other.see(WORSE, "c") == []
        assert other.see_all([replace(WORSE, at=NOW + timedelta(days=9))]) == []
    assert codes(url) == [("grade_worsened", "open")]


def test_one_that_becomes_worse_is_told_again_in_the_place_of_the_one_before(url):
    watch = watch_of(url)
    for state in (WELL, WORSE, WORST):
        watch.see(state, "a")
    first, second = Alerts(Record(url)).all()
    assert (first.status, second.status) == ("replaced", "open")
    assert second.said["replaces"] == first.id
    assert first.ended_at == "2025-07-04T09:14:07Z"


def test_one_that_is_over_can_be_raised_again(url):
    watch = watch_of(url)
    for days, state in enumerate((WELL, WORSE, WELL, WORSE)):
        watch.see(replace(state, at=NOW + timedelta(days=days)), "a")
    assert codes(url) == [("grade_worsened", "over"), ("grade_worsened", "open")]


def test_what_another_process_raised_is_over_when_this_one_finds_it_so(url):
    here, there = watch_of(url), watch_of(url)
    here.see(WELL, "a")
    there.see(WORSE, "b")
    here.see(replace(WELL, at=NOW + timedelta(days=2)), "c")
    assert codes(url) == [("grade_worsened", "over")]


def test_evaluations_at_the_same_time_raise_one_alert(url):
    watch_of(url).see(WELL, "a")
    watches = [watch_of(url) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: watches[i % 4].see(WORSE, str(i)), range(16)))
    assert sum(map(len, found)) == 1
    assert codes(url) == [("grade_worsened", "open")]


def test_evaluations_of_many_customers_at_the_same_time_lose_none(url):
    customers = [f"C-{i}" for i in range(20)]
    watches = [watch_of(url) for _ in range(4)]
    watches[0].see_all([replace(WELL, customer_id=c) for c in customers])
    worse = [replace(WORSE, customer_id=c) for c in customers]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda watch: watch.see_all(worse), watches))
    assert sorted(one.chain[0] for some in found for one in some) == sorted(customers)
    assert len(codes(url)) == 20


def test_a_crash_before_the_state_is_noted_neither_loses_nor_doubles(url, monkeypatch):
    watch = watch_of(url)
    watch.see(WELL, "a")
    with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
        patched.setattr(References, "put", _fails)
        watch.see(WORSE, "b")
    assert [one["event"] for one in logs] == ["watch_failed"]
    assert watch_of(url).see(WORSE, "c") == []
    assert codes(url) == [("grade_worsened", "open")]


def _fails(*_: object) -> None:
    raise OperationalError("x", None, Exception())


def test_a_state_of_the_past_says_nothing(url):
    watch = watch_of(url)
    watch.see(replace(WORSE, at=NOW), "a")
    watch.see(replace(WELL, at=NOW + timedelta(days=3)), "a")
    assert watch.see(WORSE, "b") == []


# Read in order, page by page.


def test_who_polls_with_the_place_reached_sees_each_alert_once(url):
    alerts, seen, reached = Alerts(Record(url)), [], 0
    watch = watch_of(url)
    customers = [f"C-{i}" for i in range(7)]
    watch.see_all([replace(WELL, customer_id=c) for c in customers])
    for few in (customers[:3], customers[3:]):
        watch.see_all([replace(WORSE, customer_id=c) for c in few])
        is_last = False
        while not is_last:
            found, reached, is_last = alerts.page(reached, 2, lambda _: True)
            seen += [one.chain[0] for one in found]
    assert seen == customers
    assert alerts.page(reached, 2, lambda _: True).alerts == []


def test_who_polls_while_others_write_misses_none(url):
    customers = [f"C-{i}" for i in range(40)]
    watch_of(url).see_all([replace(WELL, customer_id=c) for c in customers])
    alerts, seen, reached = Alerts(Record(url)), [], 0
    near = Watch(alerts, References(url), "EUR")  # in the same process, and in others
    writers = [near, near, watch_of(url), watch_of(url)]

    def write(i: int) -> None:
        writers[i % 4].see(replace(WORSE, customer_id=customers[i]), str(i))

    with ThreadPoolExecutor(4) as pool:
        done = pool.map(write, range(40))
        for _ in range(60):
            page = alerts.page(reached, 3, lambda _: True)
            seen, reached = [*seen, *page.alerts], page.reached
        list(done)
    while not (page := alerts.page(reached, 3, lambda _: True)).is_last or page.alerts:
        seen, reached = [*seen, *page.alerts], page.reached
    assert sorted(one.chain[0] for one in seen) == sorted(customers)


# Acknowledged.


def test_who_acknowledged_is_on_the_record(url):
    watch, alerts = watch_of(url), Alerts(Record(url))
    watch.see(WELL, "a")
    (alert,) = watch.see(WORSE, "b")
    known = alerts.acknowledge(alert.id, RISK, "called them", NOW)
    assert known.status == "acknowledged"
    assert known.acknowledged == {
        "by": "Claire",
        "role": "risk",
        "at": "2025-07-02T09:14:07Z",
        "note": "called them",
    }
    assert Alerts(Record(url)).find(alert.id) == known
    last = Record(url).after(0, "alert")[-1]
    assert json.loads(last.body)["actor"] == RISK
    assert alerts.acknowledge(alert.id, RISK, "called them", NOW) == known  # sent again
    with pytest.raises(AlertClosed):
        alerts.acknowledge(alert.id, {**RISK, "client": "Paul"}, "", NOW)
    assert len(Record(url).after(0, "alert")) == 2


def test_what_is_acknowledged_is_told_again_only_when_it_is_worse(url):
    watch, alerts = watch_of(url), Alerts(Record(url))
    watch.see(WELL, "a")
    (alert,) = watch.see(WORSE, "b")
    alerts.acknowledge(alert.id, RISK, "", NOW)
    assert watch.see(replace(WORSE, at=NOW + timedelta(days=2)), "c") == []
    assert len(watch.see(replace(WORST, at=NOW + timedelta(days=3)), "d")) == 1


def test_an_alert_that_is_over_or_that_nobody_raised_is_not_acknowledged(url):
    watch, alerts = watch_of(url), Alerts(Record(url))
    watch.see(WELL, "a")
    (alert,) = watch.see(WORSE, "b")
    watch.see(replace(WELL, at=NOW + timedelta(days=3)), "c")
    with pytest.raises(AlertClosed):
        alerts.acknowledge(alert.id, RISK, "", NOW)
    with pytest.raises(UnknownAlert):
        alerts.acknowledge("none", RISK, "", NOW)


def test_two_people_who_acknowledge_at_once_are_one(url):
    watch = watch_of(url)
    watch.see(WELL, "a")
    (alert,) = watch.see(WORSE, "b")

    def acknowledge(name: str) -> str | None:
        try:
            known = Alerts(Record(url)).acknowledge(alert.id, {**RISK, "client": name}, "", NOW)
        except AlertClosed:
            return None
        return known.acknowledged["by"]

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(acknowledge, "abcd")) - {None}
    assert found == {Alerts(Record(url)).find(alert.id).acknowledged["by"]}


# An assessment and the whole portfolio see the same.


def test_the_whole_portfolio_is_described_as_each_assessment_describes_it(seller, clock):
    store, record = Store(seller.facts_url), Record(seller.record_url)
    seen: dict[str, State] = {}

    class Notes:
        def see(self, state: State, _id: str) -> None:
            seen[state.customer_id] = state

    assessor = Assessor(store, record, seller, clock, watch=Notes())
    history = build(store.read(versions=True), store.ledger.observed_from)
    speaking = Speaking.load(seller, store.ledger.id)
    everyone = frozenset(history.customers)
    found = states(
        history, clock(), speaking.default, speaking.policy, rules_of_insurer(), everyone
    )
    in_default = [one for one in found if one.in_default or one.insolvency_opened]
    dated = [one for one in found if one.deadlines]
    some = [*found[::7], *in_default[:5], *dated[:5]]
    assert len(in_default) > 3
    assert dated
    for one in some:
        assessor.assess(one.customer_id, Order(2_000_00, 120_00, 30))
        same = seen[one.customer_id]
        p, q = one.default_probability, same.default_probability
        assert (p is None) == (q is None)
        assert p is None or abs(p - q) < 1e-9
        assert replace(one, default_probability=q) == same
