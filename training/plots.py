"""Pictures for the risk team: pure functions from arrays to the bytes of a PNG.

The same arrays give the same bytes: nothing is drawn at random that is not seeded, and a picture
carries neither a date nor the name of the library that drew it.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter
from numpy.typing import NDArray

from features.dictionary import dictionary
from models.curve import TermCurve
from models.metrics import Band, Interval, auc, bands
from models.metrics import gains as share_of_events
from training.dataset import Dataset

with warnings.catch_warnings():  # shap 0.51's own, on matplotlib 3.11
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap

mpl.use("Agg")

Floats = NDArray[np.float64]
EVENTS = {"late": "invoices paid later", "default": "customers that default"}
TERMS = {"late": "more than {} days late", "default": "default within {} days"}
HEADLINE_DAYS = {"late": 30, "default": 365}  # the term that contributions are shown at
SHOWN_FEATURES = 12
DEPENDENCES = 6
EXPLAINED_ROWS = 2_000  # dots enough to see a shape
FEWEST_BANDS, BANDS = 4, 12
DOTS_PER_INCH = 110
UNIT_WORDS = {  # beside a feature's label; what says its unit itself needs none
    "days": "days",
    "share": "0–1",
    "count": "number",
    "money": "ledger's currency",
    "ratio": "ratio",
    "date_part": "",
    "flag": "0 no, 1 yes",
    "points": "0.1 is 10 points",
    "change": "0.1 is +10 %",
}


class Asked(NamedTuple):
    """What a curve said of rows at one term, and what came of it; arrays of shape (n_rows,)."""

    term_days: int
    probability: Floats
    happened: NDArray[np.bool_]


def of_fit(
    curve: TermCurve, dataset: Dataset, rows: NDArray[np.int64], asked: Sequence[Asked]
) -> dict[str, bytes]:
    """Draw everything that one fit shows, out of time.

    Parameters
    ----------
    curve : TermCurve
    dataset : Dataset
    rows : ndarray of int64
        Rows from the cut-off on: some of them are taken apart.
    asked : sequence of Asked
        What the curve said of those with a known outcome, a term each.

    Returns
    -------
    dict of str to bytes
        Pictures by file name; empty while no outcome is known.
    """
    if not asked:
        return {}
    name = dataset.question.name
    explained = explain(curve, dataset.X[_some(rows)], HEADLINE_DAYS[name])
    pictures = {
        "plots/reliability.png": reliability(name, asked),
        "plots/gains.png": gains(name, asked),
        "plots/shap_beeswarm.png": beeswarm(explained, name),
    }
    for place, feature in enumerate(_strongest(explained)[:DEPENDENCES], start=1):
        file = f"plots/shap_dependence_{place}_{curve.features[feature]}.png"
        pictures[file] = dependence(explained, feature)
    return pictures


def reliability(question: str, asked: Sequence[Asked]) -> bytes:
    """Draw what was said against what was seen, a panel a term, with the counts.

    Each point is a band of as many rows; its bar is the 95 % interval of a rate seen on so many
    rows (Wilson), too narrow where one customer has many of them. Both axes are logarithmic: most
    rows lie near 0. A band without any event is a triangle at the bottom.
    """

    def draw(panel: Axes, one: Asked) -> None:
        events = int(one.happened.sum())
        table = bands(one.happened, one.probability, max(FEWEST_BANDS, min(BANDS, events // 10)))
        said, seen = np.array([b.said for b in table]), np.array([b.seen for b in table])
        low, high = _wilson(table)
        bottom = max(min(said.min(), seen[seen > 0].min(initial=1.0)) / 2, 1e-4)
        is_zero = seen == 0
        panel.plot([bottom, 1], [bottom, 1], color="0.6", linestyle="--", linewidth=1)
        panel.vlines(said, np.maximum(low, bottom), high, color="C0", linewidth=1.5)
        panel.plot(said[~is_zero], seen[~is_zero], "o", color="C0", markersize=5)
        panel.plot(said[is_zero], np.full(is_zero.sum(), bottom * 1.1), "v", color="C0")
        panel.set(xscale="log", yscale="log", xlim=(bottom, 1.05), ylim=(bottom, 1.05))
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
            axis.set_major_formatter(lambda rate, _: f"{100 * rate:g}")
        panel.minorticks_off()
        panel.tick_params(axis="x", labelsize=8, rotation=45)
        panel.tick_params(axis="y", labelsize=8)
        panel.set_title(
            f"{TERMS[question].format(one.term_days)}: {one.happened.size:,} rows,\n"
            f"{events:,} events, {len(table)} bands of about {table[0].rows:,}",
            fontsize=10,
        )

    figure = _panels(asked, draw, "probability said (%)", f"{EVENTS[question]} (%)")
    figure.suptitle(f"Said and seen out of time ({question} curve); dashed: perfect; bars: 95 %")
    return _png(figure)


def gains(question: str, asked: Sequence[Asked]) -> bytes:
    """Draw which share of the events the riskiest rows hold, a line a term."""
    figure, panel = _one_panel(7, 5)
    shares = np.linspace(0, 1, 201)
    for one in asked:
        if one.happened.any():
            captured = share_of_events(one.happened, one.probability, shares)
            label = f"{TERMS[question].format(one.term_days)}, AUC {_auc(one)}"
            panel.plot(shares, captured, label=label)
    panel.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="drawn at random")
    panel.set(
        xlabel="rows taken, the riskiest first (% of all)",
        ylabel=f"{EVENTS[question]} among them (% of all)",
        title=f"Gains out of time ({question} curve)",
        xlim=(0, 1),
        ylim=(0, 1.01),
    )
    panel.xaxis.set_major_formatter(PercentFormatter(1))
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.legend(loc="lower right", fontsize=9)
    return _png(figure)


def walk_forward(
    question: str, cutoffs: Sequence[date], auc: Mapping[int, Sequence[Interval]]
) -> bytes:
    """Draw the AUC at each cut-off with its interval, a line a term.

    Parameters
    ----------
    question : str
    cutoffs : sequence of date
    auc : mapping of int to sequence of Interval
        By term, one a cut-off; NaN where nothing was measured.
    """
    figure, panel = _one_panel(8, 4.5)
    place = np.arange(len(cutoffs))
    for number, (term_days, measured) in enumerate(auc.items()):
        value, low, high = (np.array(column, float) for column in zip(*measured, strict=True))
        aside = place + (number - (len(auc) - 1) / 2) * 0.08  # bars beside, not on, each other
        bars = [np.maximum(value - low, 0), np.maximum(high - value, 0)]
        label = TERMS[question].format(term_days)
        panel.errorbar(aside, value, bars, marker="o", markersize=4, capsize=2, label=label)
    panel.set(
        xlabel="cut-off: trained on what was known before this day",
        ylabel="AUC on the time after it (0.5 is chance)",
        title=f"Walk forward, intervals of 95 % by customer ({question} curve)",
    )
    panel.set_xticks(place, [str(day) for day in cutoffs], rotation=30, ha="right")
    panel.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return _png(figure)


def explain(curve: TermCurve, X: Floats, term_days: int) -> shap.Explanation:
    """Give the contributions of rows, shape (n_rows, n_features), in calibrated log-odds.

    The term's own contribution belongs to the base. Names are the dictionary's words.
    """
    term = np.full(X.shape[0], term_days, np.int32)
    raw = np.asarray(
        curve.booster.predict(
            np.column_stack([X, term]), pred_contrib=True, num_threads=curve.threads
        )
    )
    scaled = curve.calibration.slope * raw
    base = scaled[:, -1] + scaled[:, -2] + curve.calibration.offset(term)
    names = [label(feature) for feature in curve.features]
    return shap.Explanation(scaled[:, :-2], base, X, feature_names=names)


def beeswarm(explained: shap.Explanation, question: str) -> bytes:
    """Draw each row's contributions of the strongest features, coloured by the feature's value."""
    figure, panel = _one_panel(11, 7)
    with _seeded():
        shap.plots.beeswarm(
            explained,
            max_display=SHOWN_FEATURES,
            ax=panel,
            show=False,
            plot_size=None,
            color_bar_label="value of the feature (grey: missing)",
            group_remaining_features=False,
        )
    panel.set_xlabel("contribution to the log-odds (right is riskier)")
    term = TERMS[question].format(HEADLINE_DAYS[question])
    panel.set_title(f"What moves the {question} curve: {term}, {len(explained):,} rows")
    panel.set_yticks(panel.get_yticks(), [_wrapped(t.get_text()) for t in panel.get_yticklabels()])
    return _png(figure)


def dependence(explained: shap.Explanation, feature: int) -> bytes:
    """Draw one feature's contribution against its value, with how often each value occurs."""
    figure, panel = _one_panel(7, 4.5)
    with _seeded():
        shap.plots.scatter(explained[:, feature], ax=panel, show=False, dot_size=8, alpha=0.5)
    panel.set_xlabel(explained.feature_names[feature])
    panel.set_ylabel("contribution to the log-odds\n(up is riskier)")
    missing = int(np.isnan(explained.data[:, feature]).sum())
    panel.set_title(f"{missing:,} of {len(explained):,} rows have no value", fontsize=9)
    return _png(figure)


