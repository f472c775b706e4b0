"""Past orders in euros, with the arithmetic left visible; and what no decision may have known."""

import inspect
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from features import history
from features.history import History, facts_of
from features.ledger import check
from models import insurance
from models.bundle import Bundle
from models.limits import Risk
from models.policy import Policy, decide
from models.situation import NOBODY, RestOfGroup
from models.targets import Outcomes
from serving.speaking import consult
from tests.features.ledgers import day, known_before, read_tables
from tests.models.policies import LESS, POLICY, policy_with
from tests.training.conftest import CUTOFF, END, QUICK
from training import replay
from training.backtest import (
    REFUSED,
    AgeingRule,
    Answers,
    Result,
    accept_all,
    beliefs,
    by_ageing,
    by_policy,
    difference,
    granted,
    result,
)
from training.fit import fit
from training.realised import matured, realised
from training.replay import PastOrders

RULES = insurance.load()
WORLD = policy_with(funding={"annual_rate": 0.05, "basis_days": 360}, assumed_margin_rate=0.05)
JUDGED_ON = day("2025-01-01")


class Books(SimpleNamespace):
    """Orders of a small ledger, and what became of them."""

    past: PastOrders
    became: object

    def of(self, answers: Answers, world: Policy = WORLD) -> Result:
        """Give the result of answers."""
        return result(answers, self.past, self.became, world)

    def alike(self, kind: str, on_credit: float = 1.0, **more: float) -> Result:
        """Answer every order with the same option."""
        given = [
            granted(kind, order.amount_cents, on_credit * order.amount_cents, at, WORLD, **more)
            for order, at in zip(self.past.orders, self.past.situations, strict=True)
        ]
        return self.of(Answers(kind, given, np.zeros(len(given), bool)))


def books_of(text: str) -> Books:
    ledger, rejects = check(read_tables(inspect.cleandoc(text)), "EUR")
    assert rejects.empty, rejects.to_string()
    known = history.build(facts_of(ledger))
    invoice = replay.choose(known, 0, JUDGED_ON)
    past = replay.past_orders(known, invoice, RULES, 0.05)
    return Books(known=known, past=past, became=realised(known, invoice, JUDGED_ON))


@pytest.fixture
def books(request) -> Books:
    """Read the ledger of the test's docstring."""
    return books_of(request.function.__doc__)


THREE = """
customer | invoice | issued_on  | due_on     | settled_on | amount
A        | F1      | 2024-01-01 | 2024-01-31 | 2024-01-31 | 1000
B        | F2      | 2024-01-01 | 2024-01-31 | 2024-03-31 | 1000
C        | F3      | 2024-01-01 | 2024-01-31 |            | 1000

customer | cover_id | starts_on  | amount | insured_rate
C        | K1       | 2023-01-01 | 5000   | 0.9

customer | event_id | opened_on  | kind
C        | E1       | 2024-03-01 | liquidation
"""


@pytest.fixture
def three() -> Books:
    """Three orders of 1,000: paid on the day, paid 60 days late, never paid and covered at 90 %."""
    return books_of(THREE)


# ------------------------------------------------------------------------------- worked by hand


def test_three_orders_accepted_are_reckoned_to_the_cent(three):
    all_open = three.of(accept_all(three.past, WORLD))
    got = all_open.earned
    assert got.margin.tolist() == [50_00, 50_00, 50_00]
    assert got.loss.tolist() == pytest.approx([0, 0, 1000_00 * (1 - 0.9)])
    days = np.array([30, 90, 30 + 90])  # what is lost was lent until it counts as lost
    assert got.funding.tolist() == pytest.approx((1000_00 * 0.05 / 360 * days).tolist())
    assert all_open.by_order.round(2).tolist() == [45_83.33, 37_50.00, -66_66.67]
    assert round(all_open.total("profit")) == 16_67


def test_a_deposit_of_30_percent_leaves_70_percent_of_loss_and_funding(three):
    asked = three.alike("deposit", on_credit=0.7, deposit_rate=0.3)
    lost = asked.earned
    assert lost.loss[2] == pytest.approx(0.7 * 100_00)
    assert asked.by_order[2] == pytest.approx(0.85 * (50_00 - 70_00 - 0.7 * 16_66.67), abs=0.01)
    assert asked.deposits == (3, 3, pytest.approx(3 * 300_00))


def test_a_security_keeps_as_much_of_a_loss_as_its_lgd_is_lower(three):
    kept = three.alike("retention_of_title").earned
    assert kept.loss[2] == pytest.approx(100_00 * 0.40 / 0.60)
    assert kept.cost.tolist() == pytest.approx([1_00] * 3)  # 0.1 % of what is on credit


