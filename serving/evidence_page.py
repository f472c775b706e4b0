"""The evidence as one HTML page: no script, nothing from elsewhere, printable on A4."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from features.store_sources import Append
from models import grades
from models.overrides import Override
from models.wording import LABELS
from serving.answer import iso
from serving.answering import runs_on
from serving.evidence import Evidence, as_yaml
from serving.registers import auditor, customer_letter, salesperson
from serving.replay import Replayed
from serving.waterfall import waterfall
from serving.written import Written

PAGES = Path(__file__).parent / "pages" / "evidence"
CURVES = {
    "default": ("Défaut dans les {} jours :", "Default within {} days:"),
    "late": ("Facture payée plus de {} jours en retard :", "Invoice paid more than {} days late:"),
}
TITLES = {
    "default": ("Courbe de défaut", "Default curve"),
    "late": ("Courbe de retard", "Late-payment curve"),
}
COLOURS = {"base": "#7b8894", "raises": "#b1452a", "lowers": "#2a7560", "total": "#14506b"}
FONT = "Source Sans 3, Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
LONGEST_LABEL = 52  # characters that stand left of a bar
Facts = list[tuple[str, Any]]
State = tuple[str, str]


def render(evidence: Evidence, language: str, made_at: int) -> str:
    """Write the page.

    Parameters
    ----------
    evidence : Evidence
    language : str
        ``fr`` or ``en``.
    made_at : int
        Microseconds since 1970.

    Returns
    -------
    str
        HTML that stands alone.
    """
    answer, kept = evidence.body["answer"], evidence.body["evidence"]
    w = Written(language, answer["currency"])
    audited = auditor(evidence.body, evidence.medians)
    explained = answer["explanation"]
    content = evidence.proof.content
    return _template().render(
        lang=language,
        t=w.t,
        w=w,
        e=evidence,
        a=answer,
        kept=kept,
        entry=evidence.entry,
        css=style(),
        csp=content_security_policy(),
        sentence=salesperson(evidence.body, language),
        letter=customer_letter(evidence.body, language)["text"],
        states=list(_states(evidence, w)),
        kinds=_kinds(w),
        colon=w.t("\u00a0:", ":"),
        rows_said=_rows_said,
        order_facts=_order(answer, kept, w),
        risk_facts=_risk(answer, w),
        curve_said="" if explained is None else _curve(explained, w),
        plot=waterfall(audited, language),
        colours=COLOURS,
        font=FONT,
        lineage=_lineage(answer, kept, w),
        prospect=as_yaml(kept["prospect"]) if "prospect" in kept else None,
        models=list(_models(evidence, w)),
        insurance=_insurance(answer, kept, w),
        overrides=[_override(one, w) for one in evidence.overrides],
        proof_facts=_proof(evidence, w),
        proof_url=None if content is None else _data_url(proof_json(content)),
        measures=sorted(audited["measures"], key=_by_contribution),
        audited=audited,
        versions=[(name, said or "–") for name, said in audited["versions"].items()],
        made_at=w.instant(made_at),
        code=runs_on()["encours"],
    )


def proof_json(content: Mapping[str, Any]) -> bytes:
    """Write a proof as ``encours audit prove`` does."""
    return (json.dumps(content, ensure_ascii=False) + "\n").encode()


@cache
def style() -> str:
    """Give the page's style sheet."""
    return (PAGES / "page.css").read_text("utf-8")


def content_security_policy() -> str:
    """Allow the page its own style sheet, by its hash, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shortened"] = _shortened
    environment.tests["a_hash"] = _is_a_hash
    return environment.get_template("page.html")


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1].rstrip()}…"


def _is_a_hash(value: object) -> bool:
    """Tell hashes, keys and identities, to be set in the type of a machine's."""
    return isinstance(value, str) and re.fullmatch(r"[0-9a-zA-Z:+/._=-]{32,}", value) is not None


def _data_url(content: bytes) -> str:
    return f"data:application/json;base64,{base64.b64encode(content).decode()}"


def _by_contribution(measure: Mapping[str, Any]) -> tuple[bool, float]:
    moved = measure["contribution"]
    return moved is None, -abs(moved or 0.0)


def _kinds(w: Written) -> dict[str, str]:
    named = {
        str(kind): words.fr if w.language == "fr" else words.en for kind, words in LABELS.items()
    }
    return {**named, "review": w.t("décision humaine", "a person decides")}


# --- In short ----------------------------------------------------------------------------------


def _states(evidence: Evidence, w: Written) -> Iterator[State]:
    """Say of the replay and of the proof whether they hold: good, bad, or still open."""
    yield from _replay(evidence.replayed, w)
    yield _proved(evidence, w)