def label(feature: str) -> str:
    """Name a feature in words, with its unit.

    >>> label("open_longest_overdue_days")
    'Longest overdue (days)'
    """
    entry = dictionary()[feature]
    unit = UNIT_WORDS[entry.unit]
    return f"{entry.words['en'].label} ({unit})" if unit else entry.words["en"].label


def _auc(one: Asked) -> str:
    value = auc(one.happened, one.probability)
    return f"{value:.3f}" if value == value else "–"


def _wilson(table: list[Band]) -> tuple[Floats, Floats]:
    """Give the 95 % interval of each band's rate (Wilson 1927)."""
    n = np.array([band.rows for band in table], float)
    rate, z = np.array([band.seen for band in table]), 1.96
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return middle - half, middle + half


def _strongest(explained: shap.Explanation) -> list[int]:
    size = np.abs(explained.values).mean(axis=0)
    order = np.argsort(-size, kind="stable")
    return [int(feature) for feature in order if size[feature] > 0]


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take rows evenly, at most as many as a picture needs."""
    return rows[:: max(1, -(-rows.size // EXPLAINED_ROWS))]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 42)


def _one_panel(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _panels(
    asked: Sequence[Asked], draw: Callable[[Axes, Asked], None], xlabel: str, ylabel: str
) -> Figure:
    """Draw one panel a term, three in a row."""
    columns = min(3, len(asked))
    rows = -(-len(asked) // columns)
    figure = Figure(figsize=(3.8 * columns, 3.8 * rows + 0.4), layout="constrained")
    for place, one in enumerate(asked, start=1):
        panel = figure.add_subplot(rows, columns, place)
        draw(panel, one)
        panel.set(xlabel=xlabel, ylabel=ylabel)
    return figure


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed NumPy's global generator, from which shap takes its jitter, and put it back."""
    before = np.random.get_state()  # noqa: NPY002 (shap takes no generator)
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _png(figure: Figure) -> bytes:
    """Draw a figure once; ``savefig`` would do it twice, the first time to lay it out."""
    picture = io.BytesIO()
    figure.set_dpi(DOTS_PER_INCH)
    FigureCanvasAgg(figure).print_png(picture, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return picture.getvalue()
