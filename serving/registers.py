"""One recorded answer told to three people: the salesperson, the customer, the auditor.

All three are made from the bytes of the record, so that they cannot say different things. The
salesperson gets one sentence with an action; the customer a letter without any figure of ours (what
is asked of him has figures: a deposit, days, an amount delivered); the auditor everything, to be
added up. Pure: a recorded body in, texts and numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from features.dictionary import dictionary, dictionary_sha256
from models import letter
from models.explanation import MOST_REASONS
from models.letter import ANY_OTHER, Said
from models.policy_file import FACT_WORDS

Body = Mapping[str, Any]
LANGUAGES = ("fr", "en")
NOT_A_REASON = ("default_curve_abstains", "above_decided_limit", "natural_person")
"""Rules that hold an order for a person, and say nothing of the customer."""
LIMIT_RULES = ("limit_exceeded", "margin_below_credit_cost")
"""Rules that the risk has a part in: the measures are told with them."""


class Told(NamedTuple):
    """A reason as the customer is told it, and what he can do about it."""

    name: str
    said: Said
    do: Said


# --- The salesperson ---------------------------------------------------------------------------


def salesperson(body: Body, language: str) -> str:
    """Say in one sentence what to do, with the principal reason where it is not open terms.

    'Deliver after cash payment – insolvency proceedings opened.'
    """
    answer = body["answer"]
    action: str = answer["recommendation"][language]
    reason = _first_reason(answer, language)
    if reason is None or reason in action:
        return action
    return f"{action.rstrip('.')} – {_low(reason)}."


def _first_reason(answer: Body, language: str) -> str | None:
    if answer["override"] is not None or answer["recommendation"]["action"] == "open":
        return None
    if rules := [rule for rule in answer["rules"] if rule["id"] != "override_void"]:
        return str(rules[0][language])
    raising = _raising(answer)
    if not raising:
        return None
    said: str = raising[0][language]
    return said.partition(" (")[0]  # without the comparison behind it


def _raising(answer: Body) -> list[Mapping[str, Any]]:
    told = answer["explanation"]
    reasons = [] if told is None else told["reasons"]
    return [reason for reason in reasons if reason["contribution"] > 0]


def _low(sentence: str) -> str:
    first, rest = sentence[:1], sentence[1:]
    return sentence if rest[:1].isupper() else f"{first.lower()}{rest}"  # DSO stays DSO


# --- The customer ------------------------------------------------------------------------------


def customer_letter(body: Body, language: str) -> dict[str, Any]:
    """Write to the customer: what was decided, why, what he can do, whom to ask.

    Returns
    -------
    dict
        ``decision``; ``reasons`` and ``can_do``, lists of texts; ``whom``; ``reference``; and
        ``text``, the letter as a whole.
    """
    answer, frame = body["answer"], letter.words().letter
    told = reasons_told(body)
    recommended = answer["recommendation"]
    can_do = list(dict.fromkeys(one.do.of(language) for one in told))
    if told:
        can_do.append(frame.other_way.of(language))
    parts: dict[str, Any] = {
        "decision": recommended[f"customer_{language}"],
        "reasons": list(dict.fromkeys(one.said.of(language) for one in told)),
        "can_do": list(dict.fromkeys(can_do)),
        "notes": [note.of(language) for note in _notes(answer)],
        "whom": (frame.whom if told else frame.whom_short).of(language),
        "reference": answer["id"],
    }
    return {**parts, "text": _letter(parts, language, assumed=answer["order"]["assumed"])}


def reasons_told(body: Body) -> list[Told]:
    """Choose what the customer is told, at most four, the most important first.

    Nothing of an order that is accepted as asked, or held for a person: no decision went against
    him. Nothing of the models where a person decided otherwise: his reasons are not theirs. Where a
    rule left no choice it is the reason, and the models' are none.
    """
    answer = body["answer"]
    action = answer["recommendation"]["action"]
    if action in ("open", "review") or answer["override"] is not None:
        return []
    fired = [rule for rule in answer["rules"] if _is_a_reason(rule["id"])]
    told = [_rule_told(rule) for rule in fired]
    if all(rule["id"] in LIMIT_RULES for rule in fired):
        told += [_measure_told(reason) for reason in _raising(answer)]
    by_words = {one.said.fr: one for one in reversed(told)}  # the first of those that say the same
    return [one for one in told if by_words[one.said.fr] is one][:MOST_REASONS]


def _is_a_reason(rule: str) -> bool:
    return rule not in NOT_A_REASON and not rule.startswith("override")


def _rule_told(rule: Mapping[str, str]) -> Told:
    """Name a rule of the policy by the fact behind it: its own name is the seller's."""
    known = letter.words().rules
    facts = (fact for fact, said in FACT_WORDS.items() if said == (rule["fr"], rule["en"]))
    name = rule["id"] if rule["id"] in known else next(facts, ANY_OTHER)
    words = letter.words().rule_of(name)
    return Told(name, words.say, words.do)


