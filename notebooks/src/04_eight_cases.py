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
# # The eight cases
#
# An engineer made a Django site carry heavy traffic and published how. One piece of advice reads:
# with **4000** connections for each nginx worker and **10** uWSGI processes, the site answers fastest,
# at 100 users and at 200.
#
# It sounds reasonable. More room, more hands. Let us measure it, and learn on the way what it takes
# to say "faster" and mean it.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from stacklab import bench, lesson, notebook, study
from stacklab.bench import Point, eight_cases
from stacklab.settings import StackSettings
from stacklab.study import plots
from stacklab.workload import HttpLoad

lab = lesson.begin("04_eight_cases", "en", asks=["/"])

# %% tags=["parameters"]
# True: five blocks of slices, some four minutes. False, or STACKLAB_FULL=1 in the environment: eighteen blocks.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# Two loads (100 users, 200 users), two sizes of nginx's connection table (1024, 4000), two numbers of
# uWSGI processes (5, 10): eight cases. The page is `/`, the site's real front page.
# **Which of the four settings answers fastest at 100 users? And at 200?**
#
# ## Your prediction
#
# Write `"1024/5"`, `"1024/10"`, `"4000/5"` or `"4000/10"`. And before you do, ask yourself: of what is there
# too little when 200 people wait? Of connections? Of processes? Or of something else?

# %%
my_fastest = {"100 users": None, "200 users": None}
lab.predict("fastest", my_fastest, choices=["1024/5", "1024/10", "4000/5", "4000/10"])

# %% [markdown] lang="en"
# ## The plan
#
# One load goes on all the time; what changes are the settings below it, and how many users ask. Each case has three seconds
# of it, a *slice*, once in every *block*, in an order drawn by lot. If the machine grows slower in the afternoon, it does so
# for all eight of a block alike, and no case has the bad luck to be always last. The seed makes the order the same for everybody.

# %%
plan = eight_cases(quick=QUICK)
order = [{"block": run.repeat, "position": run.position, "case": run.point.label} for run in plan.plan()]
notebook.table(pd.DataFrame(order).head(8))

# %% [markdown] lang="en"
# ## Measure
#
# For each slice the settings are changed and proven; a second later its three seconds begin. A block in which one slice
# was much more disturbed than another is measured again. Blocks that are on disk already are not, so you can stop this
# cell and go on later. (`bench.set_aside(plan.name)` starts over and keeps the old runs.)

# %%
runs = lab.experiment(plan)
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## First: did it work at all?
#
# **Count errors before you read times.** A site that refuses requests answers very quickly. A slice can also be
# *disturbed*: the generator was late, rows are missing, others took the processor. Only *sound* ones decide.

# %%
cases = summary.groupby("point", sort=False)
notebook.table(cases.agg(sound=("valid", "sum"), counted=("counted", "sum"), errors=("errors", "sum")).reset_index())

# %% [markdown] lang="en"
# ## Response times
#
# For each case, from left to right: the *median* (half of the requests were answered within it), the *95th* and the
# *99th percentile* (what the unlucky ones met). One dot is one slice. Hollow dots are disturbed ones.
#
# Read the scale first. How far apart are the cases, compared with the distance from median to 99th percentile?

# %%
plots.response_times_by_case(summary);

# %% [markdown] lang="en"
# A percentile is one point of a curve. Here is the curve: pick a time on the axis below and read what share of the
# requests was answered within it. Further left is faster. A case is faster *everywhere* only if its curve never
# crosses another one.

# %%
figure, axes = plt.subplots(1, 2, figsize=(14, 4), layout="constrained")
for ax, users in zip(axes, (100, 200), strict=True):
    chosen = [run for run in runs if run.workload.users == users]
    plots.latency_distribution(study.requests(chosen), ax).set_title(f"{users} users", loc="left")

# %% [markdown] lang="en"
# ## Throughput
#
# How many pages the site served in a second. Compare 100 users with 200: twice as many people asked.
# Did twice as many get an answer each second?

