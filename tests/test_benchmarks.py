"""The benchmarks run, compare like with like, and say when a target is missed."""

import os
import re
import socketserver
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import serving.answering as answer_path
from benchmarks import (
    card_clients,
    decisions,
    features,
    page,
    polish,
    serving,
    simulated_default,
    stages,
    training,
)
from benchmarks.page import Row, at_least, at_most, write_section
from benchmarks.parts import Measured
from benchmarks.training import Stage
from features.build import CUSTOMER_FEATURES
from features.simulator import Simulation, simulate
from models.metrics import Interval
from models.targets import Outcomes
from training.dataset import DEFAULT, Dataset

ROOT = Path(__file__).parents[1]


def figures(text: str) -> dict[str, tuple[str, str, str]]:
    """Read the tables of the page: target, measured, verdict by what was measured."""
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in text.splitlines() if line[:2] == "| "]
    return {what: (target, measured, verdict) for what, target, measured, verdict in rows}


def test_every_measure_is_made_on_a_small_ledger_and_kept_on_the_page(tmp_path):
    kept, work = tmp_path / "benchmarks.md", tmp_path / "work"
    work.mkdir()
    sizes = ["--invoices", "3000", "--customers", "20", "--lines", "500", "--brief"]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.features", *sizes, "--page", kept, "--folder", work],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    found = figures(kept.read_text("utf-8"))
    target, _, verdict = found["3,000 invoices: largest difference between the two"]
    assert (target, verdict) == ("<= 1e-09", "PASS")  # both ways give the same features
    assert found["3,000 invoices: peak memory of the command, GB"][2] == "PASS"
    assert len([what for what in found if "p50" in what or "p99" in what]) == 4
    assert len([what for what in found if what.endswith("lines/s")]) == 2
    missed = [what for what, row in found.items() if row[2] == "FAIL"]
    assert ran.returncode == bool(missed)
    assert re.findall(r"^MISSED (.+)$", ran.stdout, re.MULTILINE) == missed
    assert list(work.iterdir()) == []  # gigabytes are not left behind


def timed(invoices: int, *seconds: float) -> features.Bulk:
    """Give a ledger's measures of which only the times count."""
    bulk = features.Bulk(Path(), invoices)
    bulk.runs["in_memory"] = [Measured(99, 0, {"seconds": s}) for s in seconds]
    bulk.runs["command"] = [Measured(s, 0, {}) for s in seconds]
    return bulk


def test_growth_compares_medians_and_is_1_in_proportion():
    small = timed(1_000, 2.0, 1.0, 50.0)
    assert [row.measured for row in features.growth(small, timed(10_000, 20.0))] == ["1.00"] * 2
    slow = features.growth(small, timed(10_000, 200.0))
    assert [(row.measured, row.is_met) for row in slow] == [("2.00", False)] * 2


def test_two_processes_must_be_worth_their_start():
    bulk = timed(10_000_000, 84.0)
    for seconds, is_met in ((49.4, True), (49.5, False)):
        bulk.runs["two"] = [Measured(seconds, 0, {})]
        assert features.two_processes(bulk).is_met is is_met


def test_a_large_ledger_is_run_once_and_the_naive_way_on_three_dates():
    large = features.Bulk(Path(), 10_000_000)
    assert (large.times, [str(day) for day in large.naive_dates]) == (
        1,
        ["2023-07-01", "2024-07-01", "2025-07-01"],
    )
    large.runs["naive"] = [Measured(99, 0, {"seconds": 10.0})]
    assert large.seconds("naive") == 120


@pytest.mark.parametrize(
    ("row", "is_met"),
    [
        (at_least("ratio", 12.0, 12, "{:.1f}"), True),
        (at_least("ratio", 11.99, 12, "{:.1f}"), False),
        (at_most("time", 1.0, 1, "{:.2f} ms"), True),
        (at_most("time", 1.001, 1, "{:.2f} ms"), False),
        (at_most("time", float("nan"), 1, "{:.2f} ms"), False),
    ],
)
def test_a_target_is_met_by_the_figure_not_by_how_it_is_shown(row, is_met):
    assert row.is_met is is_met
    assert row.cells[3] == ("PASS" if is_met else "FAIL")


