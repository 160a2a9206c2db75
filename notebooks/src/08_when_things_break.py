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
# # Failover: when an instance dies
#
# Three instances share the sockets. One of them is killed, without a warning: `kill -9`, as the kernel does when
# memory runs out. Its clients see their connection break and connect again, with a little patience between attempts.

# %%
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.bench import failover, scaling
from stacklab.study import plots

lab = lesson.begin("08_when_things_break", "en", chats=True)

# %% tags=["parameters"]
# True: a fifth of the clients, 15 or 20 seconds, one repeat. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# **How long are the clients of the dead instance away? How many messages are lost, and for whom?
# What do the clients of the other two feel?**
#
# A message can be lost in two ways. The receiver was *away* when it was sent; or the receiver was *there* all the time,
# and it was lost all the same, on the way through the instance that died. We count them apart.
#
# ## Your prediction

# %%
my_prediction = {"seconds away": None, "lost, receiver away": None, "lost, receiver there": None}
lab.predict("a death", my_prediction)

# %% [markdown] lang="en"
# ## One death by hand
#
# Before the measurement, look at it once. We kill an instance and ask systemd what became of it.

# %%
look = "systemctl show daphne@2 --property=MainPID,NRestarts,ActiveState"
lab.shell(look)

# %%
lab.shell("systemctl kill --signal=KILL daphne@2")
lab.shell(f"sleep 5; {look}; journalctl -u daphne@2 -n 6 --no-pager -o cat")

# %% [markdown] lang="en"
# Compare the pid and the number of restarts. Who started it again?
#
# ## Measure
#
# Now under load. With `chat_resume` the rooms' history is kept in Redis, and a client that comes back asks for what it missed.

# %%
runs = lab.experiment(failover(quick=QUICK))
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## The course of one death
#
# The areas are clients connected to each instance. The bars, if there are any, are deliveries lost in each second (scale on
# the right). The dashed line is the kill. Find the hole, and find where its clients went.

# %%
first = next(run for run in runs if run.point == "hash")
plots.failover_timeline(study.connections([first]), study.messages([first]), events=study.events([first]));

# %% [markdown] lang="en"
# The same, with `chat_resume`, if the chat has it (the lab's own does):

# %%
for second in (run for run in runs if run.point == "hash, chat_resume"):
    plots.failover_timeline(study.connections([second]), study.messages([second]), events=study.events([second]))

# %% [markdown] lang="en"
# ## In numbers
#
# *Away* counts from the end of a socket to the moment its client is connected again.

# %%
columns = ["point", "disconnects", "away_p50_s", "away_max_s", "deliveries", "lost", "lost_while_away", "valid"]
notebook.table(summary[columns])

# %% [markdown] lang="en"
# Your prediction beside the case `hash`, without `chat_resume`, in the mean of its repeats:

# %%
stock = summary[summary["point"] == "hash"]
columns = {"seconds away": "away_max_s", "lost, receiver away": "lost_while_away", "lost, receiver there": "lost"}
lab.score("a death", {what: stock[column].mean() for what, column in columns.items()})

# %% [markdown] lang="en"
# ## What do the others feel?
#
# The clients who never sat on the killed instance, before the kill and in the five seconds after it:

# %%
killed_s = study.events([first])["t_s"].iloc[0]
rows = study.messages([first])
hit = rows.loc[rows["instance"] == "daphne@2", "receiver"]
others = rows[~rows["receiver"].isin(hit)]
when = pd.cut(others["t_s"], [0, killed_s, killed_s + 5], labels=["before", "five seconds after"]).rename("when")
latency = others.groupby(when, observed=True)["latency_s"].agg(latency_p50_s="median", latency_max_s="max")
notebook.table(latency.reset_index())

# %% [markdown] lang="en"
# ## Going on purpose
#
# An instance that is *told* to stop need not behave better than one that is killed: Daphne drops its sockets in either case,
# and their clients cannot tell the one from the other. With `daphne_drain_s` it takes no new sockets, gives the open ones some
# seconds, tells their clients to come again (close code 1012), and goes. Here one instance becomes three under load, and then
# one again. **Predict:** in which case is more lost?

# %%
scaled = lab.experiment(scaling(quick=QUICK))

# %%
first = next(run for run in scaled if run.point == "as it is")
plots.failover_timeline(study.connections([first]), study.messages([first]), events=study.events([first]));

# %%
summary = study.in_order(study.summarize(scaled))
notebook.table(summary[columns])

# %% [markdown] lang="en"
# ## What we have seen
#
# - Somebody must start a dead instance again (systemd), somebody must stop sending clients to it (nginx), and the clients
#   must come back by themselves. Which of the three did your clients wait for?
# - Channels delivers a message **at most once**. What was sent while you were away is gone, unless somebody keeps it.
#   `chat_resume` keeps it; compare `lost` and `lost_while_away` in the tables.
# - "Lost" is not one number. *Receiver there* (`lost`) and *receiver away* (`lost_while_away`) have different causes and
#   different cures.
# - Is stopping on purpose better than dying? Compare `away_max_s` and the losses of the cases, and think of what a client is told.
#
# Now put the settings back as you found them.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# 1. `fab experiment failover` at full size also kills an instance under `round_robin`. Where do the clients go then,
#    and who loses messages: one room, or every room?
# 2. nginx passes over an instance for `balance_fail_timeout_s` after `balance_max_fails` failures. Does it matter whether
#    that is 1 or 30 seconds? An experiment sets its own settings, so `lab.set` does not help. Where would you change them?
# 3. What does `chat_resume` cost? Compare `cpu_s_redis` and `latency_p95_s` of the two cases, with several repeats.
# 4. Look into the journal of the instance that you killed by hand (`fab logs daphne@2`). What does systemd say of its death?
#
# <details><summary>Answer 1</summary>
#
# With round robin every room has members on every instance, so each room loses a third of its members for a moment. With hash
# some rooms lose all of theirs and the others nobody.
# </details>
#
# <details><summary>Answer 2</summary>
#
# An experiment is a list of points, and a point is settings, a load and events; `stacklab/bench/experiments.py` shows how
# `failover` is made. In a cell of your own, import `Event`, `Experiment` and `Point` (from `stacklab.bench`), make an
# `Experiment` with a name of its own and your two points, and give it to `lab.experiment`.
# </details>
#
# <details><summary>Answer 3</summary>
#
# Each message is also written to a stream in Redis. Whether that can be told from luck, only repeats can say:
# `failover(quick=True, repeats=3)`.
# </details>
#
# <details><summary>Answer 4</summary>
#
# That the main process was killed by signal 9, that the unit failed, and that a restart was scheduled.
# </details>
