"""A booster's margin from its text alone, in plain Python: an auditor's second opinion.

LightGBM is not imported. The text holds thresholds and leaf values to the last bit, and leaves are
added tree by tree as LightGBM adds them, so the margin is the same double. For instance a tree that
splits once, at 30 days beyond terms, with leaves −0.1 and 0.4, gives 0.4 to a customer at 45 days,
and −0.1 to one of whom nothing is known when *missing* goes left.

The format is LightGBM's own (``src/io/tree.cpp``: ``Tree::ToString`` and ``NumericalDecision``).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import add

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of a decision's type
MISSING_IS_ZERO, MISSING_IS_NAN = 1, 2  # its next two bits; 0: nothing is missing
ZERO = 1.0000000180025095e-35  # LightGBM's kZeroThreshold, 1e-35 as a 32-bit float


class UnreadableBooster(ValueError):
    """The text is no booster that this walker can follow; it says what is wrong."""


@dataclass(frozen=True)
class Tree:
    """One tree. Children ≥ 0 are nodes, negative ones leaves: −1 is leaf 0.

    Attributes
    ----------
    features : tuple of int
        Input that each node looks at.
    thresholds : tuple of float
        At most that goes left.
    decisions : tuple of int
        Where *missing* goes, see the bits above.
    left, right : tuple of int
    leaves : tuple of float
        Margins.
    """

    features: tuple[int, ...]
    thresholds: tuple[float, ...]
    decisions: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    leaves: tuple[float, ...]

    def margin(self, row: Sequence[float]) -> float:
        """Follow one row to its leaf; there are no cycles, see :func:`read`."""
        if not self.features:
            return self.leaves[0]
        node = 0
        while node >= 0:
            node = (self.left if self._goes_left(node, row) else self.right)[node]
        return self.leaves[~node]

    def margins(self, row: Sequence[float], terms: Sequence[float]) -> list[float]:
        """Follow one row to its leaves at ascending terms, which part where a node asks for them.

        `row` is without its last input, the term.
        """
        if not self.features:
            return [self.leaves[0]] * len(terms)
        found = [0.0] * len(terms)
        waiting = [(0, 0, len(terms))] if terms else []
        while waiting:
            node, a, b = waiting.pop()
            while node >= 0:
                part = b
                if self.features[node] == len(row):
                    if self.decisions[node] >> 2 & 3 == MISSING_IS_ZERO:
                        return [self.margin([*row, term]) for term in terms]
                    part = bisect_right(terms, self.thresholds[node], a, b)
                elif not self._goes_left(node, row):
                    part = a
                if a < part < b:
                    waiting.append((self.right[node], part, b))
                    b = part
                node = (self.left if part > a else self.right)[node]
            found[a:b] = [self.leaves[~node]] * (b - a)
        return found

    def _goes_left(self, node: int, row: Sequence[float]) -> bool:
        value, decision = row[self.features[node]], self.decisions[node]
        missing = decision >> 2 & 3
        if math.isnan(value) and missing != MISSING_IS_NAN:
            value = 0.0
        is_missing = (missing == MISSING_IS_NAN and math.isnan(value)) or (
            missing == MISSING_IS_ZERO and abs(value) <= ZERO
        )
        return bool(decision & DEFAULT_LEFT) if is_missing else value <= self.thresholds[node]


def margin(trees: Sequence[Tree], row: Sequence[float]) -> float:
    """Return a row's margin, the same double as LightGBM's raw score.

    Parameters
    ----------
    trees : sequence of Tree
    row : sequence of float
        The booster's inputs, the term last; NaN is missing.
    """
    total = 0.0
    for tree in trees:  # in order: math.fsum would be closer to the truth and not the same
        total += tree.margin(row)
    return total


def margins(trees: Sequence[Tree], row: Sequence[float], terms: Sequence[float]) -> list[float]:
    """Return a row's margins at ascending terms: what :func:`margin` gives at each.

    Parameters
    ----------
    trees : sequence of Tree
    row : sequence of float
        The booster's inputs without the term; NaN is missing.
    terms : sequence of float
        Values of the last input, never missing.
    """
    totals = [0.0] * len(terms)
    for tree in trees:
        totals = list(map(add, totals, tree.margins(row, terms)))
    return totals


def read(text: str) -> tuple[Tree, ...]:
    """Read the trees of a booster's text.

    Raises
    ------
    UnreadableBooster
        If a tree is not whole, runs in circles, or is of a kind that encours never trains.
    """
    trees = tuple(map(_tree, _sections(text)))
    if not trees:
        raise UnreadableBooster("the text holds no tree")
    return trees


def _sections(text: str) -> Iterator[dict[str, str]]:
    """Give each tree's lines by their names."""
    body = text.partition("\nend of trees")[0]
    for section in body.split("\nTree=")[1:]:
        lines = section.splitlines()[1:]
        yield dict(line.split("=", 1) for line in lines if "=" in line)


def _tree(lines: dict[str, str]) -> Tree:
    try:
        n_leaves, kinds = int(lines["num_leaves"]), (lines["num_cat"], lines.get("is_linear", "0"))
        leaves = tuple(map(float, lines["leaf_value"].split()))
        names = ("split_feature", "decision_type", "left_child", "right_child")
        whole = [tuple(map(int, lines.get(name, "").split())) for name in names]
        thresholds = tuple(map(float, lines.get("threshold", "").split()))
    except (KeyError, ValueError) as error:
        raise UnreadableBooster(f"a tree is not whole: {error}") from None
    if kinds != ("0", "0"):
        raise UnreadableBooster("a tree has categories or linear leaves")
    features, decisions, left, right = whole
    sizes = {len(part) for part in (features, thresholds, decisions, left, right)}
    if len(leaves) != n_leaves or sizes != {n_leaves - 1}:
        raise UnreadableBooster(f"a tree of {n_leaves} leaves lacks some of its parts")
    if n_leaves > 1 and not _reaches_each_once(left, right, n_leaves):
        raise UnreadableBooster("a tree runs in circles")
    return Tree(features, thresholds, decisions, left, right, leaves)


def _reaches_each_once(left: tuple[int, ...], right: tuple[int, ...], n_leaves: int) -> bool:
    """Tell whether every node but the root, and every leaf, is the child of one node."""
    children = sorted(left + right)
    return children == [*range(-n_leaves, 0), *range(1, n_leaves - 1)]
