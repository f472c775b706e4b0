"""Where covers come from: the ledger, a file, and an insurer who misbehaves on 127.0.0.1."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import structlog

from features.history import NEVER, build, facts_of
from models.insurance import load
from models.insurance_file import PATH, FileSource, HttpSource
from models.position import position
from serving.covers import (
    CoverSettingsError,
    FileCovers,
    HttpCovers,
    LedgerCovers,
    covers_of,
    provider_of,
    rules_from_environment,
)
from serving.covers.insurer import Insurer, InsurerError, Timing
from serving.covers.said import found_among
from tests.features.ledgers import ledger_of, read_tables

RULES = load()
AT = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
KEY = "secret-key-of-the-insurer"
GRANTED = {
    "amount": "40000.00",
    "insured_rate": 0.85,
    "starts_on": "2026-01-01",
    "ends_on": None,
    "decided_at": "2025-12-20T10:00:00Z",
}


# The insurer, over HTTP.


class _Insurer(ThreadingHTTPServer):
    """Answers as each test tells it to, and remembers what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.says: Callable[[_Handler], None] = lambda handler: handler.grant()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """Stay silent when a client leaves early: here they do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.headers.append(dict(self.headers))
        self.server.says(self)

    def log_message(self, *args):
        """Say nothing."""

    def reply(self, status=200, body=b"", kind="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def grant(self, customer_id="C-17", covers=(GRANTED,), **more):
        body = {"customer_id": customer_id, "currency": "EUR", "covers": list(covers), **more}
        self.reply(body=json.dumps(body).encode())


class _Clock:
    """A clock that goes when it is told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.time, self.slept = 1000.0, []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    @property
    def timing(self) -> Timing:
        return Timing(self.now, self.sleep, lambda: 1.0)


@pytest.fixture
def insurer() -> Iterator[_Insurer]:
    server = _Insurer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def covers_from(insurer):
    """Make providers that ask the insurer, and close them."""
    made = []

    def make(timing=None, currency="EUR", **settings) -> HttpCovers:
        patient = {"budget_ms": 3_000, **settings}
        source = HttpSource(kind="http", url=insurer.url, **patient)
        made.append(HttpCovers(source, RULES, currency, KEY, timing))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_insurer_tells_the_cover(insurer, covers_from):
    found = covers_from().cover("C-17", AT)
    assert (found.cover.amount_cents, found.cover.insured_rate) == (40_000_00, 0.85)
    assert (found.cover.source, found.cover.kind) == ("http", "permanent")
    assert found.cover.known_at == datetime(2025, 12, 20, 10, tzinfo=UTC)
    assert (found.is_stale, found.cover.is_stale, found.fr, found.en) == (False, False, None, None)
    assert found.checked_at == AT
    assert insurer.asked == ["/v1/covers/C-17"]
    assert insurer.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "cookie" not in {name.lower() for name in insurer.headers[0]}


def test_a_cover_without_a_share_of_its_own_has_the_policys(insurer, covers_from):
    insurer.says = lambda handler: handler.grant(covers=[{**GRANTED, "insured_rate": None}])
    assert covers_from().cover("C-17", AT).cover.insured_rate == 0.9


def test_a_customer_the_insurer_never_decided_on_has_no_cover(insurer, covers_from):
    insurer.says = lambda handler: handler.grant(covers=[])
    assert covers_from().cover("C-17", AT) is None


def test_an_ended_cover_is_told_from_none(insurer, covers_from):
    insurer.says = lambda handler: handler.grant(covers=[{**GRANTED, "ends_on": "2026-03-31"}])
    assert covers_from().cover("C-17", AT).cover.has_ended(AT.date())


@pytest.mark.parametrize(
    ("customer_id", "path"),
    [
        ("C 17/é", "/v1/covers/C%2017%2F%C3%A9"),
        ("../admin?x=1#y", "/v1/covers/..%2Fadmin%3Fx%3D1%23y"),
        ("%2e%2e", "/v1/covers/%252e%252e"),
        ("a\r\nX-Evil: 1", "/v1/covers/a%0D%0AX-Evil%3A%201"),
        ("@evil.example", "/v1/covers/%40evil.example"),
    ],
)
def test_a_customer_id_stays_one_segment_of_the_path(insurer, covers_from, customer_id, path):
    insurer.says = lambda handler: handler.grant(customer_id)
    assert covers_from().cover(customer_id, AT).cover.amount_cents == 40_000_00
    assert insurer.asked == [path]