def test_accepting_all_is_the_actual_history(three):
    """Whatever a policy says of how many customers accept open terms: these did."""
    shy = policy_with(acceptance_rate={"open": 0.99})
    for world in (WORLD, shy):
        went = three.of(accept_all(three.past, world), world)
        assert went.acceptance.tolist() == [1, 1, 1]
        assert set(went.bounds.values()) == {went.total("profit")}
    assert three.became.lost.tolist() == [0, 0, 1000_00]
    assert three.became.paid.tolist() == [1000_00, 1000_00, 0]


def test_refusing_everything_earns_nothing_and_counts_who_paid(three):
    refused = three.of(Answers("none", [REFUSED] * 3, np.zeros(3, bool)))
    assert refused.total("profit") == 0
    assert set(refused.bounds.values()) == {0}
    assert refused.refused_who_paid == (2, 2, 2000_00)


def test_the_bounds_hold_whatever_the_customers_would_have_said(three):
    asked = three.alike("deposit", on_credit=0.7, deposit_rate=0.3)
    good = sum(x for x in asked.earned.profit if x > 0)
    bad = sum(x for x in asked.earned.profit if x < 0)
    assert asked.bounds == pytest.approx(
        {
            "none accepts": 0,
            "all accept": good + bad,
            "only the losing accept": bad,
            "only the paying accept": good,
        }
    )
    assert bad <= asked.total("profit") <= good


def test_the_ageing_rule_looks_at_what_is_overdue():
    """Each customer orders on 1 June 2024; the line before says how old his oldest debt is."""
    due = ("2024-06-30", "2024-05-30", "2024-04-30", "2024-03-01")
    lines = [f"{c} | {c}1 | 2024-02-01 | {on} | | 10" for c, on in zip("ABCD", due, strict=True)]
    lines += [f"{c} | {c}2 | 2024-06-01 | 2024-07-01 | | 10" for c in "ABCDE"]
    head = "customer | invoice | issued_on | due_on | settled_on | amount"
    failed = "customer | event_id | opened_on | kind\nE | E1 | 2024-05-01 | liquidation"
    found = books_of("\n".join([head, *lines]) + "\n\n" + failed)
    now = by_ageing(found.past, WORLD).kind[found.past.issued_on == day("2024-06-01")]
    assert now.tolist() == ["open", "deposit", "cash", "refuse", "refuse"]
    lenient = by_ageing(found.past, WORLD, AgeingRule(60, 120, 0.5))
    assert lenient.kind[4:].tolist() == ["open", "deposit", "deposit", "cash", "refuse"]


# ----------------------------------------------------------------------------- what became of them