def _replay(replayed: Replayed | None, w: Written) -> Iterator[State]:
    if replayed is None:
        yield (
            "open",
            w.t(
                "Pas refaite ici : voir comment, au point 8.", "Not made again here: see how, in 8."
            ),
        )
        return
    if replayed.differences:
        said = w.t("Refaite, la réponse diffère : ", "Made again, it differs: ")
        yield "bad", said + replayed.differences[0]
    else:
        yield (
            "good",
            w.t(
                "Refaite depuis les faits connus alors : identique à l’octet près, et les mêmes "
                "marges en suivant le texte des arbres.",
                "Made again from the facts as known then: the same bytes, and the same margins "
                "through the text of the trees.",
            ),
        )
    for other in replayed.other_code:
        yield (
            "open",
            f"{w.t('Une autre version avait répondu :', 'Another version answered:')} {other}",
        )


def _proved(evidence: Evidence, w: Written) -> State:
    proof = evidence.proof
    if proof.content is None:
        return "open", w.t(
            "Pas encore scellée au registre signé.", "Not sealed on the signed record yet."
        )
    if not proof.holds or proof.checkpoint is None:
        return "bad", w.t("La preuve ne tient pas.", "The proof does not hold.")
    size, sequence = w.number(proof.checkpoint.size), evidence.entry.sequence
    return "good", w.t(
        f"Au registre signé : entrée {sequence}, sous un point de contrôle de {size} entrées.",
        f"On the signed record: entry {sequence}, under a checkpoint of {size} entries.",
    )


# --- The answer --------------------------------------------------------------------------------


def _order(answer: Mapping[str, Any], kept: Mapping[str, Any], w: Written) -> Facts:
    order, exposure = answer["order"], answer["exposure"]
    actor = ", ".join(f"{said}" for said in kept["actor"].values())
    return [
        (w.t("Montant", "Amount"), w.money(order["amount"])),
        (w.t("Marge", "Margin"), w.money(order["margin"])),
        (w.t("Délai", "Terms"), f"{order['terms_days']} {w.t('jours', 'days')}"),
        (w.t("Déjà payé", "Paid already"), w.money(order["paid"])),
        (w.t("Encours", "Exposure"), w.money(exposure["total"])),
        (w.t("dont échu", "of it overdue"), w.money(exposure["overdue"])),
        (w.t("dont en litige", "of it disputed"), w.money(exposure["disputed"])),
        (w.t("Reste du groupe", "Rest of the group"), w.money(exposure["rest_of_group"])),
        (w.t("Demandé par", "Asked by"), actor),
    ]


def _risk(answer: Mapping[str, Any], w: Written) -> Facts:
    customer, said = answer["customer"], answer["recommendation"]
    default, late, interval = answer["default"], answer["late"], answer["default_interval"]
    facts: Facts = [
        (w.t("Classe", "Grade"), customer["grade"] or "–"),
        (
            w.t("Score", "Score"),
            "–" if customer["score"] is None else f"{customer['score']} / 1000",
        ),
        (w.t("Profondeur des données", "Data depth"), customer["data_depth"]),
    ]
    for days, probability in (default or {}).items():
        facts.append(
            (w.t(f"Défaut à {days} jours", f"Default in {days} days"), w.percent(probability))
        )
    if interval is not None:
        ends = f"{w.percent(interval['low'])} – {w.percent(interval['high'])}"
        level, days = w.percent(interval["level"], 0), grades.HORIZON_DAYS
        facts.append((w.t(f"Intervalle à {level}, {days} j", f"{level} interval, {days} d"), ends))
    if late is not None:
        facts.append((w.t("Retard > 30 jours", "Over 30 days late"), w.percent(late["30"])))
    facts += [
        (w.t("Limite en vigueur", "Limit in force"), w.money(said["limit"])),
        (w.t("Limite recommandée", "Recommended limit"), w.money(said["recommended_limit"])),
    ]
    return facts


def _curve(explained: Mapping[str, Any], w: Written) -> str:
    return w.t(*CURVES[explained["curve"]]).format(explained["horizon_days"])


# --- What it rests on --------------------------------------------------------------------------


def _lineage(answer: Mapping[str, Any], kept: Mapping[str, Any], w: Written) -> Facts:
    return [
        (w.t("Grand livre", "Ledger"), kept["ledger_id"]),
        (w.t("Observé depuis", "Observed from"), w.day(iso(kept["observed_from"]))),
        (w.t("Connu à", "As known at"), w.instant(kept["known_at_microseconds"])),
        (w.t("Date de calcul (exclue)", "As of (exclusive)"), w.day(answer["as_of"])),
        (
            w.t("Dernier apport vu", "Last append seen"),
            w.t(f"n° {kept['sequence']}", f"no. {kept['sequence']}"),
        ),
        (w.t("Mesures", "Measures"), len(kept["features"])),
    ]


def _rows_said(source: Append) -> str:
    return ", ".join(f"{table} {rows}" for table, rows in source.rows.items())