def _measure_told(reason: Mapping[str, Any]) -> Told:
    name, words = letter.words().reason_of(reason["feature"])
    return Told(name, words.said_of(reason["value"]), words.do)


def _notes(answer: Body) -> Iterator[Said]:
    frame = letter.words().letter
    if answer["override"] is not None:
        yield frame.by_a_person
    elif answer["recommendation"]["action"] == "review":
        yield frame.in_hand
    if answer["customer"]["is_natural_person"]:
        yield frame.natural_person


def _letter(parts: Mapping[str, Any], language: str, *, assumed: bool) -> str:
    frame = letter.words().letter
    opening = frame.usual if assumed else frame.thanks
    paragraphs = [frame.opening.of(language), f"{opening.of(language)} {parts['decision']}"]
    for lead, items in ((frame.because, parts["reasons"]), (frame.can_do, parts["can_do"])):
        if items:
            paragraphs.append("\n".join([lead.of(language), *_listed(items, language)]))
    paragraphs += [*parts["notes"], parts["whom"]]
    paragraphs.append(f"{frame.reference.of(language)} {parts['reference']}")
    paragraphs.append(frame.closing.of(language))
    return "\n\n".join(paragraphs)


def _listed(items: list[str], language: str) -> list[str]:
    """Write a list as a sentence broken into lines: semicolons, and a full stop at the end."""
    semicolon = " ;" if language == "fr" else ";"
    return [
        f"– {item}{'.' if place == len(items) else semicolon}"
        for place, item in enumerate(items, 1)
    ]


# --- The auditor -------------------------------------------------------------------------------


def auditor(body: Body, medians: Mapping[str, float | None] | None = None) -> dict[str, Any]:
    """Give everything that the answer was made of, to be added up.

    Parameters
    ----------
    body : mapping
        Of the entry.
    medians : mapping, optional
        Of each feature, from the bundle that is explained, to compare with; the record itself has
        them of the reasons told only.

    Returns
    -------
    dict
        ``base + Σ contributions = log_odds`` to 1e-9, and ``probability`` of it; where nothing was
        explained these are null, and ``abstentions`` says why.
    """
    answer, kept = body["answer"], body["evidence"]
    explained, apart = answer["explanation"], kept["contributions"]
    measures = list(_measures(kept, _compared(answer, medians)))
    base = None if apart is None else float.fromhex(apart["base"])
    told = [one["contribution"] for one in measures if one["contribution"] is not None]
    return {
        "curve": None if explained is None else explained["curve"],
        "horizon_days": None if explained is None else explained["horizon_days"],
        "base": base,
        "measures": measures,
        "sum": None if base is None else math.fsum([base, *told]),
        "log_odds": None if explained is None else explained["log_odds"],
        "probability": None if explained is None else explained["probability"],
        "abstentions": answer["abstentions"],
        "versions": {
            **answer["versions"],
            **{f"runs_on_{name}": said for name, said in kept["runs_on"].items()},
            "dictionary": f"sha256:{dictionary_sha256()}",
            "letter": f"sha256:{letter.words().sha256}",
        },
    }


def _compared(
    answer: Body, medians: Mapping[str, float | None] | None
) -> Mapping[str, float | None]:
    told = answer["explanation"]
    of_reasons = [] if told is None else told["reasons"]
    return medians or {reason["feature"]: reason["compare"] for reason in of_reasons}


def _measures(kept: Body, compared: Mapping[str, float | None]) -> Iterator[dict[str, Any]]:
    """Give each measure in the order of the features; the order's own are the last ones."""
    values = [float.fromhex(value) for value in kept["features"]]
    apart = kept["contributions"]
    moved = [] if apart is None else [float.fromhex(one) for one in apart["by_feature"]]
    entries = list(dictionary().values())[: len(values)]
    for place, (entry, value) in enumerate(zip(entries, values, strict=True)):
        yield {
            "code": entry.code,
            "feature": entry.feature,
            "fr": entry.words["fr"].label,
            "en": entry.words["en"].label,
            "value": None if math.isnan(value) else value,
            "unit": entry.unit,
            "compare": compared.get(entry.feature),
            "contribution": moved[place] if place < len(moved) else None,
        }


def registers(
    body: Body, medians: Mapping[str, float | None] | None = None, *, whole: bool
) -> dict[str, Any]:
    """Give the three of them, in both languages; the auditor's only where `whole`."""
    answer = body["answer"]
    return {
        "id": answer["id"],
        "currency": answer["currency"],
        "salesperson": {language: salesperson(body, language) for language in LANGUAGES},
        "customer": {language: customer_letter(body, language) for language in LANGUAGES},
        "auditor": auditor(body, medians) if whole else None,
    }