def test_a_missed_target_fails_the_command(monkeypatch, tmp_path, capsys):
    missed, met = at_least("speed", 1, 2, "{}"), at_least("size", 2, 1, "{}")
    monkeypatch.setattr(features, "_on_ledgers", lambda *_: [("Bulk", [met], "")])
    monkeypatch.setattr(features, "import_of_csv", lambda *_: [met, Row("for information", "1")])
    arguments = ["--page", str(tmp_path / "page.md"), "--folder", str(tmp_path)]
    assert features.main(arguments) == 0
    monkeypatch.setattr(features, "import_of_csv", lambda *_: [missed])
    assert features.main(arguments) == 1
    assert "MISSED speed" in capsys.readouterr().out


def test_a_section_replaces_the_one_before_and_leaves_the_others(tmp_path):
    kept = tmp_path / "page.md"
    write_section(kept, "One", [Row("a", "1")], "Note one.")
    write_section(kept, "Two", [Row("b", "2")], "Note two.")
    write_section(kept, "One", [Row("a", "3")], "Note three.")
    text = kept.read_text("utf-8")
    assert text.startswith("# Benchmarks\n")
    assert figures(text)["a"] == ("", "3", "")
    assert figures(text)["b"] == ("", "2", "")
    assert ("Note one." in text, text.count("## One\n"), text.count("## Two\n")) == (False, 1, 1)
    assert page.PAGE.parent.name == "docs"


def test_sampled_dates_lie_in_the_middle_of_equal_stretches():
    assert features._spread(list(range(36)), 3) == [6, 18, 30]
    assert features._spread(list(range(36)), 36) == list(range(36))


@pytest.mark.parametrize("of", [card_clients, polish])
def test_absent_data_is_said_and_nothing_is_measured(of, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(of, "FILE", tmp_path / "absent.csv")
    assert of.run(Console(), tmp_path / "page.md")
    assert "SKIPPED" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def clients(*months: tuple[list[float], list[float]]) -> pd.DataFrame:
    """Give clients by their six statements and six payments, April first; nobody's X2–X5."""
    rows = [
        {"ID": i, "X1": 1_000.0, **dict.fromkeys([f"X{n}" for n in range(6, 12)], 0)}
        | dict(zip(card_clients.STATEMENTS, statements, strict=True))
        | dict(zip(card_clients.PAYMENTS, paid, strict=True))
        for i, (statements, paid) in enumerate(months, start=1)
    ]
    return pd.DataFrame(rows)


def described(file: pd.DataFrame, feature: str) -> list[float]:
    """Describe clients by one feature of the ledger."""
    columns = card_clients.ledger_columns(file)
    return columns.X[:, CUSTOMER_FEATURES.index(feature)].tolist()


def test_the_open_invoices_of_a_client_add_up_to_the_last_statement():
    file = clients(
        ([200, 300, 100, 250, 400, 500], [0, 200, 300, 100, 250, 400]),  # pays all
        ([200, 250, 300, 350, 400, 450], [0, 50, 0, 50, 0, 50]),  # pays a part
        ([300, 300, 100, 100, 150, 90], [10, 0, 0, 0, 0, 0]),  # 200 and 60 are credited
        ([-80, -80, 50, 50, 50, 20], [80, 0, 0, 0, 0, 30]),  # 80 too much were paid
        ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]),
    )
    assert described(file, "open_exposure") == [500, 450, 90, 20, 0]
    assert described(file, "open_limit_use")[:2] == [0.5, 0.45]