def _models(evidence: Evidence, w: Written) -> Iterator[dict[str, Any]]:
    """Give an extract of each model's card."""
    versions = evidence.body["answer"]["versions"]
    for question, card in evidence.cards.items():
        identity = (w.t("Empreinte", "Identity"), versions[question])
        yield {
            "title": w.t(*TITLES[question]),
            "facts": None if card is None else [identity, *_card(card, w)],
            "metrics": [] if card is None else card.get("metrics", []),
        }


def _card(card: Mapping[str, Any], w: Written) -> Facts:
    shortest, longest = card.get("terms_days", ("–", "–"))
    libraries = ", ".join(
        f"{name} {version}" for name, version in card.get("libraries", {}).items()
    )
    facts: Facts = [
        (w.t("Données (SHA-256)", "Data (SHA-256)"), card.get("data_sha256", "–")),
        (w.t("Grand livre", "Ledger"), card.get("ledger_id", "–")),
        (w.t("Appris depuis", "Learned from"), w.day(card.get("trained_from"))),
        (w.t("Connu avant", "As known before"), w.day(card.get("cutoff"))),
        (w.t("Mesuré jusqu’au", "Measured until"), w.day(card.get("measured_until"))),
        (
            w.t("Termes", "Terms"),
            f"{shortest} – {longest} {w.t('jours', 'days')}".replace("-", "−"),
        ),
        (w.t("Arbres", "Trees"), card.get("rounds", "–")),
        (w.t("Bibliothèques", "Libraries"), f"{libraries}, Python {card.get('python', '–')}"),
    ]
    if definition := card.get("default_definition"):
        said = ", ".join(f"{name}: {value}" for name, value in definition.items())
        facts.append((w.t("Définition du défaut", "Default definition"), said))
    return facts


def _insurance(answer: Mapping[str, Any], kept: Mapping[str, Any], w: Written) -> Facts:
    part, cover = answer["insurance"], kept["cover"]
    source = (
        w.t("le grand livre", "the ledger")
        if kept["cover_from"] == "ledger"
        else w.t("l’assureur", "the insurer")
    )
    facts: Facts = [
        (w.t("Garantie", "Cover"), w.money(part["covered"])),
        (w.t("Quotité", "Insured share"), w.percent(part["insured_rate"], 0)),
        (w.t("Valable jusqu’au", "Valid until"), w.day(part["valid_to"])),
        (w.t("Part assurée de la commande", "Insured part of the order"), w.money(part["insured"])),
        (w.t("Part non assurée", "Uninsured part"), w.money(part["uninsured"])),
        (w.t("D’après", "According to"), source),
    ]
    if cover is not None and cover["checked_at"] is not None:
        facts.append((w.t("Vérifié à", "Checked at"), cover["checked_at"]))
    if part["stale"]:
        facts.append((w.t("Réserve", "Reservation"), part[f"stale_{w.language}"]))
    return facts


def _override(one: Override, w: Written) -> Facts:
    choice = one.choice
    decided = w.t("retirée", "withdrawn")
    if choice is not None:
        rate = "" if choice.deposit_rate is None else f" {w.percent(float(choice.deposit_rate), 0)}"
        days = "" if choice.terms_days is None else f" {choice.terms_days} {w.t('jours', 'days')}"
        decided = f"{_kinds(w)[choice.kind]}{rate}{days}"
    return [
        (w.t("Décision", "Decision"), decided),
        (
            w.t("Jusqu’à un encours de", "Up to an exposure of"),
            "–" if choice is None else w.cents(choice.limit_cents),
        ),
        (w.t("Par", "By"), f"{one.by} ({one.role})"),
        (w.t("Motif", "Reason"), one.reason),
        (
            w.t("En vigueur", "In force"),
            f"{w.day(str(one.decided_on))} – {w.day(str(one.expires_on))}",
        ),
        (w.t("Entrée", "Entry"), one.id),
    ]


def _proof(evidence: Evidence, w: Written) -> Facts:
    entry, proof = evidence.entry, evidence.proof
    facts: Facts = [
        (
            w.t("Entrée du registre", "Entry of the record"),
            w.t(f"n° {entry.sequence}", f"no. {entry.sequence}"),
        ),
        (w.t("Octets", "Bytes"), w.number(len(entry.body))),
        (w.t("Empreinte de la feuille", "Leaf hash"), entry.leaf_hash),
    ]
    if proof.content is None:
        return facts
    said = proof.content["entry"]
    facts.append((w.t("Enregistrée à", "Recorded at"), w.instant(said["recorded_at"])))
    if proof.checkpoint is not None:
        facts.append((w.t("Registre", "Record"), proof.checkpoint.origin))
        facts.append((w.t("Entrées signées", "Entries signed"), w.number(proof.checkpoint.size)))
    held = w.t("oui, avec les clés d’ici", "yes, with the keys here")
    facts.append((w.t("Tient", "Holds"), held if proof.holds else w.t("NON", "NO")))
    for key in proof.content["keys"]:
        facts.append((w.t("Clé publique", "Public key"), key.partition(" ")[0]))
    return facts
