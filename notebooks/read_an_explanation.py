# %% [markdown]
# # Read an explanation like an auditor
#
# A score is worth what can be checked of it. This narrative takes one default probability apart,
# adds it up again by hand, moves the facts it rests on, and damages the model's file on purpose.

# %%
import math
import tempfile
from pathlib import Path

import numpy as np

from features.history import build as build_history
from features.history import facts_of
from features.ledger import check
from features.simulator import Simulation, simulate
from models import bundle as bundles
from models.bundle import BundleError
from models.explanation import explain
from models.targets import DEFAULT_DEFINITIONS
from training.card import as_date
from training.dataset import default_dataset
from training.fit import Settings, fit
from training.reference import medians

ledger, _ = check(simulate(Simulation(invoices=20_000, years=4)).tables, "EUR")
history = build_history(facts_of(ledger))
end = int(history.invoices.known_on.max()) + 1
dataset = default_dataset(history, DEFAULT_DEFINITIONS["bureau"], end)
fitted = fit(dataset, end - 400, Settings(most_rounds=60))
print(f"The curve learned what was known before {as_date(fitted.cutoff)}: {fitted.rounds} trees")

# %% [markdown]
# ## The model is a folder of text, named after its hash

# %%
folder = Path(tempfile.mkdtemp())
reference = {"median": medians(dataset, fitted.cutoff)}
sha256 = bundles.write(folder, fitted.curve, reference, {"question": "default"})
for file in sorted((folder / sha256).iterdir()):
    print(f"{file.name:<18} {file.stat().st_size:>9,} bytes")
bundle = bundles.read(folder, sha256)
print(f"Every file has the size and the hash of the manifest, whose own hash is {sha256[:12]}…")

# %% [markdown]
# ## One customer, one horizon, four reasons

# %%
rows = np.flatnonzero(dataset.as_of == dataset.as_of.max())
probability = bundle.curve.probability(dataset.X[rows], np.full(rows.size, 365, np.int32))
row = dataset.X[rows[np.argsort(probability)[-5]]]
told = explain(bundle, row, 365, "EUR")
print(f"any customer            {told.base:+.4f}")
for reason in told.reasons:
    print(f"{reason.code:<23} {reason.contribution:+.4f}  {reason.en}")
print(f"everything else         {told.other:+.4f}")
print(f"log-odds                {told.log_odds:+.4f}  ->  {told.probability:.2%} within a year")

# %% [markdown]
# ## It adds up

# %%
by_hand = told.base + sum(reason.contribution for reason in told.reasons) + told.other
assert abs(by_hand - told.log_odds) < 1e-9
assert abs(1 / (1 + math.exp(-by_hand)) - told.probability) < 1e-12
print(f"base + reasons + other - log-odds = {by_hand - told.log_odds:.1e}")

# %% [markdown]
# ## A worse fact never lowers the probability
#
# The curve was built so for every measure to which the dictionary gives a direction.

# %%
overdue = dataset.features.index("open_longest_overdue_days")
for days in (0, 15, 30, 60, 120):
    worse = row.copy()
    worse[overdue] = days
    seen = bundle.curve.at(worse, np.array([365], np.int32))[0]
    print(f"longest overdue {days:>3} days: {seen:6.2%}")

# %% [markdown]
# ## One flipped bit

# %%
file = folder / sha256 / "booster.txt"
data = bytearray(file.read_bytes())
data[len(data) // 2] ^= 1
file.write_bytes(data)
try:
    bundles.read(folder, sha256)
except BundleError as refused:
    print(f"refused: {refused}")
