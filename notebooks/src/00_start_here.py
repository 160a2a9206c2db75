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
# # Start here
#
# You have a web host: a machine of its own that runs nginx, uWSGI, Django, Daphne and Redis.
# In this notebook you look at it, change **one** setting, and see what the change does to the file,
# to the processes, and to the people who wait for an answer.
#
# Every lesson goes the same way: a question, your prediction, a change, a measurement, and what we have seen.
# Run the cells from top to bottom with **Shift + Enter**. The measurements take about a minute, all together.

# %%
import matplotlib.pyplot as plt

from stacklab import lesson, notebook, study
from stacklab.study import plots

lab = lesson.begin("00_start_here", "en", asks=["/io/?ms=50", "/cpu/?ms=20"])

# %% [markdown] lang="en"
# If the cell above ended in `LabNotRunning`, the lab is not up. Its message names the command that starts it.
# The lesson has noted the settings that it found, which its last cell puts back, and begins with the lab's defaults.
#
# ## Is the lab well?
#
# `status` asks the machine itself. The column *asked* is what the settings say, *runs* is what the services
# say of themselves. They should agree.

# %%
lab.status()

# %% [markdown] lang="en"
# ## What does the stack look like?
#
# This picture is drawn from the machine's own list of processes. A request comes in on the left. nginx unwraps
# the TLS and decides: pages (`/`) go to uWSGI, chat (`/ws/`) goes to one of the Daphnes.

# %%
before = lab.processes()
study.stack_diagram(before);

# %% [markdown] lang="en"
# The same as a table. A *master* starts its *workers* and watches over them: compare the columns `pid` and `parent`.

# %%
notebook.table(before)

# %% [markdown] lang="en"
# ## Question
#
# The page `/io/?ms=50` waits 50 ms before it answers, as a page does that asks another service.
# While it waits, its uWSGI worker can do nothing else.
# **How many of these pages can five workers serve in a second? And ten?**
#
# ## Your prediction
#
# Write your numbers in place of `None`, or into the form. The first ones count: they are sealed until you have measured.

# %%
my_prediction = {"5 processes": None, "10 processes": None}  # pages per second
lab.predict("pages that wait", my_prediction)

# %% [markdown] lang="en"
# ## Measure before the change
#
# Twenty users ask for the page, again and again. The first requests warm everything up and are not counted.

# %%
load = {"path": "/io/?ms=50", "users": 20, "requests": 400, "ramp_s": 1, "warmup_s": 1}
five = lab.http(point="5 processes", **load)

# %% [markdown] lang="en"
# ## Change one setting
#
# On the command line this is `fab set --uwsgi-processes 10`. It writes the real file on the web host, has uWSGI
# take it up without dropping a request, and proves from the running service that it did.

# %%
lab.set(uwsgi_processes=10)

# %% [markdown] lang="en"
# The file changed. Did the processes? Boxes in pink were not there before.

# %%
lab.diagram(before=before);

# %% [markdown] lang="en"
# **Look closely:** which pid stayed the same in uWSGI, although all of its workers are new? Why is that good
# for the people who were waiting at that moment?
#
# ## Measure after the change

# %%
ten = lab.http(point="10 processes", **load)

# %%
summary = study.summarize([five, ten])
plots.throughput_by_case(summary);

# %% [markdown] lang="en"
# Your prediction beside the measurement:

# %%
lab.score("pages that wait", dict(zip(summary["point"], summary["throughput_per_s"])))

# %% [markdown] lang="en"
# And the people who wait? The *median* is the time that half of them did not exceed;
# the *95th percentile* is the time that 19 of 20 did not exceed.

# %%
plots.response_times_by_case(summary);

# %% [markdown] lang="en"
# Each page *takes* 50 ms. The rest of the response time is something else. What?
#
# ## What did it cost?
#
# CPU first: cores in use, service by service, over the seconds of each measurement. Left of the vertical line
# the users start and everything warms up; right of it requests are counted.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.6), sharey=True, layout="constrained")
plots.cpu_over_time(study.resources([five]), left).set_title("CPU, 5 processes", loc="left")
plots.cpu_over_time(study.resources([ten]), right).set_title("CPU, 10 processes", loc="left");