def test_what_no_payment_reached_is_past_due_25_days_after_its_statement():
    """The May statement, issued on 31 May, is due on 25 June; 97 days later it is 1 October."""
    everything_in_may = [0, 500, 500, 500, 500, 500], [0, 0, 0, 0, 0, 0]
    everything_in_september = [0, 0, 0, 0, 0, 500], [0, 0, 0, 0, 0, 0]
    file = clients(everything_in_may, everything_in_september)
    assert described(file, "open_longest_overdue_days") == [97, 0]


def test_the_clients_own_columns_are_those_of_behaviour_never_of_the_person():
    columns = list(card_clients.OWN_DIRECTIONS)
    assert columns == ["X1", *(f"X{i}" for i in range(6, 24))]
    file = clients(([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]))
    own = card_clients.own_columns(file)
    assert own.X.tolist() == [[1000, *[0] * 6, 6, 5, 4, 3, 2, 1, 12, 11, 10, 9, 8, 7]]
    assert len(own.directions) == own.X.shape[1]


def test_a_client_is_scored_by_what_others_teach(monkeypatch):
    """Noise teaches nothing, though it tells every client apart; what is common does."""
    for few in ("FOLDS", "INNER_FOLDS", "PATIENCE"):
        monkeypatch.setattr(card_clients, few, 2)
    rng = np.random.default_rng(0)
    defaulted = rng.random(4_000) < 0.3
    noise = rng.normal(size=(4_000, 2))
    said = np.column_stack([noise, defaulted + rng.normal(size=4_000)])
    measured = [
        card_clients.measure(
            card_clients.out_of_fold(card_clients.Columns(X, [0] * X.shape[1]), defaulted),
            defaulted,
        ).value
        for X in (noise, said)
    ]
    assert measured[0] == pytest.approx(0.5, abs=0.07)
    assert measured[1] > 0.7


def test_ratios_are_read_with_what_is_missing(tmp_path):
    file = tmp_path / "two.arff"
    file.write_text(
        "@relation two\n@attribute Attr1 numeric\n@attribute Attr2 numeric\n"
        "@attribute class {0,1}\n@data\n0.5,?,0\n-1,2,1\n"
    )
    X, bankrupt = polish.read(file)
    np.testing.assert_array_equal(X, [[0.5, np.nan], [-1, 2]])
    assert bankrupt.tolist() == [False, True]


def test_recording_differences_are_zero_where_two_ratios_say_the_same():
    X = np.zeros((3, 64))
    X[:, [8, 35]] = [[1.2, 1.2], [1.2, 1.5], [np.nan, 1.5]]  # X9, X36
    X[:, [10, 17, 21, 26]] = [[0.5, 0.3, 0.4, 2], [0.5, 0.3, 0.4, 4], [0.5, 0.3, 0.4, 0]]
    expected = [[0, 0], [-0.3, 0.1], [np.nan, np.nan]]
    np.testing.assert_allclose(polish.recording_differences(X), expected, atol=1e-12)


def test_each_hold_out_is_a_tenth_apart_from_what_is_learned():
    X = np.arange(200.0)[:, None]
    bankrupt = X[:, 0] % 10 == 0
    seen = []

    def score(learned, happened, asked):
        assert not set(learned[:, 0]) & set(asked[:, 0])
        seen.append((learned.size, happened.sum(), asked.size))
        return -(asked[:, 0] % 10)

    assert polish.hold_outs(X, bankrupt, score).tolist() == [1.0] * 10
    assert seen == [(180, 18, 20)] * 10


