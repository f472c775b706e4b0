"""Contributions of many rows at once: what ``pred_contrib`` gives, an order of magnitude sooner.

TreeSHAP, as LightGBM does it, walks every tree for every row. But of a leaf a row only matters by
which of the features on its path lead there: with *d* of them there are 2^d cases, each worked out
once. Then a row asks which case it is, leaf by leaf, and adds up::

    leaf of value 0.30, behind  days_late > 10 (a quarter of the rows)  and  open > 0 (half of them)
    case                     days_late adds                             open adds
    both lead there          0.30 · 0.75 · (1 + 0.5) / 2  =  0.169      0.30 · 0.5 · (1 + 0.25) / 2
    only open leads there    0.30 · (−0.25) · (1 + 0.5) / 2             …

The sums are those of ``pred_contrib`` but for rounding (1e-12): a single answer, which is recorded
and checked, keeps LightGBM's own.

References
----------
Lundberg et al., 2020, "From local explanations to global understanding with explainable AI for
trees"; Yang, 2021, "Fast TreeSHAP", for the cases worked out beforehand.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from features.compiled import njit
from models.curve import TermCurve

Floats = NDArray[np.float64]
Index = NDArray[np.int64]
MOST_WORKED_OUT = 10  # features on a path: 1,024 cases of a leaf; beyond, each row is worked out
ROWS_AT_ONCE = 512  # they stay in the processor's cache while all leaves pass
TREATS_AS_MISSING = {"None": 0, "Zero": 1, "NaN": 2}
NEAR_ZERO = 1e-35  # LightGBM's kZeroThreshold
INF = float("inf")


class Leaves(NamedTuple):
    """The leaves of all trees with what leads there.

    Attributes
    ----------
    value : ndarray of float64, shape (n_leaves,)
    start : ndarray of int64, shape (n_leaves + 1,)
        Where each leaf's conditions begin; one a feature on its path.
    feature : ndarray of int64, shape (n_conditions,)
    above, upto : ndarray of float64, shape (n_conditions,)
        A row whose value lies in (above, upto] goes there, as far as this feature goes.
    takes_missing : ndarray of bool, shape (n_conditions,)
        So does one whose value is missing.
    share : ndarray of float64, shape (n_conditions,)
        Of the training rows at the splits on this feature, those that go there.
    missing : ndarray of int64, shape (n_features,)
        What each feature's splits take for missing: nothing, zero or NaN.
    case_start : ndarray of int64, shape (n_leaves,)
        Where each leaf's cases begin; −1 where they are too many to work out beforehand.
    cases : ndarray of float64
        What each feature of each case adds.
    """

    value: Floats
    start: Index
    feature: Index
    above: Floats
    upto: Floats
    takes_missing: NDArray[np.bool_]
    share: Floats
    missing: Index
    case_start: Index
    cases: Floats


class _Condition(NamedTuple):
    above: float = -INF
    upto: float = INF
    takes_missing: bool = True
    share: float = 1.0


def contributions(curve: TermCurve, X: Floats, term_days: NDArray[np.int32]) -> Floats:
    """Give what each feature adds to each row's log-odds; see :meth:`TermCurve.contributions`."""
    inputs = np.column_stack([X, term_days.astype(np.float64)])
    raw = _add_up(_leaves(curve.booster), np.ascontiguousarray(inputs.T))
    scaled: Floats = curve.calibration.slope * raw.T[:, :-1]
    return scaled


@lru_cache(maxsize=8)
def _leaves(booster: lgb.Booster) -> Leaves:
    """Lay out a booster's leaves and work out their cases, once."""
    dumped = booster.dump_model()
    missing = np.zeros(booster.num_feature(), np.int64)
    found: list[tuple[float, dict[int, _Condition]]] = []
    for tree in dumped["tree_info"]:
        _walk(tree["tree_structure"], {}, missing, found)
    conditions = [each for _, path in found for each in path.values()]
    start = np.cumsum([0, *(len(path) for _, path in found)])
    laid_out = np.array(conditions, np.float64).reshape(-1, len(_Condition._fields))
    above, upto, takes_missing, share = np.ascontiguousarray(laid_out.T)
    count = np.diff(start)
    size = np.where(count <= MOST_WORKED_OUT, count << count, 0)
    leaves = Leaves(
        value=np.array([value for value, _ in found]),
        start=start,
        feature=np.array([feature for _, path in found for feature in path], np.int64),
        above=above,
        upto=upto,
        takes_missing=takes_missing.astype(bool),
        share=share,
        missing=missing,
        case_start=np.where(count <= MOST_WORKED_OUT, np.cumsum(size) - size, -1),
        cases=np.empty(int(size.sum())),
    )
    _work_out(leaves)
    return leaves


def _walk(
    node: dict[str, Any],
    path: dict[int, _Condition],
    missing: Index,
    found: list[tuple[float, dict[int, _Condition]]],
) -> None:
    """Gather the leaves below a node, each with the conditions that lead there."""
    if "split_feature" not in node:
        found.append((node["leaf_value"], path))
        return
    if node["decision_type"] != "<=":
        raise ValueError("only numerical splits can be explained")
    feature, threshold = node["split_feature"], node["threshold"]
    missing[feature] = max(missing[feature], TREATS_AS_MISSING[node["missing_type"]])
    before = path.get(feature, _Condition())
    for side, is_left in (("left_child", True), ("right_child", False)):
        child = node[side]
        now = _Condition(
            above=before.above if is_left else max(before.above, threshold),
            upto=min(before.upto, threshold) if is_left else before.upto,
            takes_missing=before.takes_missing and node["default_left"] == is_left,
            share=before.share * (_rows(child) / node["internal_count"]),
        )
        _walk(child, {**path, feature: now}, missing, found)