@pytest.mark.parametrize("customer_id", ["", ".", "..", "x" * 257, "\ud800"])
def test_an_identifier_that_cannot_be_sent_is_an_outage(insurer, covers_from, customer_id):
    found = covers_from().cover(customer_id, AT)
    assert (found.outage, found.is_unverified) == ("identifier", True)
    assert insurer.asked == []


def raw(body: bytes, **headers) -> Callable[[_Handler], None]:
    return lambda handler: handler.reply(200, body, **headers)


def granting(**changed) -> Callable[[_Handler], None]:
    return lambda handler: handler.grant(covers=[{**GRANTED, **changed}])


TWICE = b'{"customer_id": "C-17", "currency": "EUR", "covers": [], "covers": []}'


@pytest.mark.parametrize(
    ("says", "outage"),
    [
        (lambda handler: handler.reply(401), "refused"),
        (lambda handler: handler.reply(404, b"{}"), "refused"),
        (lambda handler: handler.reply(204), "refused"),
        (lambda handler: handler.reply(500), "insurer_error"),
        (lambda handler: handler.reply(429), "rate_limited"),
        (raw(b"<html>maintenance</html>", kind="text/html"), "bad_reply"),
        (raw(b"<html>maintenance</html>"), "bad_reply"),
        (raw(b""), "bad_reply"),
        (raw(b"[]"), "bad_reply"),
        (raw(b"null"), "bad_reply"),
        (raw(b'{"customer_id": "C-17"'), "bad_reply"),
        (raw(b"\xff\xfe{}"), "bad_reply"),
        (raw(TWICE), "bad_reply"),
        (raw(b"[" * 60_000), "bad_reply"),
        (raw(b"1" * 60_000), "bad_reply"),
        (raw(b"{}", Content_Encoding="gzip"), "bad_reply"),
        (raw(b" " * 70_000), "bad_reply"),
        (granting(amount=40_000), "bad_reply"),
        (granting(amount="NaN"), "bad_reply"),
        (granting(amount="1e9"), "bad_reply"),
        (granting(amount="-1.00"), "bad_reply"),
        (granting(amount="9" * 30), "bad_reply"),
        (granting(amount="40000.001"), "bad_reply"),
        (granting(amount="40000.00\n"), "bad_reply"),
        (granting(insured_rate=float("nan")), "bad_reply"),
        (granting(insured_rate=1.5), "bad_reply"),
        (granting(insured_rate=True), "bad_reply"),
        (granting(insured_rate="0.9"), "bad_reply"),
        (granting(starts_on=None), "bad_reply"),
        (granting(starts_on=20_000), "bad_reply"),
        (granting(starts_on="2026-02-30"), "bad_reply"),
        (granting(ends_on="9999-12-31"), "bad_reply"),
        (granting(ends_on="2025-12-31"), "bad_reply"),
        (granting(decided_at="2026-01-01T00:00:00"), "bad_reply"),
        (lambda handler: handler.grant("C-18"), "bad_reply"),
        (lambda handler: handler.grant(currency="USD"), "bad_reply"),
        (lambda handler: handler.grant(covers=[GRANTED] * 101), "bad_reply"),
        (lambda handler: handler.grant(covers=GRANTED), "bad_reply"),
        (lambda h: h.grant(covers=[{k: v for k, v in GRANTED.items() if k != "ends_on"}]),
         "bad_reply"),
        (lambda handler: handler.hang_up(), "unreachable"),
    ],
)  # fmt: skip
def test_whatever_is_not_the_contract_is_an_outage_and_never_a_cover(
    insurer, covers_from, clock, says, outage
):
    insurer.says = says
    found = covers_from(clock.timing).cover("C-17", AT)
    assert (found.cover, found.outage, found.is_unverified) == (None, outage, True)
    assert found.fr.endswith("aucune confirmation antérieure.")
    assert found.en.endswith("never confirmed before.")


