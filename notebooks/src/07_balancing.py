# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] lang="en"
# # Balancing: who sits with whom
#
# nginx decides which Daphne a new WebSocket meets. It knows several ways:
#
# | method | nginx gives a new socket to … |
# |---|---|
# | `round_robin` | the next instance in turn |
# | `least_conn` | the one that holds the fewest sockets |
# | `ip_hash` | the one that the client's network (the first three numbers of its address) always gets |
# | `hash` | the one that this *room* always gets |
# | `random_two` | the less busy of two that it draws |

# %%
import matplotlib.pyplot as plt

from stacklab import lesson, notebook, study
from stacklab.bench import balancing
from stacklab.study import plots

lab = lesson.begin("07_balancing", "en", chats=True)

# %% tags=["parameters"]
# True: a fifth of the clients, ten seconds, one repeat. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# **Which method spreads the sockets most evenly? And is that the one that delivers fastest and cheapest?**
#
# One more case is in the plan: `ip_hash`, when all clients come from one network, as a class behind one router does.
#
# ## Your prediction

# %%
my_prediction = {"most even": None, "fastest": None, "least CPU": None}  # names from the table above
lab.predict("balancing", my_prediction, choices=["round_robin", "least_conn", "ip_hash", "hash", "random_two"])

# %% [markdown] lang="en"
# ## The change
#
# A method is one line of nginx's configuration. Here is the change to `hash` and what nginx does with it:

# %%
lab.set(balance="hash")

# %% [markdown] lang="en"
# Did any Daphne restart? Who took the change up? Sockets that are open now stay where they are: only *new* ones meet
# the new method.
#
# ## Measure
#
# The clients come from many networks (each a `/24`, as far as this lab has them), so that `ip_hash` has something to tell apart.

# %%
runs = lab.experiment(balancing(quick=QUICK))
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## Who met whom?
#
# The share of the sockets that each instance was given. This is what the instances' access logs would show.

# %%
plots.access_log_share(study.connections(runs));

# %% [markdown] lang="en"
# *Even* would be a third each. How near does each method come? Which instances met nobody?

# %%
notebook.table(summary[["point", "clients_connected", "busiest_share", "instances_silent", "disconnects", "valid"]])

# %% [markdown] lang="en"
# ## Did the messages arrive, and how fast?

# %%
plots.delivered_by_point(summary);

# %%
plots.messages_latency_by_point(summary);

# %% [markdown] lang="en"
# ## What did it cost?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4), layout="constrained")
plots.daphne_cost_by_point(summary, left)
plots.daphne_cost_by_point(summary, right, metric="pss_peak_bytes_daphne");

# %% [markdown] lang="en"
# ## Why?
#
# On how many instances are the members of one room, and what share of the deliveries had to cross from one instance to another?

# %%
notebook.table(study.crossings(runs))

# %% [markdown] lang="en"
# Set this table beside the CPU. And your predictions beside what came out, this time:

# %%
columns = {"most even": "busiest_share", "fastest": "latency_p50_s", "least CPU": "cpu_s_daphne_per_1000_deliveries"}
means = summary.groupby("point")[list(columns.values())].mean().drop(index="ip_hash, one /24", errors="ignore")
lab.score("balancing", {what: means[column].idxmin() for what, column in columns.items()})

# %% [markdown] lang="en"
# *Even* is a virtue among strangers. In a chat, people are not strangers: they come in rooms.
#
# ## The verdict
#
# Two claims about the spread: it is even (C11), and no instance stays without sockets (C12). If you have measured
# the full experiment (`fab experiment balancing`), we use its runs.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))

# %%
lab.conclude("C11", judged)
lab.conclude("C12", judged)

# %% [markdown] lang="en"
# And each method's CPU against round robin. An interval that meets the line detects nothing; no bar means too few sound repeats.

# %%
effects = study.compare(judged, "cpu_s_daphne_per_1000_deliveries", base="round_robin")
plots.comparison(effects);

# %% [markdown] lang="en"
# ## What we have seen
#
# - A balancing method answers two questions at once: how *even* is the spread, and who sits *together*. They can
#   pull in different directions.
# - What the method should look at depends on the work: for pages any instance is as good as another, for rooms it is not.
# - A method that looks at addresses is only as good as the addresses are. Look at the row *ip_hash, one /24*.
#
# Now put the settings back as you found them.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# 1. Set `nginx_worker_processes=2` and `balance_zone=False`, balance with `least_conn`, and run
#    `lab.chat(clients=60, rooms=6, duration_s=10)`. Then with `balance_zone=True`. What does each nginx worker know of the other?
# 2. With `hash`, make the rooms unequal: `lab.chat(clients=60, rooms=2)`. Look at `access_log_share`. What is the price of keeping a room together?
# 3. `fab experiment channel-layers` compares ways to carry messages between the instances. Which balancing method
#    makes this choice matter least?
# 4. A real site stands behind another proxy, and every connection comes from *its* address. What does that do to `ip_hash`?
#
# <details><summary>Answer 1</summary>
#
# Without a zone each nginx worker counts only the sockets that it passed on itself. "Fewest" is then "fewest that I know of". With a
# zone they share the counts.
# </details>
#
# <details><summary>Answer 2</summary>
#
# Two rooms can be on two instances at most, so one has nothing to do. Rooms of very different size make it worse.
# Affinity is bought with unevenness.
# </details>
#
# <details><summary>Answer 3</summary>
#
# The one in which the fewest messages cross. What stays on one instance hardly needs a channel layer, though it still passes through it.
# </details>
#
# <details><summary>Answer 4</summary>
#
# All clients look like one network, as in the case *one /24*. nginx must then be told whose word on the client's
# address to believe (`set_real_ip_from`).
# </details>