def _rows(node: dict[str, Any]) -> int:
    rows: int = node["internal_count"] if "split_feature" in node else node["leaf_count"]
    return rows


@njit
def _shapley(value: float, share: Floats, leads: NDArray[np.bool_], out: Floats) -> None:
    """Divide a leaf's value among the features on its path, by Shapley's rule.

    Of the features besides one, those in a coalition count by whether they lead there, the others
    by their share: the sums over all coalitions of one size are the coefficients of a polynomial,
    that of all features divided by that one's factor.
    """
    d = share.size
    by_size, without = np.zeros(d + 1), np.empty(d)
    by_size[0] = 1.0
    for i in range(d):
        for k in range(i + 1, 0, -1):
            by_size[k] = by_size[k] * share[i] + (by_size[k - 1] if leads[i] else 0.0)
        by_size[0] *= share[i]
    for j in range(d):
        for k in range(d - 1, -1, -1):  # from above, where rounding shrinks from step to step
            if not leads[j]:
                without[k] = by_size[k] / share[j]
            elif k == d - 1:
                without[k] = by_size[d]
            else:
                without[k] = by_size[k + 1] - share[j] * without[k + 1]
        weight, total = 1.0 / d, 0.0  # k! (d − 1 − k)! / d!
        for k in range(d):
            total += weight * without[k]
            if k < d - 1:
                weight *= (k + 1) / (d - 1 - k)
        out[j] = value * total * ((1.0 if leads[j] else 0.0) - share[j])


@njit
def _work_out(leaves: Leaves) -> None:
    for leaf in range(leaves.value.size):
        first, last = leaves.start[leaf], leaves.start[leaf + 1]
        d = last - first
        if leaves.case_start[leaf] < 0:
            continue
        leads = np.empty(d, np.bool_)
        for case in range(1 << d):
            for j in range(d):
                leads[j] = (case >> j) & 1
            at = leaves.case_start[leaf] + case * d
            _shapley(leaves.value[leaf], leaves.share[first:last], leads, leaves.cases[at : at + d])


@njit
def _add_up(leaves: Leaves, inputs: Floats) -> Floats:
    """Add up every leaf's share; `inputs` and the result are of shape (n_features, n_rows)."""
    n_features, n_rows = inputs.shape
    out = np.zeros((n_features, n_rows))
    case = np.empty(ROWS_AT_ONCE, np.int64)
    for begin in range(0, n_rows, ROWS_AT_ONCE):
        end = min(n_rows, begin + ROWS_AT_ONCE)
        values, is_missing = _seen(inputs[:, begin:end], leaves.missing)
        block = np.zeros((n_features, end - begin))
        for leaf in range(leaves.value.size):
            first, last = leaves.start[leaf], leaves.start[leaf + 1]
            if leaves.case_start[leaf] < 0:
                _one_by_one(leaves, leaf, values, is_missing, block)
                continue
            case[: end - begin] = 0
            for i in range(first, last):
                _add_bit(leaves, i, 1 << (i - first), values, is_missing, case)
            for i in range(first, last):
                feature, d = leaves.feature[i], last - first
                at = leaves.case_start[leaf] + i - first
                for row in range(end - begin):
                    block[feature, row] += leaves.cases[at + case[row] * d]
        out[:, begin:end] = block
    return out


@njit
def _seen(inputs: Floats, missing: Index) -> tuple[Floats, NDArray[np.bool_]]:
    """Read values as the splits do: which are missing, and a NaN that is not is zero."""
    values = inputs.copy()
    is_missing = np.zeros(inputs.shape, np.bool_)
    for feature in range(inputs.shape[0]):
        for row in range(inputs.shape[1]):
            is_nan = np.isnan(inputs[feature, row])
            if is_nan:
                values[feature, row] = 0.0
            if missing[feature] == 2:
                is_missing[feature, row] = is_nan
            elif missing[feature] == 1:
                is_missing[feature, row] = abs(values[feature, row]) <= NEAR_ZERO
    return values, is_missing


@njit
def _add_bit(
    leaves: Leaves, i: int, bit: int, values: Floats, is_missing: NDArray[np.bool_], case: Index
) -> None:
    """Note for every row whether a condition holds."""
    feature, above, upto = leaves.feature[i], leaves.above[i], leaves.upto[i]
    takes_missing = leaves.takes_missing[i]
    for row in range(values.shape[1]):
        value = values[feature, row]
        inside = (value > above) & (value <= upto)
        holds = takes_missing if is_missing[feature, row] else inside
        case[row] += bit if holds else 0


@njit
def _one_by_one(
    leaves: Leaves, leaf: int, values: Floats, is_missing: NDArray[np.bool_], block: Floats
) -> None:
    """Work out a leaf with too many cases for every row."""
    first, last = leaves.start[leaf], leaves.start[leaf + 1]
    leads, added = np.empty(last - first, np.bool_), np.empty(last - first)
    for row in range(values.shape[1]):
        for i in range(first, last):
            value = values[leaves.feature[i], row]
            inside = (value > leaves.above[i]) & (value <= leaves.upto[i])
            missing = is_missing[leaves.feature[i], row]
            leads[i - first] = leaves.takes_missing[i] if missing else inside
        _shapley(leaves.value[leaf], leaves.share[first:last], leads, added)
        for i in range(first, last):
            block[leaves.feature[i], row] += added[i - first]