def test_the_state_of_a_simulated_customer_is_of_the_month_and_before():
    months = np.arange(14.0)[:, None]
    stress, crisis, hazard = (base + months + [0, 1_000] for base in (100, 200, 300))
    row = {month: number for number, month in enumerate((0, 3, 13))}
    found = simulated_default.states(
        stress, crisis, hazard, np.array([0, 3, 13]), np.array([0, 1, 0])
    )
    nan = np.nan
    np.testing.assert_array_equal(found[row[0]], [100, 200, 300, nan, nan, nan, nan, nan, 100])
    expected = [1103, 1203, 1303, 1102, 1100, nan, nan, 1202, 1101.5]
    np.testing.assert_array_equal(found[row[3]], expected)
    np.testing.assert_array_equal(found[row[13]], [113, 213, 313, 112, 110, 107, 101, 212, 106.5])
    stress[4:] = crisis[4:] = hazard[4:] = -1.0
    again = simulated_default.states(stress, crisis, hazard, np.array([3]), np.array([1]))
    np.testing.assert_array_equal(again[0], expected)


def test_the_simulated_life_is_what_the_truth_is_taken_from():
    simulated = simulate(Simulation(invoices=2_000, seed=5))
    life, truth = simulated.life, simulated.truth
    number = {c: i for i, c in enumerate(simulated.tables["customers"]["customer_id"])}
    customer = truth["customer_id"].map(number).to_numpy()
    month = truth["month"].to_numpy("datetime64[M]").astype(int)
    month -= month.min()
    assert life.stress[month, customer].tolist() == truth["stress"].tolist()
    assert life.hazard[month, customer].tolist() == truth["insolvency_hazard"].tolist()
    assert (life.crisis >= 0).all()
    assert life.crisis.max() > 2
    calm = simulate(Simulation(invoices=2_000, seed=5, crisis_rate=0)).life
    assert calm.crisis.max() == 0
    np.testing.assert_allclose(life.stress - life.crisis, calm.stress, atol=1e-12)


def test_every_feature_of_a_customer_is_in_one_family_of_the_ablation():
    names = [name for family in simulated_default.groups().values() for name in family]
    assert sorted(names) == sorted(CUSTOMER_FEATURES)
    assert "settled_90" not in simulated_default.groups()


def quarter_years() -> Dataset:
    """Give six rows whose outcome at a term tells which row it is."""

    def outcomes(rows, term_days, cutoff):
        return Outcomes(rows < cutoff, rows == term_days)

    days = np.array(["2025-01", "2025-02", "2025-03", "2025-04", "2025-09", "2025-10"], "M8[M]")
    days = days.astype("M8[D]").astype(np.int32)
    X = np.arange(12.0).reshape(6, 2)
    return Dataset(DEFAULT, ("a", "b"), X, np.arange(6), days, days, outcomes)


def test_chosen_rows_keep_their_features_and_outcomes():
    dataset = quarter_years()
    chosen = np.flatnonzero(simulated_default.is_in_quarter(dataset.as_of))
    assert chosen.tolist() == [0, 3, 5]
    of = simulated_default.choosing(dataset, chosen)
    assert of.customer.tolist() == [0, 3, 5]
    assert of.X.tolist() == [[0, 1], [6, 7], [10, 11]]
    pairs = simulated_default.asked(of, np.array([0, 1, 2]), 3, 4)
    assert (pairs.row.tolist(), pairs.happened.tolist()) == ([0, 1], [False, True])
    only = simulated_default.reading(dataset, {"b"})
    assert (only.features, only.X[:, 0].tolist()) == (("b",), [1, 3, 5, 7, 9, 11])


def test_a_gain_is_paired_and_shown_with_its_sign():
    dataset = quarter_years()
    world = simulated_default.World(dataset, np.empty((6, 0)), 0, 20_544)
    measure = simulated_default.Measure(world, 3)
    assert world.test.tolist() == [0, 3]  # of the quarters with a year to go
    right, wrong = np.array([0.1, 0.9]), np.array([0.9, 0.1])
    assert measure.auc(right).value == 1
    assert measure.gain(wrong, right).value == -1
    gain = Interval(-0.0123, -0.02, 0.001)
    assert simulated_default.signed(gain) == "-0.012 [-0.020 to +0.001]"


