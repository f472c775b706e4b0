# %% [markdown]
# # One customer, from invoices to features
#
# Open it in an editor that knows `# %%` cells, or run it as a program.
# It simulates a small ledger, picks the customer most often paid late, and shows how a few
# features saw it month by month: each column uses only what was known before its date.

# %%
import numpy as np
import pandas as pd

from features.build import CUSTOMER_FEATURES, build, customer_spine
from features.history import build as build_history
from features.history import facts_of
from features.ledger import check
from features.simulator import Simulation, simulate

ledger, rejects = check(simulate(Simulation(invoices=5_000, years=3)).tables, "EUR")
history = build_history(facts_of(ledger))
print(f"{ledger.rows:,} facts, {len(rejects)} put aside, {history.customers.size} customers")

# %% [markdown]
# ## Who pays late most often?

# %%
last_day = int(history.invoices.known_on.max())
everyone = np.arange(history.customers.size)
at_the_end = np.full(everyone.size, last_day, np.int32)
X = pd.DataFrame(build(history, customer_spine(everyone, at_the_end)), columns=CUSTOMER_FEATURES)
regular = X["settled_365_invoices"] >= 10
latest = int(X["recent_late_rate"].where(regular).idxmax())
print(f"{history.customers[latest]}: {X['recent_late_rate'][latest]:.0%} of its invoices late")

# %% [markdown]
# ## How the features saw it, month by month

# %%
months = np.arange(last_day - 360, last_day + 1, 60, dtype=np.int32)
seen = build(history, customer_spine(np.full(months.size, latest), months))
shown = ["settled_90_days_beyond_terms", "open_longest_overdue_days", "open_overdue_rate"]
table = pd.DataFrame(seen, columns=CUSTOMER_FEATURES, index=months.astype("datetime64[D]"))
print(table[shown].round(2).to_string())
