# %% [markdown]
# # Train a curve and compare it
#
# A late curve is fitted with what was known at a cut-off, then asked about the time since, beside a
# scorecard and the rule a credit manager uses today. `encours train` does all of this, and more, on
# the whole ledger, and registers the result in MLflow.

# %%
import numpy as np
import pandas as pd

from features.history import build as build_history
from features.history import facts_of
from features.ledger import check
from features.simulator import Simulation, simulate
from training.card import as_date
from training.dataset import late_dataset
from training.evaluate import evaluate
from training.fit import Settings, fit
from training.scorecard import fit_scorecard
from training.segments import segments
from training.walk_forward import walk_forward

ledger, _ = check(simulate(Simulation(invoices=8_000, years=4)).tables, "EUR")
history = build_history(facts_of(ledger))
end = int(history.invoices.known_on.max()) + 1
cutoff = end - 200
dataset = late_dataset(history)
print(f"{dataset.X.shape[0]:,} invoices described by {dataset.X.shape[1]} features")
print(f"learned: what was known before {as_date(cutoff)}; measured: since, to {as_date(end)}")

# %% [markdown]
# ## Fit
#
# An outcome teaches only once it is sure at the cut-off, paid or not.

# %%
quick = Settings(most_rounds=80, pairs_per_row=4)
fitted = fit(dataset, cutoff, quick)
print(f"{fitted.rounds} trees from {fitted.training_pairs:,} pairs of an invoice and a term")
print(f"log-odds = {fitted.curve.calibration.slope:.2f} x margin + b(term)")

# %% [markdown]
# ## Measure, beside what it must beat
#
# *above* is by how much its AUC is higher, on the same draws of customers.

# %%
kinds = segments(dataset, history, cutoff)
evaluation = evaluate(fitted.curve, dataset, cutoff, end, kinds, resamples=100)
for term, measured in evaluation.terms.items():
    scorecard, rule = measured.challengers["scorecard"], measured.challengers["rule"]
    q = measured.quality
    print(f"> {term:>2} days: AUC {q.auc}, said {q.predicted_rate:.1%}, seen {q.observed_rate:.1%}")
    print(f"           above the scorecard {scorecard.gap}, above the rule {rule.gap}")

# %% [markdown]
# ## Where is it weaker?

# %%
for label, measured in evaluation.segments["size"].items():
    print(f"{label:<8} {measured.quality.rows:>6,} invoices, AUC {measured.quality.auc}")

# %% [markdown]
# ## Was it good all along?

# %%
steps = walk_forward(dataset, end, 3, quick, resamples=50)
shown = ["cutoff", "rows", "events", "auc", "said", "seen", "scorecard_auc", "rule_auc"]
print(steps.loc[steps["term_days"] == 15, shown].round(3).to_string(index=False))

# %% [markdown]
# ## What a scorecard looks like

# %%
card = fit_scorecard(dataset, 15, cutoff).table()
with pd.option_context("display.width", 120, "display.max_colwidth", 40):
    print(card.head(12).round(2).to_string(index=False))

# %% [markdown]
# ## One invoice, at any term

# %%
row = dataset.X[dataset.between(cutoff, end)[0]]
terms = np.array([-5, 0, 5, 15, 30, 60], np.int32)
for term, probability in zip(terms, fitted.curve.at(row, terms), strict=True):
    print(f"paid more than {term:>3} days late: {probability:6.1%}")
