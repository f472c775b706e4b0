"""The page's rows of the portfolio: what is met, and what a shared machine does not hide."""

from __future__ import annotations

from benchmarks.portfolio import Job, Sampled, _compared, rows

SAMPLED = Sampled(2_500.0, 500.0, 50.0, 1e-15, True)


def verdicts(job: Job, sampled: Sampled = SAMPLED) -> dict[str, bool | None]:
    return {
        row.what.partition(": ")[2] or row.what: row.is_met for row in rows((9, 9), job, sampled)
    }


def test_two_thousand_a_second_are_met_by_the_clock():
    job = Job(seconds=50.0, cpu_seconds=60.0, peak_bytes=10**9, rows=100_000, explained=90_000)
    assert verdicts(job)["scored with reasons, a second, 2 cores"] is True
    assert verdicts(job._replace(seconds=50.1))["scored with reasons, a second, 2 cores"] is False


def test_reasons_that_differ_fail():
    job = Job(50.0, 60.0, 10**9, 100_000, 90_000)
    apart = verdicts(job, SAMPLED._replace(difference=1e-8))
    assert apart["contributions beside pred_contrib, largest difference"] is False
    other = verdicts(job, SAMPLED._replace(same_codes=False))
    assert other["codes and all else beside pred_contrib"] is False


def test_what_is_compared_is_all_but_rounding():
    one = {"grade": "A", "reason_1": "X", "contribution_1": 0.5}
    assert _compared([one], [{**one, "contribution_1": 0.75}]) == (0.25, True)
    assert _compared([one], [{**one, "reason_1": "Y"}]) == (0.0, False)
    assert _compared([one], [{**one, "contribution_1": None}]) == (0.0, False)
