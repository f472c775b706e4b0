# %% [markdown]
# # Explore a ledger
#
# Open it in an editor that knows `# %%` cells, or run it as a program. It simulates a small ledger;
# for your own, replace the cell after this one by `features.importers.tabular.read(file, mapping)`.
# Every figure is what the ledger shows, nothing is predicted yet.

# %%
import numpy as np
import pandas as pd

from features.build import CUSTOMER_FEATURES, build, customer_spine
from features.history import build as build_history
from features.history import facts_of
from features.ledger import check
from features.simulator import Simulation, simulate
from models.targets import DEFAULT_DEFINITIONS, days_late_known_at, find_defaults

ledger, rejects = check(simulate(Simulation(invoices=5_000, years=3)).tables, "EUR")
history = build_history(facts_of(ledger))
invoices = history.invoices
last_day = int(invoices.known_on.max())
print(f"{ledger.rows:,} facts, {len(rejects)} put aside, {history.customers.size} customers")
print(f"{np.datetime64(history.observed_from, 'D')} to {np.datetime64(last_day, 'D')}")

# %% [markdown]
# ## How late are invoices paid?
#
# Days from the due date to the payment in full, as known on the last day. Infinite: not paid yet.
# Missing: a credit note closed the invoice or it was disputed, which says nothing of the payer.

# %%
days_late = days_late_known_at(history, last_day + 1)
fell_due = (invoices.due_on + 60 <= last_day) & ~np.isnan(days_late)
for term in (0, 5, 15, 30, 60):
    print(f"more than {term:>2} days late: {(days_late[fell_due] > term).mean():6.1%}")

# %% [markdown]
# ## Who owes most?
#
# One customer can be a quarter of the turnover: intervals in this project resample customers.

# %%
everyone = np.arange(history.customers.size)
at_the_end = np.full(everyone.size, last_day + 1, np.int32)
X = pd.DataFrame(
    build(history, customer_spine(everyone, at_the_end)),
    columns=CUSTOMER_FEATURES,
    index=history.customers,
)
shown = ["open_exposure", "open_overdue_rate", "open_longest_overdue_days", "year_mean_days_late"]
largest = X.sort_values("open_exposure", ascending=False)
print(largest[shown].head(5).round(2).to_string())
share = largest["open_exposure"].head(5).sum() / X["open_exposure"].sum()
print(f"The five largest owe {share:.0%} of {X['open_exposure'].sum():,.0f} EUR")

# %% [markdown]
# ## Who defaulted?
#
# By each definition of a default: 90 days past due on a tenth of the exposure, or an insolvency…

# %%
for name, definition in DEFAULT_DEFINITIONS.items():
    defaults = find_defaults(history, definition)
    customers = int((np.diff(defaults.start) > 0).sum())
    print(f"{name:>8}: {defaults.began_on.size} spells of {customers} customers")

# %% [markdown]
# ## One customer, month by month
#
# Each row uses only what was known before its date.

# %%
regular = X["settled_365_invoices"] >= 10
latest = int(np.flatnonzero(X["recent_late_rate"] == X["recent_late_rate"][regular].max())[0])
print(f"{history.customers[latest]}: {X['recent_late_rate'].iloc[latest]:.0%} of its latest late")
months = np.arange(last_day - 360, last_day + 1, 60, dtype=np.int32)
seen = build(history, customer_spine(np.full(months.size, latest), months))
shown = ["settled_90_days_beyond_terms", "open_longest_overdue_days", "open_overdue_rate"]
table = pd.DataFrame(seen, columns=CUSTOMER_FEATURES, index=months.astype("datetime64[D]"))
print(table[shown].round(2).to_string())