def test_the_overhead_of_a_training_counts_all_of_it_and_says_what_the_fits_are():
    stages = [Stage("read", 12.0, 0.0), Stage("late: learn", 50.0, 45.0)]
    stages += [Stage("late: refit", 40.0, 35.0), Stage("late: register", 7.0, 0.0)]
    stages += [Stage(f"late: cut-off 202{n}, {n} of 2", 15.0, 12.5) for n in (1, 2)]
    measured = training.rows(1_000, 140.0, training.Trained(stages, 2 * 10**9))
    rows = {row.what.partition(": ")[2]: row for row in measured}
    whole = rows["all of it, over LightGBM, %"]
    assert (whole.measured, whole.is_met) == ("33.3", False)  # 140 / 105
    fits = rows["facts to fitted curves, over LightGBM, %"]
    assert fits.measured == "28.8"  # 1 to start, 12 + 50 + 40, over 80
    assert rows["review and registry besides"].measured == "37.0 s"
    assert rows["late: cut-off"].measured == "30.0 s, 25.0 s in LightGBM"
    assert rows["peak memory, GB"].measured == "2.00"


def test_a_policy_is_backtested_on_a_ledger_whose_truth_is_known(monkeypatch, tmp_path):
    """Every variant is measured, and the policy fails the benchmark where it does not win."""
    for name, few in {"MOST_ORDERS": 60, "PAIRS": 5_000, "RESAMPLES": 20, "TREES": 5}.items():
        monkeypatch.setattr(decisions, name, few)
    kept = tmp_path / "page.md"
    won = decisions.bench(Console(quiet=True), kept, invoices=8_000)
    found = figures(kept.read_text("utf-8"))
    verdicts = {found[f"policy − {other}"][2] for other in ("accept all", "ageing rule")}
    assert won is (verdicts == {"PASS"})
    for variant in decisions.VARIANTS:
        assert f"{variant.words}: profit" in found
    hindsight, actual = (
        int(found[what][1].replace(",", "")) for what in ("hindsight: profit", "accept all: profit")
    )
    assert hindsight >= actual
    assert "margin of 1%: policy − ageing rule" in found


def test_a_variant_changes_its_part_of_the_policy_alone():
    policy = decisions.load(decisions.POLICY)
    without, same = decisions.VARIANTS[1], decisions.VARIANTS[0]
    assert decisions.changed(policy, same).model_dump() == policy.model_dump()
    free = decisions.changed(policy, without)
    assert free.lgd_rate == policy.lgd_rate
    assert (free.limit.equity, free.limit.concentration) == (None, None)
    assert {rule.when for rule in policy.blocking} - {r.when for r in free.blocking} == {
        "limit_breached"
    }
    third = decisions.changed(policy, same, lgd=0.2)
    assert float(third.lgd_rate.unsecured) == pytest.approx(0.2)
    assert float(third.lgd_rate.retention_of_title) == pytest.approx(0.4 / 3)


# --------------------------------------------------------------------------------- the service


def a_round(rate: float, p50_ms: float, p99_ms: float) -> serving.Round:
    return serving.Round(rate, np.array([p50_ms] * 97 + [p99_ms] * 3) / 1000, 0.04)


def served(name: str, start_seconds: float = 4.0) -> serving.Running:
    server = serving.Server(name, [], "/", 2, [])
    return serving.Running(server, 0, start_seconds, os.getpid())


