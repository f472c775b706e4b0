"""The trees of a booster as plain arrays, walked for one row at all terms at once.

The terms of one row differ in the booster's last input only, so each tree is walked once: where it
asks for the term the terms part, and elsewhere they go together. A tree that asks for it nowhere on
the row's way is one step a level for 151 terms. LightGBM itself walks each term for itself: 0.97 ms
instead of 0.03 ms for 257 trees. The sums are added tree by tree as LightGBM adds them, so that
they are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compiled import njit

Floats = NDArray[np.float64]
DEFAULT_LEFT = 2  # bits of LightGBM's decision_type
MISSING_TYPE, MISSING_IS_ZERO, MISSING_IS_NAN = 12, 4, 8
DEEPEST = 256  # branches that wait while others are walked: fewer than a tree has levels


class Trees(NamedTuple):
    """All the trees of a booster, one after the other.

    Attributes
    ----------
    start, leaf_start : ndarray of int64, shape (n_trees + 1,)
        Each tree's slice of the nodes, and of the leaves.
    feature : ndarray of int32, shape (n_nodes,)
        What a node asks for.
    threshold : ndarray of float64, shape (n_nodes,)
        Values up to it go left.
    left, right : ndarray of int32, shape (n_nodes,)
        A node of the same tree, or the leaf −1 − n.
    is_missing_left : ndarray of bool, shape (n_nodes,)
        Where a missing value goes.
    leaf : ndarray of float64, shape (n_leaves,)
        Margins.
    """

    start: NDArray[np.int64]
    leaf_start: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: Floats
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    is_missing_left: NDArray[np.bool_]
    leaf: Floats

    def margins(self, row: Floats, terms: Floats) -> Floats:
        """Add up the trees.

        Parameters
        ----------
        row : ndarray of float64, shape (n_features,)
            NaN is missing.
        terms : ndarray of float64, shape (n_terms,)
            Values of the booster's last input, in any order.

        Returns
        -------
        ndarray of float64, shape (n_terms,)
        """
        order = np.argsort(terms, kind="stable")
        margins = np.empty(terms.size)
        margins[order] = _margins(self, row, terms[order])
        return margins


def read(text: str) -> Trees | None:
    """Read LightGBM's text of a booster; ``None`` where its trees do more than compare numbers."""
    parts = [_lines(part) for part in text.partition("end of trees")[0].split("\nTree=")[1:]]
    nodes = [_Nodes.of(part) for part in parts]
    if not nodes or not all(part["num_cat"] == "0" == part["is_linear"] for part in parts):
        return None
    kinds = np.concatenate([one.decision_type for one in nodes])
    if ((kinds & MISSING_TYPE) == MISSING_IS_ZERO).any():
        return None
    return Trees(
        start=_starts(one.feature.size for one in nodes),
        leaf_start=_starts(one.leaf.size for one in nodes),
        feature=np.concatenate([one.feature for one in nodes]),
        threshold=np.concatenate([one.threshold for one in nodes]),
        left=np.concatenate([one.left for one in nodes]),
        right=np.concatenate([one.right for one in nodes]),
        is_missing_left=_missing_left(kinds, np.concatenate([one.threshold for one in nodes])),
        leaf=np.concatenate([one.leaf for one in nodes]),
    )


class _Nodes(NamedTuple):
    """One tree, as :class:`Trees` has them all."""

    feature: NDArray[np.int32]
    threshold: Floats
    decision_type: NDArray[np.int32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    leaf: Floats

    @classmethod
    def of(cls, lines: dict[str, str]) -> _Nodes:
        return cls(
            _numbers(lines["split_feature"], np.int32),
            _numbers(lines["threshold"], np.float64),
            _numbers(lines["decision_type"], np.int32),
            _numbers(lines["left_child"], np.int32),
            _numbers(lines["right_child"], np.int32),
            _numbers(lines["leaf_value"], np.float64),
        )


def _lines(part: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in part.splitlines())
    return {name: value for name, _, value in pairs}


def _numbers(text: str, dtype: type) -> NDArray[Any]:
    return np.array(text.split(), dtype)


def _starts(sizes: Iterable[int]) -> NDArray[np.int64]:
    return np.array([0, *accumulate(sizes)], np.int64)


def _missing_left(decision_type: NDArray[np.int32], threshold: Floats) -> NDArray[np.bool_]:
    """Say where a missing value goes; a node that saw none in training takes it for 0."""
    goes_left: NDArray[np.bool_] = np.where(
        (decision_type & MISSING_TYPE) == MISSING_IS_NAN,
        (decision_type & DEFAULT_LEFT) != 0,
        threshold >= 0,
    )
    return goes_left


@njit
def _margins(trees: Trees, row: Floats, terms: Floats) -> Floats:
    """Add up the trees at ascending terms."""
    margins = np.zeros(terms.size)
    waiting = np.empty((DEEPEST, 3), np.int64)  # node, first of its terms, their end
    for tree in range(trees.start.size - 1):
        first, leaves = trees.start[tree], trees.leaf_start[tree]
        node, a, b = np.int64(0), np.int64(0), np.int64(terms.size)
        if trees.start[tree + 1] == first:  # one leaf
            node = np.int64(-1)
        n = 0
        while True:
            while node >= 0:
                i = first + node
                left, right, asked = trees.left[i], trees.right[i], trees.feature[i]
                if asked == row.size:
                    end = a
                    while end < b and terms[end] <= trees.threshold[i]:
                        end += 1
                    if a < end < b:
                        waiting[n, 0], waiting[n, 1], waiting[n, 2] = right, end, b
                        n += 1
                        b = end
                    node = np.int64(left if end > a else right)
                elif np.isnan(row[asked]):
                    node = np.int64(left if trees.is_missing_left[i] else right)
                else:
                    node = np.int64(left if row[asked] <= trees.threshold[i] else right)
            margins[a:b] += trees.leaf[leaves - 1 - node]
            if n == 0:
                break
            n -= 1
            node, a, b = waiting[n, 0], waiting[n, 1], waiting[n, 2]
    return margins
