"""Everything about one assessment in one file: it stands alone, and what it says can be checked."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import zlib
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pysqlite3
import pytest

from features.store import Store
from models.policy import Order
from models.policy_file import load as load_policy
from serving.assess import Assessor
from serving.audit import Record, leaf_hash
from serving.evidence import Evidence, NotEvident, gather
from serving.evidence_page import content_security_policy, proof_json, render, style
from serving.evidence_pdf import PANGO, PdfUnavailable, pdf
from serving.override import Overrider, Wanted
from serving.prospects import Prospect
from serving.registers import LANGUAGES, auditor
from serving.replay import Entries
from serving.sealer import Sealer
from serving.waterfall import waterfall

VERIFIER = Path(__file__).parents[2] / "docs" / "verify.py"
POLICY = Path(__file__).parents[2] / "models" / "policy.yaml"
HOSTILE = "<script>alert(1)</script>\"'&<img src=http://x.example/y>"
ORDER = Order(90_000_00, 2_000_00, 60)
MADE_AT = 1_764_138_000_000_000


class Home:
    """A seller with three assessments, of which one is of a customer with a hostile name."""

    def __init__(self, seller, clock) -> None:
        self.workspace, self.clock = seller, clock
        with pysqlite3.connect(seller.facts) as connection:
            connection.execute(
                "UPDATE customers SET name = ? WHERE customer_id = 'C-00002'", (HOSTILE,)
            )
        self.store, self.record = Store(seller.facts_url), Record(seller.record_url)
        assessor = Assessor(self.store, self.record, seller, clock)
        told = [assessor.assess(f"C-{n:05d}", ORDER) for n in (2, 3, 100)]
        self.ids = [json.loads(one)["id"] for one in told]

    def seal(self) -> None:
        """Sign what is recorded."""
        Sealer.of(self.workspace).seal()

    def gather(self, place: int = 0) -> Evidence:
        """Gather what an assessment rests on."""
        entry = Entries(self.workspace.record_url).find(self.ids[place])
        return gather(self.workspace, Store(self.workspace.facts_url), entry)


@pytest.fixture
def home(seller, clock) -> Home:
    return Home(seller, clock)


@pytest.fixture
def sealed(home) -> Home:
    home.seal()
    return home


class Parts(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.headings: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data):
        """Note a text."""
        self.text += data


@pytest.fixture
def page(sealed) -> str:
    return render(sealed.gather(), "fr", MADE_AT)


def test_the_page_stands_alone(page):
    parts = Parts(page)
    forbidden = {"script", "img", "link", "iframe", "object", "embed", "form", "base", "image"}
    assert forbidden & set(parts.tags) == set()
    refers = [value for name, value in parts.attributes if name in {"src", "href", "xlink:href"}]
    assert len(refers) == 1
    assert refers[0].startswith("data:application/json;base64,")
    assert not [name for name, _ in parts.attributes if name.startswith("on") or name == "style"]
    assert "url(" not in style()
    assert "@import" not in style()
    assert f"<style>{style()}</style>" in page
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    assert content_security_policy().startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in content_security_policy()
    assert ("content", content_security_policy()) in parts.attributes


def test_a_name_hostile_to_html_is_text(page):
    assert "alert(1)" in page
    assert "<script" not in page
    assert "<img" not in page
    assert HOSTILE in Parts(page).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_part_is_there_in_either_language(sealed, language):
    evidence = sealed.gather(2)
    parts = Parts(render(evidence, language, MADE_AT))
    answer = evidence.body["answer"]
    assert ("lang", language) in parts.attributes
    assert parts.tags.count("h2") == 9
    assert parts.tags.count("svg") == (answer["explanation"] is not None)
    for text in (
        answer["id"],
        answer["recommendation"][language].rstrip("."),
        *(identity for identity in answer["versions"].values() if identity),
        evidence.body["evidence"]["ledger_id"],
        evidence.entry.leaf_hash,
        evidence.proof.content["checkpoint"].splitlines()[2],
        *(sha256 for source in evidence.sources for _, sha256 in source.files),
        *(reason[language] for reason in answer["explanation"]["reasons"]),
        "appetite:",
        "maximum_terms_days:",
    ):
        assert text in parts.text, text
    for one in auditor(evidence.body)["measures"]:
        assert one["code"] in parts.text
        assert one[language] in parts.text


def test_the_two_languages_say_different_words_in_the_same_shape(sealed):
    evidence = sealed.gather(2)
    french, english = (Parts(render(evidence, one, MADE_AT)) for one in LANGUAGES)
    assert french.tags == english.tags
    assert "Pourquoi" in french.text
    assert "Pourquoi" not in english.text


def test_the_same_evidence_gives_the_same_page(sealed):
    evidence = sealed.gather()
    assert render(evidence, "en", MADE_AT) == render(evidence, "en", MADE_AT)


# The waterfall.


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_bar_begins_where_the_one_before_ended_and_the_last_is_the_answer(home, place):
    told = auditor(home.gather(place).body)
    plot = waterfall(told, "en")
    base, *steps, total = plot.bars
    assert base.amount + math.fsum(bar.amount for bar in steps) == pytest.approx(
        told["log_odds"], abs=1e-9
    )
    assert total.amount == told["log_odds"]
    for before, bar in zip(plot.bars, steps, strict=False):
        begin = bar.x if bar.kind == "raises" else bar.x + bar.width
        assert begin == pytest.approx(before.end, abs=1.05)
    assert total.end == pytest.approx(steps[-1].end, abs=0.2)
    assert all(bar.x >= 0 and bar.x + bar.width <= plot.width for bar in plot.bars)
    assert len(plot.ticks) >= 2


def test_what_was_not_explained_has_no_plot(home):
    body = home.gather().body
    silent = {**body["answer"], "explanation": None}
    kept = {**body["evidence"], "contributions": None}
    assert waterfall(auditor({"answer": silent, "evidence": kept}), "fr") is None


# The proof.


def verified(folder: Path, proof: bytes, keys: Path) -> subprocess.CompletedProcess[str]:
    """Check a proof where nothing of this project is found."""
    (folder / "proof.json").write_bytes(proof)
    alone = shutil.copy(VERIFIER, folder / "verify.py")
    return subprocess.run(
        [sys.executable, "-I", alone, "proof.json", "--keys", keys],
        cwd=folder, env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_proof_in_the_page_is_checked_without_this_program(sealed, page, tmp_path):
    (url,) = re.findall('href="data:application/json;base64,([^"]+)"', page)
    proof = base64.b64decode(url)
    entry = sealed.gather().entry
    assert leaf_hash(base64.b64decode(json.loads(proof)["entry"]["body"])) == entry.leaf_hash
    keys = sealed.workspace.home / "keys" / "record.keys"
    ran = verified(tmp_path, proof, keys)
    assert ran.returncode == 0, ran.stderr
    assert f"entry {entry.sequence} ({entry.id}) is as it was signed" in ran.stdout
    assert f"entry {entry.sequence} ({entry.id}) is as it was signed" in page
    said = json.loads(proof)
    said["entry"]["body"] = base64.b64encode(b"{}").decode()
    assert verified(tmp_path, json.dumps(said).encode() + b"\n", keys).returncode != 0


def test_a_proof_that_does_not_hold_is_said_not_to(sealed):
    keys = sealed.workspace.home / "keys" / "record.keys"
    assert sealed.gather().proof.holds
    other = "encours.record/000000000000+cf0c1e4a+AbEkOlVM2X4nU0yL3wTnB1Zw0nYfGmXkqzq0Gk1m0m0m"
    keys.write_text(f"{other}\n", "utf-8")
    found = sealed.gather()
    assert not found.proof.holds
    assert "La preuve ne tient pas." in render(found, "fr", MADE_AT)


def test_an_entry_that_was_changed_after_it_was_sealed_is_found(sealed):
    with pysqlite3.connect(sealed.workspace.home / "record.db") as connection:
        connection.execute("DROP TRIGGER entries_no_update")
        (body,) = connection.execute(
            "SELECT body FROM entries WHERE id = ?", (sealed.ids[0],)
        ).fetchone()
        body = bytes(body).replace(b'"amount": "90000.00"', b'"amount": "80000.00"', 1)
        changed = (body, leaf_hash(body), sealed.ids[0])
        connection.execute("UPDATE entries SET body = ?, leaf_hash = ? WHERE id = ?", changed)
    found = sealed.gather()
    assert found.proof.checkpoint is not None
    assert not found.proof.holds
    assert found.replayed.differences
    assert "The proof does not hold." in render(found, "en", MADE_AT)


def test_what_is_not_sealed_yet_is_said_to_be_so(home):
    found = home.gather()
    assert found.proof.content is None
    page = render(found, "en", MADE_AT)
    assert "Not sealed on the signed record yet." in page
    assert "data:application/json" not in page
    home.seal()
    assert home.gather().proof.holds


# What it rests on.


def test_the_answer_is_made_again_and_a_change_is_told(sealed):
    found = sealed.gather(1)
    assert found.replayed.differences == ()
    assert "the same bytes" in render(found, "en", MADE_AT)
    with pysqlite3.connect(sealed.workspace.facts) as connection:
        connection.execute("UPDATE customers SET name = 'X' WHERE customer_id = 'C-00003'")
    found = sealed.gather(1)
    assert found.replayed.differences
    assert "Made again, it differs: answer/customer/name" in render(found, "en", MADE_AT)


def test_files_that_are_gone_or_changed_are_said_to_be_so(sealed):
    workspace = sealed.workspace
    for folder in (workspace.policies, workspace.insurance):
        for file in folder.glob("*.yaml"):
            file.write_bytes(file.read_bytes() + b"# changed\n")
    for file in workspace.bundles.glob("*/card.json"):
        file.unlink()
    found = sealed.gather()
    assert (found.policy.text, found.insurance.text) == (None, None)
    assert set(found.cards.values()) == {None}
    assert found.replayed.differences
    page = render(found, "en", MADE_AT)
    assert page.count("not here, or was changed.") == 4


def test_the_sources_are_the_appends_with_the_customers_facts(sealed):
    (source,) = sealed.gather().sources
    assert source.sequence == 1
    assert dict(source.files).keys() >= {"customers.parquet", "invoices.parquet"}
    facts = sealed.store.read("C-00002")
    assert source.rows["invoices"] == facts["invoices"]["invoice_id"].size
    assert source.rows["customers"] == 1


def test_the_facts_of_a_prospect_are_shown_as_they_came_with_the_order(home):
    given = {"customers": [{"customer_id": "P-1", "name": HOSTILE, "is_natural_person": False}]}
    assessor = Assessor(home.store, home.record, home.workspace, home.clock)
    told = assessor.assess(Prospect("P-1", given), ORDER)
    entry = Entries(home.workspace.record_url).find(json.loads(told)["id"])
    found = gather(home.workspace, Store(home.workspace.facts_url), entry)
    assert found.sources == []
    assert found.replayed.differences == ()
    page = render(found, "en", MADE_AT)
    assert "Facts that came with the order" in page
    assert "<script" not in page
    assert "Facts that came" not in render(home.gather(), "en", MADE_AT)


def test_the_policys_rules_that_fired_are_shown_and_no_others(home):
    for place in range(3):
        found = home.gather(place)
        fired = {rule["id"] for rule in found.body["answer"]["rules"]}
        for name in ("fraud_signal", "insolvency_opened", "limit_breached", "cover_withdrawn"):
            assert (f"id: {name}" in found.policy.text) == (name in fired)


def test_a_decision_that_was_taken_on_it_is_told_with_who_and_why(home):
    people, reason = {"Claire": "credit_manager"}, "Parent <b>guarantees</b> it."
    overrider = Overrider(home.store, home.record, load_policy(POLICY), people, home.clock)
    body = home.gather(2).body
    kind = "cash" if body["answer"]["recommendation"]["action"] != "cash" else "refuse"
    assert home.gather(2).overrides == []
    overrider.decide(Wanted(home.ids[2], "Claire", reason, kind, until=date(2025, 8, 1)))
    found = home.gather(2)
    assert [(one.by, one.reason) for one in found.overrides] == [("Claire", reason)]
    assert home.gather(1).overrides == []
    page = render(found, "fr", MADE_AT)
    assert "Parent &lt;b&gt;guarantees&lt;/b&gt; it." in page
    assert "Claire (credit_manager)" in page


def test_an_entry_that_is_no_assessment_of_ours_is_refused(home):
    entry = home.record.append("x-1", "assessment", b'{"schema": 2}')
    with pytest.raises(NotEvident, match="no assessment as this program writes it"):
        gather(home.workspace, home.store, entry)
    entry = home.record.append(
        "x-2",
        "assessment",
        b'{"schema": 1, "answer": {"versions": {}}, "evidence": {"known_at_microseconds": 1}}',
    )
    with pytest.raises(NotEvident, match="of schema 1"):
        gather(home.workspace, home.store, entry)


# The PDF.


def require_pango() -> None:
    try:
        pdf("<p>x", None)
    except PdfUnavailable as error:
        pytest.skip(f"SKIPPED: {error}")


def streams(file: bytes) -> list[bytes]:
    """Give what the streams of a PDF hold."""
    found = []
    for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", file, re.DOTALL):
        try:
            found.append(zlib.decompress(part))
        except zlib.error:
            found.append(part)
    return found


def test_the_pdf_holds_the_page_and_the_proof(sealed):
    require_pango()
    found = sealed.gather()
    proof = proof_json(found.proof.content)
    file = pdf(render(found, "fr", MADE_AT), proof)
    assert file.startswith(b"%PDF-1.7")
    assert proof in streams(file)
    together = file + b"".join(streams(file))
    assert b"pdfaid" in together  # PDF/A, for the archive
    assert b"/StructTreeRoot" in together  # tagged, to be read aloud
    assert len(re.findall(rb"/Type /Page\b", together)) >= 3


def test_nothing_is_fetched_for_a_pdf():
    require_pango()
    from weasyprint.urls import FatalURLFetchingError

    for refers in (
        '<img src="http://127.0.0.1:9/x.png">',
        '<img src="file:///etc/hostname">',
        '<link rel="stylesheet" href="http://127.0.0.1:9/x.css">',
        '<p style="background: url(file:///etc/hostname)">x',
    ):
        with pytest.raises(FatalURLFetchingError):
            pdf(refers, None)


def test_without_pango_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(PdfUnavailable, match="package weasyprint"):
        pdf("<p>x", None)
    monkeypatch.delitem(sys.modules, "weasyprint")

    class Broken:
        def find_spec(self, name, *_):
            if name == "weasyprint":
                raise OSError("cannot load library 'libpango-1.0-0'")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(PdfUnavailable, match=re.escape(PANGO)):
        pdf("<p>x", None)