# %% [markdown] lang="en"
# Now memory. *PSS* divides a page of memory that several processes share among them, so the areas add up.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.6), sharey=True, layout="constrained")
plots.memory_over_time(study.resources([five]), left).set_title("Memory, 5 processes", loc="left")
plots.memory_over_time(study.resources([ten]), right).set_title("Memory, 10 processes", loc="left");

# %% [markdown] lang="en"
# ## The same change, another page
#
# `/cpu/?ms=20` does not wait: it keeps a core busy for about 20 ms.
# **Will ten processes serve more of these pages than five?** Say yes or no before you run the next cell.

# %%
computes = {"path": "/cpu/?ms=20", "users": 20, "requests": 200, "ramp_s": 1, "warmup_s": 1}
ten_busy = lab.http(point="10 processes", **computes)
lab.set(uwsgi_processes=5)
five_busy = lab.http(point="5 processes", **computes)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
plots.throughput_by_case(summary, left).set_title(five.workload.path, loc="left")
busy = study.summarize([five_busy, ten_busy])
plots.throughput_by_case(busy, right).set_title(five_busy.workload.path, loc="left");

# %%
plots.cpu_over_time(study.resources([five_busy]))
notebook.say(f"CPU: **{lab.cpus}**")

# %% [markdown] lang="en"
# How many cores were in use, and how many (the number below the plot) may the web host use?
#
# ## What we have seen
#
# - A change of a setting is a change of a **file**, then of **processes**, then, perhaps, of **waiting**.
#   Here you saw all three: the diff, the new pids, the two plots.
# - Whether more processes help depends on what a page does with its time. Compare the two plots above: in one the
#   workers *wait*, in the other they *calculate*.
# - These were single measurements. Run the cells again and the numbers will differ a little. How much of a
#   difference can you believe? That is the question of `04_eight_cases`.
#
# Now put the settings back as you found them.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Each of them is a cell or two. `lab.set(…)` changes a setting, `lab.http(point="…", **load)` measures,
# and `plots.throughput_by_case(study.summarize([…]))` shows. End with `lab.end()`.
#
# 1. Twenty users, `/io/?ms=50`: predict the throughput with **20** and with **40** processes, then measure.
# 2. Leave five processes, but give each `uwsgi_threads=4`. What does that do for the page that waits?
#    For the page that calculates?
# 3. Ask for something that is not allowed: `lab.set(uwsgi_processes=0)`. What does the message tell you?
#    What does `lab.status()` say afterwards?
# 4. Change `nginx_worker_connections` instead, with `before = lab.processes()` before it and
#    `lab.diagram(before=before)` after.
#    Which processes are new this time, and which pid stays?
#
# <details><summary>Answer 1</summary>
#
# A worker that waits 50 ms a page serves at most 1 / 0.05 s = 20 pages a second, so *n* workers serve at most
# 20 *n*. But twenty users who each wait for their answer can never have more than twenty requests under way:
# beyond 20 processes the rest has nothing to do. Does your measurement come near 400 a second, or does
# something else run out first? Look at the CPU.
# </details>
#
# <details><summary>Answer 2</summary>
#
# Five processes with four threads hold twenty waiting pages at once, like twenty processes, with less memory.
# Threads of one Python process take turns at calculating, so they bring the page that calculates nothing that
# another process would not bring. Compare your two plots with those of exercise 1.
# </details>
#
# <details><summary>Answer 3</summary>
#
# The message names the field, the value and the range. Nothing was sent to the web host: the settings in force
# are the ones from before.
# </details>
#
# <details><summary>Answer 4</summary>
#
# nginx starts new workers with the new configuration; the old ones finish what they have and leave. The master
# keeps its pid, its open port and therefore every waiting connection. uWSGI and Daphne are not touched at all.
# </details>