def test_dilution_and_disputes_are_no_credit_loss(books):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-01-01 | 2024-01-31 | 1000
    B        | F2      | 2024-01-01 | 2024-01-31 | 1000
    C        | F3      | 2024-01-01 | 2024-01-31 | 1000
    D        | F4      | 2024-01-01 | 2024-01-31 | 1000

    customer | settled_on | invoice | amount | kind
    A        | 2024-01-20 | F1      | 100    | credit_note
    A        | 2024-03-10 | F1      | 600    | payment
    A        | 2024-09-10 | F1      | 300    | write_off
    B        | 2024-09-10 | F2      | 1000   | write_off

    customer | dispute_id | invoice | opened_on  | closed_on
    B        | D1         | F2      | 2024-02-01 |
    """
    got = books.became
    assert got.credited.tolist() == [100_00, 0, 0, 0]
    assert got.disputed.tolist() == [0, 1000_00, 0, 0]
    assert got.lost.tolist() == [300_00, 0, 0, 0]
    assert got.undecided.tolist() == [0, 0, 1000_00, 1000_00]  # nobody knows yet
    assert got.paid.tolist() == [600_00, 0, 0, 0]
    assert got.lent.tolist() == [600_00 * 69 + 300_00 * 120, 0, *[1000_00 * 366] * 2]
    went = books.of(accept_all(books.past, WORLD))
    assert went.earned.margin.tolist() == [45_00, 0, 50_00, 50_00]
    assert went.earned.undecided.tolist() == [0, 0, 1000_00, 1000_00]


def test_a_bounced_payment_was_money_for_a_few_days(books):
    """
    invoice | issued_on  | due_on     | amount
    F1      | 2024-01-01 | 2024-01-31 | 1000

    settled_on | invoice | amount | kind
    2024-01-31 | F1      | 1000   | payment
    2024-02-05 | F1      | 1000   | reversal
    2024-03-01 | F1      | 1000   | payment
    """
    assert books.became.lent.tolist() == [1000_00 * (30 - 35 + 60)]
    assert books.became.paid.tolist() == [1000_00]


def test_nothing_is_judged_before_its_horizon_has_passed():
    known = books_of(THREE).known
    invoice = known.current
    assert matured(known, invoice, day("2024-04-30")).tolist() == [False] * 3
    assert matured(known, invoice, day("2024-05-01")).all()
    with pytest.raises(ValueError, match="horizon"):
        realised(known, invoice, day("2024-04-30"))
    early = realised(known, invoice, day("2024-05-01"))
    assert early.lost.tolist() == [0, 0, 1000_00]


def test_the_insurer_pays_a_cover_once_however_many_orders_it_stood_behind(books):
    """
    customer | invoice | issued_on  | due_on     | amount
    C        | F1      | 2024-01-02 | 2024-02-01 | 1000
    C        | F2      | 2024-01-02 | 2024-02-01 | 1000
    C        | F3      | 2024-01-09 | 2024-02-08 | 1000

    customer | cover_id | starts_on  | amount | insured_rate
    C        | K1       | 2023-01-01 | 1500   | 0.9

    customer | event_id | opened_on  | kind
    C        | E1       | 2024-03-01 | liquidation
    """
    went = books.of(accept_all(books.past, WORLD)).earned
    assert went.indemnity.tolist() == pytest.approx([900_00, 450_00, 0])
    assert went.loss.sum() == pytest.approx(3000_00 - 0.9 * 1500_00)


def test_a_cover_is_paid_once_even_if_an_invoice_was_not_in_the_books_yet(books):
    """
    customer | invoice | issued_on  | due_on     | amount | recorded_at
    C        | F1      | 2024-01-02 | 2024-02-01 | 1000   | 2024-01-20
    C        | F2      | 2024-01-09 | 2024-02-08 | 1000   | 2024-01-09

    customer | cover_id | starts_on  | amount | insured_rate | recorded_at
    C        | K1       | 2023-01-01 | 1500   | 0.9          | 2023-01-01

    customer | event_id | opened_on  | kind        | recorded_at
    C        | E1       | 2024-03-01 | liquidation | 2024-03-01
    """
    went = accept_all(books.past, WORLD)
    assert went.each("insured_share").tolist() == pytest.approx([0.9, 0.9])  # as known then
    assert books.of(went).earned.indemnity.tolist() == pytest.approx([900_00, 450_00])


# ------------------------------------------------------------------------------- as known then


def test_an_accepted_order_is_not_counted_twice_on_its_day(books):
    """
    invoice | issued_on  | due_on     | settled_on | amount
    F1      | 2024-01-20 | 2024-02-19 | 2024-02-19 | 700
    F2      | 2024-01-20 | 2024-02-19 | 2024-02-19 | 200

    order_id | accepted_on | amount | deposit | closed_on
    O1       | 2024-01-10  | 700    | 0       | 2024-01-20
    O2       | 2024-01-10  | 50     | 0       | 2024-03-20
    """
    owed = [at.orders_cents for at in books.past.situations]
    assert owed == [50_00, 50_00 + 700_00]  # the second comes after the first of the day


def test_the_rest_of_a_group_is_that_of_the_day(books):
    """
    customer | invoice | issued_on  | due_on     | amount
    A        | F1      | 2024-01-20 | 2024-02-19 | 700
    B        | F2      | 2024-01-10 | 2024-02-19 | 200
    C        | F3      | 2024-01-10 | 2024-02-19 | 400

    customer | change_id | changed_on | kind  | value
    A        | G1        | 2024-01-01 | group | G
    B        | G2        | 2024-01-01 | group | G
    C        | G3        | 2024-01-25 | group | G
    """
    known, past = books.known, books.past
    at = replay.positions(known, past.customer, past.issued_on.astype(np.int64))
    rest = replay.rest_of_group(known, past.customer, past.issued_on.astype(np.int64), at)
    ids = known.invoice_id[past.invoice].tolist()
    found = dict(zip(ids, rest, strict=True))
    assert found == {"F1": RestOfGroup(200_00, 200_00), "F2": RestOfGroup(), "F3": NOBODY}
    assert past.situations[ids.index("F1")].group_exposure_cents == 200_00


@pytest.fixture(scope="module")
def curves(datasets) -> replay.Curves:
    return replay.Curves(
        *(fit(datasets[name], CUTOFF, QUICK).curve for name in ("late", "default"))
    )


def test_too_few_defaults_and_the_default_curve_abstains(past):
    """Of 13 defaults nothing is learned, as in training."""
    found = replay.fit_curves(past, CUTOFF - 700, END, "bureau", QUICK)
    assert found.late is not None
    assert found.default is None


def orders_between(known: History, first: int, end: int) -> PastOrders:
    return replay.past_orders(known, replay.choose(known, first, end), RULES, 0.05)


def risks_of(known: History, orders: PastOrders, curves: replay.Curves) -> list[Risk | None]:
    return replay.risks(orders, curves, replay.in_default(known, orders, "bureau"), POLICY)


@pytest.fixture(scope="module")
def orders(past) -> PastOrders:
    return orders_between(past, CUTOFF, CUTOFF + 120)


@pytest.fixture(scope="module")
def said(past, orders, curves) -> list[Risk | None]:
    return risks_of(past, orders, curves)


@pytest.mark.parametrize("after", [3, 45, 101])
def test_nothing_known_since_changes_a_decision(facts, past, curves, after):
    as_of = CUTOFF + after
    then = history.build(known_before(facts, as_of + 1), past.observed_from)
    now = orders_between(past, as_of, as_of + 1)
    known = np.isin(past.invoice_id[now.invoice], then.invoice_id)
    before = orders_between(then, as_of, as_of + 1)
    assert known.sum() == len(before.orders) >= 3
    asked = np.flatnonzero(known)
    np.testing.assert_array_equal(now.X[asked], before.X)
    if known.all():
        assert now.situations == before.situations
    first = risks_of(past, now, curves)
    assert [first[i] for i in asked] == risks_of(then, before, curves)


def test_the_models_say_what_they_would_have_said_online(past, orders, said, curves):
    """All but the delay, which is read at fewer terms."""
    median = dict.fromkeys(curves.late.features, 0.0)
    bundles = [Bundle("0", curve, {"median": median}, {}) for curve in curves]
    speaking = SimpleNamespace(
        champions=SimpleNamespace(abstentions={}),
        late=bundles[0],
        default=bundles[1],
        policy=POLICY,
    )
    defaulted = replay.in_default(past, orders, "bureau")
    thin = [i for i, risk in enumerate(said) if risk is None]
    asked = [*range(0, len(said), 40), *np.flatnonzero(defaulted)[:3], *thin[:3]]
    assert thin
    assert defaulted.any()
    for i in map(int, asked):
        views = consult(
            speaking, orders.X[i], orders.orders[i], "EUR", in_default=bool(defaulted[i])
        )
        if views.risk is None or said[i] is None:
            assert views.risk is said[i]
            continue
        assert said[i].default_probability == pytest.approx(views.risk.default_probability)
        assert said[i].shorter_default_probability == pytest.approx(
            views.risk.shorter_default_probability
        )
        assert said[i].grade == views.risk.grade
        assert said[i].expected_delay_days == pytest.approx(views.risk.expected_delay_days, abs=0.5)


# ---------------------------------------------------------------------------------- policies


@pytest.fixture(scope="module")
def became(past, orders) -> object:
    return realised(past, orders.invoice, END)


def test_an_order_held_for_a_person_is_worth_its_proposal_less_the_wait(three):
    person = replace(three.past.situations[0], facts=frozenset({"is_natural_person"}))
    past = replace(three.past, situations=[person] * 3)
    risk = Risk(0.10, 0.0, 0.05, "F")
    decisions = [decide(past.orders[0], person, one, POLICY) for one in (risk, None, risk)]
    assert [one.requires_human for one in decisions] == [True] * 3
    answers = by_policy("p", past, decisions, POLICY, POLICY)
    assert answers.kind.tolist() == [decisions[0].proposed_action, "open", answers.kind[2]]
    got = result(answers, past, three.became, POLICY)
    assert got.acceptance[1] == 0.95  # nothing proposed: it went on open terms
    assert got.earned.cost[1] == 40_00
    assert got.actions == {"review": 3}
    assert got.if_held_orders(np.zeros(3)) == 0


def test_a_policy_does_not_win_by_what_it_believes(three):
    """Everybody pays everything in advance, a policy says: the yardstick does not."""
    believed = {**dict.fromkeys((*LESS, "reduced_limit")), "deposit": {0.30: 0.99}, "cash": 0.97}
    dreamer = policy_with(acceptance_rate=believed)
    certain = Risk(0.5, 0.0, 0.5, "H")
    found = [
        decide(order, at, certain, dreamer)
        for order, at in zip(three.past.orders, three.past.situations, strict=True)
    ]
    answers = by_policy("dreamer", three.past, found, dreamer, POLICY)
    assert set(answers.kind[:2]) == {"cash"}
    assert answers.each("acceptance")[:2].tolist() == [0.40, 0.40]


def told(words: str, orders: PastOrders, said: list, became: object, policy=POLICY) -> Result:
    decisions = replay.replay(orders, said, policy)
    return result(by_policy(words, orders, decisions, policy, POLICY), orders, became, POLICY)


@pytest.fixture(scope="module")
def early(datasets) -> replay.Curves:
    """Curves of a year before, for orders enough to tell policies apart."""
    late, default = (fit(datasets[name], CUTOFF - 365, QUICK).curve for name in datasets)
    return replay.Curves(late, default)


@pytest.fixture(scope="module")
def thin(past) -> PastOrders:
    """Sixteen months of orders with a margin of 1 %."""
    invoice = replay.choose(past, CUTOFF - 365, CUTOFF + 120)
    return replay.past_orders(past, invoice, RULES, 0.01)


def test_on_a_thin_margin_the_policy_earns_more_than_accept_all_and_the_ageing_rule(
    past, thin, early
):
    """Whoever pays 60 days late costs more funding than the margin; most conditions pay."""
    became = realised(past, thin.invoice, END)
    policy = told("policy", thin, risks_of(past, thin, early), became)
    for other in (accept_all(thin, POLICY), by_ageing(thin, POLICY)):
        more = difference(policy, result(other, thin, became, POLICY))
        assert more.all.low > 0
        assert more.without_largest.low > 0


def test_the_same_policy_earns_more_when_told_the_truth(orders, said, became):
    """Who will be lost, and that the others will not; without limits and rules, deaf to both."""
    free = policy_with(
        limit={"headroom": 1000, "equity": None, "concentration": None, "hysteresis_rate": 0},
        appetite={"expected_loss_rate": 1},
        blocking=[],
    )
    at = [replace(one, decided_limit_cents=None) for one in orders.situations]
    anyone = replace(orders, situations=at)
    guessed = [risk or Risk(0.02, 5.0, 0.02, "C") for risk in said]
    lost = (became.lost > 0).astype(float).tolist()
    truth = [Risk(p, one.expected_delay_days, p, "C") for p, one in zip(lost, guessed, strict=True)]
    knows = told("knows", anyone, truth, became, free)
    guesses = told("guesses", anyone, guessed, became, free)
    more = difference(knows, guesses)
    assert more.all.low > 0
    assert more.without_largest.low > 0


def test_beliefs_are_compared_with_what_was_seen(three):
    """Two of three orders are asked: one in ten said, one in two seen, the whole of it lost."""
    risk = Risk(0.1, 0.0, 0.1, "F")
    defaulted = Outcomes(np.array([True, True, True]), np.array([False, False, True]))
    went = three.of(accept_all(three.past, WORLD))
    priced = np.array([True, False, True])
    own = replace(went, answers=replace(went.answers, priced=priced, expected_loss_cents=12_00.0))
    found = beliefs([risk, None, risk], defaulted, own, went, 0.6)
    assert found == (2, 0.1, 0.5, 0.1, 0.5, 0.6, 1.0, 12_00, pytest.approx(100_00))


def test_a_difference_is_paired_seeded_and_contains_its_point(orders, became):
    open_terms = result(accept_all(orders, POLICY), orders, became, POLICY)
    ageing = result(by_ageing(orders, POLICY), orders, became, POLICY)
    found = difference(ageing, open_terms, resamples=200)
    assert found == difference(ageing, open_terms, resamples=200)
    for one in (found.all, found.without_largest):
        assert one.low <= one.value <= one.high
    assert found.all.value == pytest.approx(ageing.total("profit") - open_terms.total("profit"))
    assert difference(ageing, ageing, resamples=10).all == (0, 0, 0)
    his = orders.customer == found.largest
    by_order = ageing.by_order - open_terms.by_order
    assert found.without_largest.value == pytest.approx(by_order[~his].sum())


def test_a_sample_keeps_customers_whole_and_is_seeded(past):
    invoice = replay.choose(past, CUTOFF, END)
    few = replay.sample(past, invoice, 100, seed=1)
    who = past.invoice_customer
    kept = np.isin(who[invoice], who[few])
    assert few.tolist() == invoice[kept].tolist()
    assert 100 <= few.size < invoice.size
    assert few.tolist() == replay.sample(past, invoice, 100, seed=1).tolist()
    assert few.tolist() != replay.sample(past, invoice, 100, seed=2).tolist()
    assert replay.sample(past, invoice, invoice.size) is invoice