def test_the_example_of_the_contract_is_a_reply(insurer, covers_from):
    page = (PATH.parents[1] / "docs" / "cover_provider.md").read_text("utf-8")
    example = page.partition("```json\n")[2].partition("```")[0]
    insurer.says = raw(example.encode())
    provider = covers_from()
    assert provider.cover("C-17", AT).cover.is_refusal
    before = provider.cover("C-17", datetime(2026, 11, 19, tzinfo=UTC)).cover
    assert (before.amount_cents, before.insured_rate) == (40_000_00, 0.9)


def test_every_setting_is_documented():
    page = (PATH.parents[1] / "docs" / "cover_provider.md").read_text("utf-8")
    settings = {*HttpSource.model_fields, *FileSource.model_fields} - {"largest_file_bytes"}
    assert [name for name in sorted(settings) if name not in page] == []


def test_unknown_fields_are_passed_over_for_some_will_come(insurer, covers_from):
    insurer.says = lambda handler: handler.grant(covers=[{**GRANTED, "grade": 3}], next=None)
    assert covers_from().cover("C-17", AT).cover is not None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(insurer, covers_from, status):
    insurer.says = lambda h: h.reply(status, Location=f"{insurer.url}/elsewhere")
    assert covers_from().cover("C-17", AT).outage == "redirected"
    assert insurer.asked == ["/v1/covers/C-17"]