# %%
plots.throughput_by_case(summary);

# %% [markdown] lang="en"
# ## A law that needs no machine
#
# Each of our users waits for the answer and then asks again at once. That is a *closed loop*, and in it
#
# > users = throughput × mean response time
#
# must hold, whatever the server is. It is Little's law. Does it hold here?

# %%
law = summary[["point", "users", "throughput_per_s", "mean_s"]]
notebook.table(law.assign(product=law["throughput_per_s"] * law["mean_s"]))

# %% [markdown] lang="en"
# A slice is cut out of a load that goes on, so at its edges a little more or a little less is counted than should be.
#
# Two consequences. First, a run that breaks the law is broken, not fast; the lab checks it for every run that is not a slice.
# Second, if the throughput stays the same, twice the users wait twice as long. Then the extra users stand in a
# queue, and no answer comes faster because the queue has more room.
#
# ## Where do they wait?
#
# Here are 200 users at 1024/5: connections that are open at nginx, uWSGI workers that are busy, and requests that
# stand in the queue in front of uWSGI. Add the last two: how many is that?

# %%
one = next(run for run in runs if run.point == "200 users, 1024/5")
plots.gauge_over_time(study.gauges([one]), ["nginx_active", "uwsgi_listen_queue", "uwsgi_busy_workers"]);

# %% [markdown] lang="en"
# **Think:** nginx may hold 1024 connections here. How many does it hold? What would 4000 change?
#
# ## What is used up?
#
# CPU of each service in the same run, in cores. The dashed line is one core.

# %%
plots.cpu_over_time(study.resources([one]));

# %%
ten = next(run for run in runs if run.point == "200 users, 1024/10")
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.6), sharey=True, layout="constrained")
plots.memory_over_time(study.resources([one]), left).set_title("Memory, 5 processes", loc="left")
plots.memory_over_time(study.resources([ten]), right).set_title("Memory, 10 processes", loc="left");

# %% [markdown] lang="en"
# If one core is full, five processes share it and ten processes share it. What do the second five add? What do they cost?
#
# ## Two views of the same request
#
# Until now we believed the clients. But nginx has a clock too: it notes for each request how long it took from the
# first byte it read to the last byte it wrote. On the diagonal the two clocks agree. Above it, the
# client waited longer than nginx knows of: on the way, in the TLS handshake, or because the *client* had no time.

# %%
plots.client_vs_server(summary);

# %% [markdown] lang="en"
# Keep both views. If they part, one of them measures something else than you think; very often it is the load
# generator that is at its limit, and the server is blamed for it.
#
# ## The fastest case
#
# By the median, this time, it was:

# %%
fastest = summary.loc[summary.groupby("users")["p50_s"].idxmin(), ["users", "point", "p50_s"]]
winners = {f"{users:.0f} users": point.split(", ")[1] for users, point in zip(fastest["users"], fastest["point"])}
lab.score("fastest", winners)

# %% [markdown] lang="en"
# There is *always* a fastest case. Four identical settings would have one too, and each would win one time in four;
# the same one would win at both loads one time in four as well. So a winner is no evidence. What is?
#
# ## What an honest verdict needs
#
# - **Blocks.** Thousands of requests of one slice share that slice's luck. Only another one has luck of its own.
# - **Pairs.** Within a block the cases ran close together in time; we compare them there.
# - **An interval.** From how much the blocks differ among themselves we compute how far off their mean may be.
#   If the interval contains "no difference", we have not detected one, and say so.
#
# If you have measured the full experiment, we use its runs. Otherwise those from above.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))

# %%
figure, axes = plt.subplots(1, 2, figsize=(14, 3.4), layout="constrained")
for ax, users in zip(axes, (100, 200), strict=True):
    chosen = [run for run in judged if run.workload.users == users]
    plots.comparison(study.compare(chosen, "p50_s"), ax)

