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
# # Chat and Daphne: one against three
#
# A page is asked for, answered, and forgotten. A chat keeps a connection open for every person in it, a *WebSocket*,
# and Daphne is the server that holds them. Daphne is **one process on one core**. So the same engineer advised:
# run three of them behind nginx, and they will need **less CPU and less memory** than one.
#
# Is that so?

# %%
import matplotlib.pyplot as plt
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.bench import one_vs_three
from stacklab.study import plots

lab = lesson.begin("05_daphne", "en", chats=True)

# %% tags=["parameters"]
# True: a fifth of the clients, ten seconds, one repeat. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Have a chat first
#
# Open the address below in two windows and choose the same room. Your browser does not know this lab's certificate
# authority; `fab ca` writes its certificate and says how to trust it. Each window tells which instance serves it.
# Are they the same? Close one window, open it again: and now?

# %%
lab.say_where_to_chat()
lab.diagram();

# %% [markdown] lang="en"
# ## What is measured
#
# Thirty clients in three rooms chat for ten seconds. Every message is numbered. Each member of the room,
# the sender too, should receive it exactly once, and for each of them one row is written.

# %%
first = lab.chat(clients=30, rooms=3, messages_per_s=0.5, duration_s=10, ramp_s=2)

# %%
rows = study.messages([first])
notebook.table(rows[["room", "sender", "receiver", "latency_s", "copies", "via", "instance"]].head(6))

# %% [markdown] lang="en"
# `via` is the instance that took the message from its sender, `instance` the one that handed it to the receiver.
# Where they differ, the message went from one process to another, by way of Redis.
#
# The engineer's own check was another one: do all three access logs grow? So let us look.

# %%
lab.shell("for log in /var/log/daphne/daphne[123].log; do echo $log; tail -n 2 $log; done")

# %% [markdown] lang="en"
# It shows that the *sockets* were spread. Does it show that the *work* became less? That needs a measurement.
#
# ## Question
#
# The same clients, the same rooms, the same messages. Once with one Daphne, once with three that nginx fills in turn
# (*round robin*), once with three where everybody in a room meets the same instance (*hash*).
# **How much CPU and memory do three need, compared with one? And who delivers faster?**
#
# ## Your prediction
#
# As multiples of what one instance needs: 0.5 is half, 2 is twice.

# %%
my_prediction = {"CPU, round robin": None, "CPU, hash": None, "memory, round robin": None, "memory, hash": None}
lab.predict("three against one", my_prediction)

# %% [markdown] lang="en"
# ## Measure

# %%
runs = lab.experiment(one_vs_three(quick=QUICK))
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## First: did the messages arrive?
#
# With web pages we counted errors. With chat there is no error to count: a message that is lost is simply not there.
# That is why they were numbered.

# %%
plots.delivered_by_point(summary);

# %%
notebook.table(summary[["point", "deliveries", "lost", "duplicated", "out_of_order", "disconnects", "valid"]])

# %% [markdown] lang="en"
# ## How long did they take?
#
# From the moment a sender sends to the moment a receiver has it. The scale is logarithmic: equal steps are equal factors.

# %%
plots.messages_latency_by_point(summary);

# %% [markdown] lang="en"
# ## What did it cost?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4), layout="constrained")
plots.daphne_cost_by_point(summary, left)
plots.daphne_cost_by_point(summary, right, metric="pss_peak_bytes_daphne");

# %% [markdown] lang="en"
# As multiples of what one instance needed, to set beside your prediction:

# %%
smallest = min(run.workload.clients for run in runs)
chosen = [run for run in runs if run.workload.clients == smallest]
effects = [study.compare(chosen, metric) for metric in ("cpu_s_daphne_per_1000_deliveries", "pss_peak_bytes_daphne")]
ratios = pd.concat(effects, keys=["CPU", "memory"], names=["of"]).reset_index("of")
found = {
    f"{row.of}, {'hash' if 'hash' in row.point else 'round robin'}": (row.estimate, row.low, row.high)
    for row in ratios.itertuples()
}
lab.score("three against one", found)

# %% [markdown] lang="en"
# ## Why?
#
# A message to a room must reach every instance that holds a member of the room. Count, for each case, on how many
# instances a room's members are, and what share of the deliveries went from one instance to another:

# %%
notebook.table(study.crossings(runs))

# %% [markdown] lang="en"
# A message goes to Redis in any case; each instance that holds a member of its room fetches it from there. What that comes
# to, the ratios above say. And three processes each carry Python, Django and Twisted in memory before the first client has come.
#
# ## The verdict
#
# If you have measured the full experiment (`fab experiment one-vs-three`), we use its runs. Otherwise those from above.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))

# %%
lab.conclude("C9", judged)

# %% [markdown] lang="en"
# ## What we have seen
#
# - A socket is not a request. It stays where it was put, and what it costs depends on who else sits there.
# - "The messages show up in all three logs" proves that sockets are spread. It proves nothing about cost.
# - Delivery must be *counted*: number the messages, and ask every receiver.
# - What three instances cost and bring depends on **who shares an instance with whom**. Compare *round robin* with *hash*
#   above. That is what `07_balancing` is about.
#
# Now put the settings back as you found them.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# 1. The classic mistake: `lab.set(channel_layer="memory")`, with three instances. Predict what share of the
#    deliveries arrives, then run `lab.chat(clients=60, rooms=6, duration_s=10)`.
# 2. Is it better with `balance="hash"` as well? Why would you still not do it?
# 3. `fab experiment instances` measures 1, 2, 3, 4, 6 and 8 instances (`--quick`: 1, 2, 4). On your machine, where does
#    one more instance stop helping? How many cores does the web host have?
# 4. When *are* several instances the right way (claim C8)? Look at the CPU of a single Daphne while you raise the clients.
#
# <details><summary>Answer 1</summary>
#
# The in-memory layer lives inside one process. A message reaches only those members of the room who sit on the sender's
# own instance: the sender itself, always, and with three instances filled in turn about one in three of the others. In a room of
# ten that is some four deliveries in ten; for somebody who tests alone it is all, which is why the mistake is so easily overlooked.
# </details>
#
# <details><summary>Answer 2</summary>
#
# With hash all members of a room meet one instance, so all messages arrive, for now. Stop one instance, or add one, and rooms
# move while some sockets stay. Then they are split, and nothing tells you.
# </details>
#
# <details><summary>Answer 3</summary>
#
# Instances beyond the number of cores take turns on them. They add memory, and a little work for switching. What your machine
# does, the plot of the experiment's report says.
# </details>
#
# <details><summary>Answer 4</summary>
#
# When one Daphne fills its core and there is another core for a second one. Before that, a second instance brings safety (one may
# fail, see `08_when_things_break`), but no speed.
# </details>