def test_no_proxy_of_the_environment_is_used(insurer, covers_from, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert not covers_from().cover("C-17", AT).is_stale


def test_cookies_are_not_kept(insurer, covers_from, clock):
    insurer.says = lambda handler: handler.reply(404, Set_Cookie="session=of-another-customer")
    provider = covers_from(clock.timing)
    provider.cover("C-17", AT)
    provider.cover("C-18", AT)
    assert all("Cookie" not in headers for headers in insurer.headers)


# Retries.


def failing(times: int, *, status=503, **headers) -> Callable[[_Handler], None]:
    left = [times]

    def says(handler: _Handler) -> None:
        left[0] -= 1
        handler.reply(status, **headers) if left[0] >= 0 else handler.grant()

    return says


def test_an_error_of_the_insurer_is_asked_again_with_growing_waits(insurer, covers_from, clock):
    insurer.says = failing(2)
    assert not covers_from(clock.timing, backoff_ms=40).cover("C-17", AT).is_stale
    assert clock.slept == [0.040, 0.080]


def test_attempts_are_bounded(insurer, covers_from, clock):
    insurer.says = failing(9)
    assert covers_from(clock.timing, attempts=3).cover("C-17", AT).outage == "insurer_error"
    assert len(insurer.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_what_would_not_change_is_not_asked_again(insurer, covers_from, clock, status):
    insurer.says = failing(9, status=status)
    covers_from(clock.timing).cover("C-17", AT)
    assert len(insurer.asked) == 1


def test_retry_after_is_honoured_when_it_fits_in_the_budget(insurer, covers_from, clock):
    insurer.says = failing(1, status=429, Retry_After="1")
    assert not covers_from(clock.timing).cover("C-17", AT).is_stale
    assert clock.slept == [1.0]


@pytest.mark.parametrize("wait", ["99999999999999999999", "Fri, 31 Dec 2099 23:59:59 GMT"])
def test_a_long_retry_after_leaves_the_insurer_alone_but_not_for_ever(
    insurer, covers_from, clock, wait
):
    insurer.says = failing(1, status=429, Retry_After=wait)
    provider = covers_from(clock.timing, retry_after_at_most_seconds=60)
    assert provider.cover("C-17", AT).outage == "rate_limited"
    assert provider.cover("C-18", AT).outage == "paused"
    assert (len(insurer.asked), clock.slept) == (1, [])
    clock.time += 60
    assert not provider.cover("C-17", AT).is_stale


@pytest.mark.parametrize("wait", ["soon", "-5", "", "²", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_retry_after_that_says_nothing_is_passed_over(insurer, covers_from, clock, wait):
    insurer.says = failing(1, status=503, Retry_After=wait.encode("utf-8").decode("latin-1"))
    assert not covers_from(clock.timing).cover("C-17", AT).is_stale


def test_after_several_failures_he_is_left_alone_for_a_while(insurer, covers_from, clock):
    insurer.says = failing(2, status=404)
    provider = covers_from(clock.timing, failures_before_pause=2, pause_seconds=10)
    outages = [provider.cover("C-17", AT).outage for _ in range(3)]
    assert outages == ["refused", "refused", "paused"]
    assert len(insurer.asked) == 2
    clock.time += 10
    assert not provider.cover("C-17", AT).is_stale


# The budget.


def waiting(seconds: float) -> Callable[[_Handler], None]:
    def says(handler: _Handler) -> None:
        time.sleep(seconds)
        handler.grant()

    return says


def dripping(handler: _Handler) -> None:
    """Send the head, then a byte of the body at a time, as long as anybody listens."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def dripping_its_head(handler: _Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for i in range(100):
        handler.wfile.write(f"X-{i}: y\r\n".encode())
        time.sleep(0.02)


@pytest.mark.parametrize("says", [waiting(1.5), dripping, dripping_its_head])
def test_an_answer_never_waits_beyond_the_budget(insurer, covers_from, says):
    insurer.says = says
    provider = covers_from(budget_ms=200)
    began = time.monotonic()
    found = provider.cover("C-17", AT)
    assert time.monotonic() - began < 1.0  # slack for a busy machine
    assert found.outage == "timeout"


@pytest.fixture
def question(insurer) -> Iterator[Insurer]:
    """One that an order no longer waits for: it has to end by itself."""
    source = HttpSource(kind="http", url=insurer.url, budget_ms=300, attempts=1)
    asked = Insurer(source, KEY, "EUR")
    yield asked
    asked.close()


def test_a_question_that_drips_ends_by_itself(insurer, question):
    insurer.says = dripping
    began = time.monotonic()
    with pytest.raises(InsurerError, match="slow body"):
        question.ask("C-17")
    assert time.monotonic() - began < 1.0


def test_a_body_without_a_length_is_cut_at_the_limit(insurer, question):
    def endless(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(2_000):
            handler.wfile.write(b" " * 1_000)

    insurer.says = endless
    with pytest.raises(InsurerError, match="too large"):
        question.ask("C-17")


def test_orders_of_one_customer_share_one_question(insurer, covers_from):
    insurer.says = waiting(0.3)
    provider = covers_from()
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: provider.cover("C-17", AT), range(12)))
    assert [one.cover.amount_cents for one in found] == [40_000_00] * 12
    assert len(insurer.asked) == 1


def test_many_customers_at_once_get_each_their_own_cover(insurer, covers_from):
    def says(handler: _Handler) -> None:
        customer_id = handler.path.rpartition("/")[2]
        handler.grant(customer_id, [{**GRANTED, "amount": f"{customer_id}.00"}])

    insurer.says = says
    provider = covers_from(cached_customers=3)
    asked = [str(i % 20) for i in range(200)]

    def found(customer_id: str) -> str:
        while (said := provider.cover(customer_id, AT)).outage == "busy":
            time.sleep(0.005)
        return str(said.cover.amount_cents // 100)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(found, asked)) == asked


def test_questions_that_hang_are_bounded(insurer, covers_from):
    release = threading.Event()
    insurer.says = lambda handler: release.wait(5) and handler.grant()
    provider = covers_from(budget_ms=500)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda i: provider.cover(f"C-{i}", AT), range(12)))
    release.set()
    outages = sorted(one.outage for one in found)
    assert outages.count("busy") == 4
    assert len(insurer.asked) <= 8


# What is remembered.


def test_a_fresh_cover_is_not_asked_again(insurer, covers_from, clock):
    provider = covers_from(clock.timing, fresh_seconds=300)
    provider.cover("C-17", AT)
    clock.time += 299
    insurer.says = failing(9)
    assert not provider.cover("C-17", AT).is_stale
    assert len(insurer.asked) == 1
    clock.time += 1
    assert provider.cover("C-17", AT).is_stale


def test_in_an_outage_the_last_known_cover_speaks_and_says_since_when(insurer, covers_from, clock):
    provider = covers_from(clock.timing, fresh_seconds=300, stale_seconds=3600)
    provider.cover("C-17", AT)
    insurer.says = failing(99)
    clock.time += 3599
    found = provider.cover("C-17", AT + timedelta(seconds=3599))
    assert (found.cover.amount_cents, found.cover.is_stale) == (40_000_00, True)
    assert found.checked_at == AT
    assert found.fr == (
        "Agrément non confirmé : le service de l’assureur est en panne ; "
        "dernière confirmation le 25/11/2026 à 09:00 UTC."
    )
    assert found.en == (
        "Cover not confirmed: the insurer's service fails; "
        "last confirmed on 2026-11-25 at 09:00 UTC."
    )
    clock.time += 1
    assert provider.cover("C-17", AT).is_unverified


def test_a_remembered_cover_still_ends_on_its_day(insurer, covers_from, clock):
    insurer.says = granting(ends_on="2026-11-25")
    provider = covers_from(clock.timing, fresh_seconds=86_400)
    assert not provider.cover("C-17", AT).cover.has_ended(AT.date())
    tomorrow = AT + timedelta(days=1)
    assert provider.cover("C-17", tomorrow).cover.has_ended(tomorrow.date())
    assert len(insurer.asked) == 1


def test_the_memory_is_bounded_and_forgets_the_oldest(insurer, covers_from, clock):
    insurer.says = lambda handler: handler.grant(handler.path.rpartition("/")[2])
    provider = covers_from(clock.timing, cached_customers=2)
    for customer_id in ("A", "B", "C", "C", "B", "A"):
        provider.cover(customer_id, AT)
    assert [path[-1] for path in insurer.asked] == ["A", "B", "C", "A"]


def test_a_reply_that_comes_too_late_serves_the_next_order(insurer, covers_from, clock):
    """The clock of the question stands still: it goes on after the order stopped waiting."""
    insurer.says = waiting(0.4)
    slow = covers_from(clock.timing, budget_ms=1)
    slow._insurer._source = slow._source.model_copy(update={"budget_ms": 3_000})
    assert slow.cover("C-17", AT).outage == "timeout"
    until = time.monotonic() + 60
    while (found := slow.cover("C-17", AT)).is_stale and time.monotonic() < until:
        time.sleep(0.02)
    assert found.cover.amount_cents == 40_000_00
    assert len(insurer.asked) == 1


def test_an_insurer_that_is_not_there_is_an_outage(clock):
    source = HttpSource(kind="http", url="http://127.0.0.1:9", budget_ms=3_000)
    provider = HttpCovers(source, RULES, "EUR", KEY, clock.timing)
    assert provider.cover("C-17", AT).outage == "unreachable"
    provider.close()


def test_neither_customer_nor_key_nor_reply_is_logged(insurer, covers_from, clock, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logged:
        for says in (granting(amount="canary"), failing(9), granting(decided_at="canary")):
            insurer.says = says
            covers_from(clock.timing).cover("canary-customer", AT)
        insurer.says = lambda handler: handler.grant("canary-customer")
        covers_from(clock.timing).cover("canary-customer", AT)
    assert len(logged) == 3
    said = repr(logged) + caplog.text + "".join(capsys.readouterr())
    assert "canary" not in said
    assert KEY not in said
    assert KEY not in repr(vars(covers_from()))


# A file.

HEADER = "customer_id,currency,amount,insured_rate,starts_on,ends_on,decided_at"
GOOD = "C-17,EUR,40000.00,0.85,2026-01-01,,2025-12-20T10:00:00Z"
WRITTEN = AT - timedelta(hours=1)


def write(path: Path, content: str | bytes, written_at: datetime = WRITTEN) -> Path:
    """Write beside, then rename, as docs/cover_provider.md asks for."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(beside, (written_at.timestamp(),) * 2)
    return beside.replace(path)


def csv_of(*rows: str) -> str:
    return "\n".join((HEADER, *rows, ""))


def file_covers(path: Path, **settings) -> FileCovers:
    return FileCovers(FileSource(kind="file", path=str(path), **settings), RULES, "EUR")


@pytest.fixture
def path(tmp_path) -> Path:
    return write(tmp_path / "covers.csv", csv_of(GOOD))


def test_a_csv_file_tells_covers(path):
    found = file_covers(path).cover("C-17", AT)
    assert (found.cover.amount_cents, found.cover.insured_rate) == (40_000_00, 0.85)
    assert (found.cover.source, found.cover.ends_on, found.is_stale) == ("file", None, False)
    assert found.checked_at == WRITTEN
    assert file_covers(path).cover("C-99", AT) is None


def test_semicolons_and_a_byte_order_mark_will_do_for_excel_writes_them(path):
    write(path, "\ufeff" + csv_of(GOOD).replace(",", ";").replace("\n", "\r\n"))
    assert file_covers(path).cover("C-17", AT).cover.amount_cents == 40_000_00


def test_a_json_file_tells_covers_and_names_bad_rows_by_line(tmp_path):
    good = {"customer_id": "C-17", "currency": "EUR", **GRANTED}
    bad = json.dumps({**good, "amount": "much"}, indent=1)
    path = write(tmp_path / "covers.json", f"[\n{json.dumps(good)},\n\n  {bad},\n 7]\n")
    provider = file_covers(path)
    assert provider.cover("C-17", AT).cover.amount_cents == 40_000_00
    assert [reject.line for reject in provider.rejects] == [4, 13]
    assert provider.rejects[0].reason.startswith("amount: ")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("C-17,EUR,much,0.9,2026-01-01,,", "amount: "),
        ("C-17,EUR,-5,0.9,2026-01-01,,", "amount: "),
        ('C-17,EUR,"40000,00",0.9,2026-01-01,,', "amount: "),
        ("C-17,EUR,40000,90,2026-01-01,,", "insured_rate: "),
        ("C-17,EUR,40000,nan,2026-01-01,,", "insured_rate: "),
        ("C-17,EUR,40000,0.9,01/01/2026,,", "starts_on: "),
        ("C-17,EUR,40000,0.9,,,", "starts_on: "),
        ("C-17,EUR,40000,0.9,2026-01-01,2025-01-01,", "ends_on is before starts_on"),
        ("C-17,EUR,40000,0.9,2026-01-01,,yesterday", "decided_at: "),
        ("C-17,USD,40000,0.9,2026-01-01,,", "is not in EUR"),
        ("C-17,EUR,40000,0.9", "starts_on: "),
        ("C-17,EUR,40000,0.9,2026-01-01,,,surplus", "more fields than the header"),
    ],
)
def test_a_bad_row_is_named_by_line_and_puts_its_customers_cover_in_doubt(path, row, reason):
    """The row might have ended the cover: what the others say is not confirmed."""
    write(path, csv_of(GOOD, row, GOOD.replace("C-17", "C-18")))
    provider = file_covers(path)
    found = provider.cover("C-17", AT)
    assert (found.outage, found.cover.is_stale) == ("rows_refused", True)
    assert not provider.cover("C-18", AT).is_stale
    assert [reject.line for reject in provider.rejects] == [3]
    assert reason in provider.rejects[0].reason


def test_a_row_without_a_customer_is_counted_too(path):
    write(path, csv_of(",EUR,40000,0.9,2026-01-01,,", "", GOOD))
    provider = file_covers(path)
    assert provider.cover("C-17", AT).outage is None
    assert [reject.line for reject in provider.rejects] == [2]


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(path, monkeypatch):
    provider = file_covers(path)
    provider.cover("C-17", AT)
    read = []
    parsed = provider._parsed
    monkeypatch.setattr(provider, "_parsed", lambda: read.append(1) or parsed())
    provider.cover("C-17", AT)
    assert read == []
    write(path, csv_of(GOOD.replace("40000.00", "0")))
    assert provider.cover("C-17", AT).cover.is_refusal
    assert read == [1]


BROKEN = {
    "empty": "",
    "no such column": csv_of(GOOD).replace("ends_on", "end_on"),
    "a column twice": csv_of(GOOD).replace("decided_at", "amount"),
    "not UTF-8": csv_of(GOOD).encode() + b"\xe9",
    "quotes": csv_of('"C-17"x,EUR'),
    "too large": csv_of(*[GOOD] * 100),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_while_a_new_file_is_broken_the_last_good_one_speaks(path, content):
    provider = file_covers(path, largest_file_bytes=2_000)
    provider.cover("C-17", AT)
    write(path, content)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            found = provider.cover("C-17", AT)
            assert (found.cover.amount_cents, found.outage) == (40_000_00, "file_unreadable")
    assert [one["event"] for one in logged] == ["cover_file_refused"]
    assert provider.cover("C-99", AT).is_unverified
    write(path, csv_of(GOOD))
    assert not provider.cover("C-17", AT).is_stale


@pytest.mark.parametrize("content", ["", "{}", "[", "[{}", "[{},]", "[{}]]", "[{} {}]", "[nan]"])
def test_a_json_file_that_is_no_array_is_broken(tmp_path, content):
    path = write(tmp_path / "covers.json", content)
    assert file_covers(path).cover("C-17", AT).outage == "file_unreadable"


def test_an_empty_array_is_a_file_without_covers(tmp_path):
    assert file_covers(write(tmp_path / "covers.json", " [ ] ")).cover("C-17", AT) is None


def test_a_file_that_vanishes_or_was_never_there_is_an_outage(path):
    provider = file_covers(path)
    provider.cover("C-17", AT)
    path.unlink()
    assert provider.cover("C-17", AT).outage == "file_unreadable"
    assert provider.cover("C-17", AT).cover.amount_cents == 40_000_00
    assert file_covers(path).cover("C-17", AT).is_unverified


def test_a_file_that_nobody_keeps_up_to_date_is_stale(path):
    provider = file_covers(path, stale_after_days=2)
    assert not provider.cover("C-17", WRITTEN + timedelta(days=2)).is_stale
    late = provider.cover("C-17", WRITTEN + timedelta(days=2, seconds=1))
    assert (late.outage, late.cover.is_stale) == ("file_old", True)


def test_a_large_new_file_does_not_hold_an_order(path, monkeypatch):
    provider, release = file_covers(path), threading.Event()
    provider.cover("C-17", AT)
    parsed = provider._parsed
    monkeypatch.setattr(provider, "_parsed", lambda: release.wait(5) and parsed())
    write(path, csv_of(GOOD.replace("40000.00", "0")))
    began = time.monotonic()
    assert provider.cover("C-17", AT).cover.amount_cents == 40_000_00
    assert time.monotonic() - began < 1.0
    release.set()
    with provider._reading:
        assert provider.cover("C-17", AT).cover.is_refusal


def test_a_file_that_cannot_be_opened_is_tried_again(path, monkeypatch):
    provider = file_covers(path)
    provider.cover("C-17", AT)

    def denied() -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as forbidden:
        forbidden.setattr(provider, "_parsed", denied)
        write(path, csv_of(GOOD))
        assert provider.cover("C-17", AT).outage == "file_unreadable"
    assert not provider.cover("C-17", AT).is_stale


def test_readers_never_see_half_a_file(path):
    """Two customers always have the same cover, while a writer changes both at once."""
    provider, stop = file_covers(path), threading.Event()

    def write_on() -> None:
        for amount in range(1, 60):
            row = GOOD.replace("40000.00", str(amount))
            write(path, csv_of(*[row.replace("C-17", f"C-{i}") for i in range(50)]))
        stop.set()

    def read_on() -> set[int]:
        seen = set()
        while not stop.is_set():
            provider._refresh()
            covers = provider._content.covers
            seen.add(len({cover.amount_cents for one in covers.values() for cover in one}))
        return seen

    write(path, csv_of(GOOD))
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read_on) for _ in range(3)]
        pool.submit(write_on).result()
        assert set().union(*(reader.result() for reader in readers)) == {1}
    assert provider.cover("C-49", AT).cover.amount_cents == 59_00


# The ledger.


def rows(*covers: tuple[int, float, str, str | None, str]) -> dict[str, np.ndarray]:
    amount, rate, starts, ends, recorded = zip(*covers, strict=True) if covers else [()] * 5
    days = [NEVER if d is None else np.datetime64(d, "D").astype(int) for d in ends]
    return {
        "amount_cents": np.array(amount, np.int64),
        "insured_rate": np.array(rate, np.float64),
        "starts_on": np.array(starts, "datetime64[D]").astype(np.int32),
        "ends_on": np.array(days, np.int32),
        "recorded_at": np.array(recorded, "datetime64[us]").astype(np.int64),
    }


def test_the_ledgers_own_table_is_a_provider():
    table = rows(
        (40_000_00, 0.9, "2026-01-01", None, "2026-01-02T08:00"),
        (0, 0.0, "2026-11-20", None, "2026-11-20T08:00"),
    )
    provider = LedgerCovers(lambda customer_id, at: table)
    assert provider.cover("C-17", AT).cover.is_refusal
    earlier = provider.cover("C-17", datetime(2026, 11, 19, tzinfo=UTC))
    assert (earlier.cover.amount_cents, earlier.cover.source) == (40_000_00, "ledger")
    assert not earlier.is_stale
    assert provider.cover("C-17", datetime(2026, 1, 1, 12, tzinfo=UTC)) is None
    assert LedgerCovers(lambda customer_id, at: rows()).cover("C-17", AT) is None


def test_the_ledger_says_the_same_as_the_position_of_a_customer():
    rng = np.random.default_rng(5)
    days = np.datetime64("2026-11-25") + rng.integers(-4, 4, (300, 6))
    for starts, recorded, ends in zip(days[:100], days[100:200], days[200:], strict=True):
        lines = [
            f"{i} | {s} | {max(s, e) if i % 2 else ''} | {i} | 0.9 | {r}T{i:02d}:00"
            for i, (s, r, e) in enumerate(zip(starts, recorded, ends, strict=True))
        ]
        columns = "cover_id | starts_on | ends_on | amount | insured_rate | recorded_at"
        facts = facts_of(ledger_of(read_tables("\n".join([columns, *lines]))))
        found = found_among(covers_of(facts["insurance_covers"]), AT, AT)
        known = position(build(facts), 0, int(np.datetime64("2026-11-26").astype(int))).cover
        running = found is not None and not found.cover.has_ended(AT.date())
        assert known.amount_cents == (found.cover.amount_cents if running else 0)


# Which one.


def configured(provider: str):
    return load(PATH.read_text("utf-8").replace("provider: {kind: ledger}", provider))


def test_the_policy_names_the_provider_and_the_ledger_is_the_default(tmp_path):
    def read(customer_id, at):
        return rows()

    assert isinstance(provider_of(RULES, "EUR", read), LedgerCovers)
    file = configured(f"provider: {{kind: file, path: {tmp_path}/covers.csv}}")
    assert isinstance(provider_of(file, "EUR", read), FileCovers)
    http = configured("provider: {kind: http, url: 'https://insurer.example/v1'}")
    made = provider_of(http, "EUR", read, {"ENCOURS_INSURER_KEY": KEY})
    assert isinstance(made, HttpCovers)
    made.close()


@pytest.mark.parametrize("key", [None, "", "short", "with a space in it", "clé" * 9, "a\n" * 9])
def test_without_a_key_that_can_be_sent_nothing_starts_and_the_key_is_not_repeated(key):
    http = configured("provider: {kind: http, url: 'https://insurer.example/v1'}")
    environment = {} if key is None else {"ENCOURS_INSURER_KEY": key}
    with pytest.raises(CoverSettingsError, match="ENCOURS_INSURER_KEY") as error:
        provider_of(http, "EUR", lambda customer_id, at: rows(), environment)
    assert not key or key not in str(error.value)


def test_the_environment_names_the_insurers_policy(tmp_path):
    own = tmp_path / "insurance.yaml"
    own.write_text(PATH.read_text("utf-8").replace("2026-11", "ours"), "utf-8")
    assert rules_from_environment({"ENCOURS_INSURANCE": str(own)}).version == "ours"
    assert rules_from_environment({}).sha256 == RULES.sha256