# %% [markdown] lang="en"
# Each dot is a case's median response time divided by that of 1024/5: left of 1 is faster. The bar is the interval.
# No bar means too few sound blocks to draw one.
#
# Now the advice itself, as claim C5, and two others from the same source that these runs can speak about. The tables name
# what was left out because a run of its block was disturbed.

# %%
lab.conclude("C5", judged)

# %%
lab.conclude("C4", judged)

# %%
lab.conclude("C3", judged)

# %% [markdown] lang="en"
# ## One question, asked until it is answered
#
# Eight cases answer many questions a little. *Does 10 or 5 matter for this page?* is one question, and all the time can go
# into it: two settings in turn, until the interval leaves out 1 (they differ) or fits into the band (they are the
# same within ± 5 %), or the time is up. In a terminal: `fab compare --uwsgi-processes 5,10 --users 50`.
#
# **Predict**: on which side of 1 will the dots lie? How far do single blocks stray from the interval?

# %%
five, ten = (
    Point(f"{processes} processes", StackSettings(uwsgi_processes=processes), HttpLoad(users=50))
    for processes in (5, 10)
)
answer = lab.compare(five, ten, budget_s=120 if QUICK else 600)

# %% [markdown] lang="en"
# A dot is one block: the throughput with 10 processes over that with 5, seconds apart. A diamond with its bar is a planned
# look. As blocks come, the bars tend to grow shorter; the dots do not come closer to each other. That is the difference between how
# a computer varies and what you know about its middle.

# %% [markdown] lang="en"
# ## What we have seen
#
# - Errors first, then times. Both views, the client's and the server's. A scale that starts at zero.
# - In a closed loop, users = throughput × response time. More users on a full machine wait longer, and that is all.
# - A setting helps when it adds to what is *used up*. Your plots of CPU, queue and connections show what that was here.
# - "Fastest" needs blocks and an interval. "The same within ± 5 %" is a result, and a useful one: it saves you from tuning
#   what does not matter. "Undecided" means: measure longer, or on a quieter computer.
#
# Now put the settings back as you found them.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Begin with `lab.reset()`, and end with `lab.end()`.
#
# 1. In `00_start_here` more processes made a great difference for `/io/?ms=50`. Why there and not (or not as much) for `/`?
#    Look at the CPU plot there and here.
# 2. Say `lab.set(uwsgi_listen=100)` (uWSGI's own default) and `lab.http(users=200, requests=2000)`. Count all answers
#    per second, then only the successful ones. What would you conclude if you had not looked at the errors?
# 3. Say `lab.set(nginx_worker_connections=64)` and try 20, 30 and 40 users. At how many users do errors begin, and why so
#    far below 64?
# 4. People do not ask again the moment they have their answer. Repeat a case with `wait_s=1`. What does Little's law say now?
#
# <details><summary>Answer 1</summary>
#
# A worker that waits leaves the core to others, so more workers use it better, until it is full. The front page
# calculates (it renders a template): if the core is full with five processes, there is nothing left for ten to use.
# </details>
#
# <details><summary>Answer 2</summary>
#
# The queue in front of uWSGI then holds 100 requests. What does not fit is refused at once, and nginx answers 502. A refusal is
# cheap, so "requests per second" may rise while most users get nothing. The lab counts only successes as throughput,
# and names the failures on the plot.
# </details>
#
# <details><summary>Answer 3</summary>
#
# A request that is passed on takes two connections: one to the client, one to uWSGI. And nginx begins to
# close idle connections to make room before the table is full. So errors begin near half of the limit, a little below.
# That is the true form of the claim "nginx serves worker_processes × worker_connections clients".
# </details>
#
# <details><summary>Answer 4</summary>
#
# Users = throughput × (response time + wait). With a wait of one second, 100 users can ask for at most 100 pages a second.
# Where the site serves more than that, it is no longer full, and the response time falls towards what the page really takes.
# </details>