def test_the_service_is_compared_round_by_round_with_what_ran_beside_it():
    """In the second round the machine was twice as slow for all: the ratios stay."""
    rounds = [
        [a_round(300, 20, 60), a_round(150, 40, 120)],
        [a_round(500, 15, 40), a_round(250, 30, 80)],
        [a_round(40, 200, 300), a_round(20, 400, 600)],
        [a_round(75, 100, 200), a_round(37.5, 200, 400)],
        [a_round(600, 10, 20), a_round(300, 20, 40)],
    ]
    names = ("encours serve", "bare uvicorn", "mlflow", "mlflow, 2 workers", "mlflow, no signature")
    found = {row.what: row for row in serving.rows([served(n) for n in names], rounds)}
    default = found["answers/s, encours ÷ mlflow"]
    assert (default.measured, default.is_met) == ("7.50 [7.50 to 7.50]", True)
    assert found["answers/s, encours ÷ mlflow, 2 workers"].measured == "4.00 [4.00 to 4.00]"
    assert found["answers/s, encours ÷ mlflow, no signature"].measured == "0.50 [0.50 to 0.50]"
    assert found["answers/s, encours ÷ bare uvicorn"].measured == "0.60 [0.60 to 0.60]"
    assert found["p99, encours ÷ bare uvicorn"].measured == "1.50"
    assert found["encours serve: answers/s"].measured == "225 [150 to 300]"
    assert found["encours serve: start to ready, s"].is_met
    assert float(found["encours serve: memory of a worker, RSS / PSS"].measured.split()[0]) > 50


@contextmanager
def answering(status: bytes, more: bytes = b"") -> Iterator[tuple[int, list[bytes], list[object]]]:
    """Answer on a free port; give it, what is asked there, and who connected."""
    asked, connected = [], []

    class Answers(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            connected.append(self.client_address)
            lines = []
            while line := self.rfile.readline():
                lines.append(line)
                if line == b"\r\n":
                    asked.append(b"".join(lines) + self.rfile.read(2))
                    lines = []
                    self.wfile.write(
                        b"HTTP/1.1 %s\r\n%sContent-Length: 2\r\n\r\n{}" % (status, more)
                    )
                    if more:
                        return

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 64  # of the five by default, a connection more waits a second

    with Server(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1], asked, connected
        server.shutdown()
        thread.join()


def one_request(key: str | None) -> serving.Server:
    return serving.Server("any", [], "/", 1, [serving.request("/x", {}, key)])


def test_the_load_client_keeps_its_connections_and_counts_what_is_answered():
    with answering(b"201 Created") as (port, asked, connected):
        measured = serving.load(serving.Running(one_request("secret"), port, 0.0, 0), 1.0)
    assert len(connected) == serving.CONNECTIONS
    assert measured.latencies.size == len(asked) > serving.CONNECTIONS
    assert asked[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret\r\n" in asked[0]


def test_the_load_client_connects_again_where_the_server_ends_a_connection():
    with answering(b"201 Created", b"Connection: close\r\n") as (port, asked, connected):
        measured = serving.load(serving.Running(one_request(None), port, 0.0, 0), 0.3)
    assert measured.latencies.size == len(asked) > serving.CONNECTIONS
    assert len(connected) - len(asked) <= serving.CONNECTIONS


def test_an_answer_that_is_none_fails_the_benchmark():
    with answering(b"503 Service Unavailable") as (port, asked, _):
        running = serving.Running(one_request(None), port, 0.0, 0)
        with pytest.raises(RuntimeError, match="503"):
            serving.load(running, 0.2)
    assert b"Authorization" not in asked[0]


def test_the_record_costs_an_answer_something(seller, tmp_path):
    asked = serving.orders(seller.home, 5)
    spent = stages.recording(seller.home, tmp_path / "record.db", asked)
    cost, both = stages.recording_rows(spent)
    assert 0 < float(cost.measured) < spent[0]
    assert both.measured == f"{spent[0]:.1f} / {spent[1]:.1f}"


def test_the_time_of_an_assessment_is_told_by_stages(seller, tmp_path):
    asked = serving.orders(seller.home, 3)
    spent = stages.measure(seller.home, tmp_path / "record.db", asked)
    assert {"features", "both curves", "reasons", stages.REST} < set(spent)
    told = stages.rows(spent)
    assert told[0].what == "CPU of one assessment, ms"
    assert float(told[0].measured) == pytest.approx(sum(spent.values()), abs=0.06)
    assert not hasattr(answer_path.consult, "__wrapped__")  # all is as before
