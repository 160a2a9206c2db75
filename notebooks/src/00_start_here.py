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

# %% [markdown] lang="ko"
# # 여기서 시작하세요
#
# 여러분에게는 웹 호스트가 한 대 있습니다. nginx, uWSGI, Django, Daphne, Redis가 돌아가는 별도의 머신입니다.
# 이 노트북에서는 그 머신을 살펴보고, 설정을 **하나** 바꾼 다음, 그 변경이 파일과 프로세스에,
# 그리고 응답을 기다리는 사람들에게 무슨 일을 일으키는지 봅니다.
#
# 모든 수업은 같은 순서로 진행됩니다. 질문, 여러분의 예측, 변경, 측정, 정리입니다.
# **Shift + Enter**로 셀을 위에서 아래로 차례로 실행하세요. 측정에는 모두 합쳐 일 분쯤 걸립니다.

# %%
import matplotlib.pyplot as plt

from stacklab import lesson, notebook, study
from stacklab.study import plots

lab = lesson.begin("00_start_here", "en", asks=["/io/?ms=50", "/cpu/?ms=20"])

# %% [markdown] lang="en"
# If the cell above ended in `LabNotRunning`, the lab is not up. Its message names the command that starts it.
# The lesson has noted the settings that it found, which its last code cell puts back, and begins with the lab's defaults.
#
# ## Is the lab well?
#
# `status` asks the machine itself. The column *asked* is what the settings say, *runs* is what the services
# say of themselves. They should agree.

# %% [markdown] lang="ko"
# 위 셀이 `LabNotRunning`으로 끝났다면 랩이 켜져 있지 않은 것입니다. 랩을 시작하는 명령은 그 메시지에 나와 있습니다.
# 수업은 시작할 때의 설정을 적어 두고 랩의 기본값에서 출발합니다. 적어 둔 설정은 마지막 코드 셀이 되돌려 놓습니다.
#
# ## 랩의 상태는 괜찮은가요?
#
# `status`는 머신에 직접 물어봅니다. *asked* 열은 설정에 적힌 값이고, *runs* 열은 서비스들이 스스로 답한 값입니다.
# 둘은 서로 같아야 합니다.

# %%
lab.status()

# %% [markdown] lang="en"
# ## What does the stack look like?
#
# This picture is drawn from the machine's own list of processes. A request comes in on the left. nginx unwraps
# the TLS and decides: pages (`/`) go to uWSGI, chat (`/ws/`) goes to one of the Daphnes.

# %% [markdown] lang="ko"
# ## 스택은 어떤 모습인가요?
#
# 이 그림은 머신의 프로세스 목록을 그대로 읽어 그린 것입니다. 요청은 왼쪽에서 들어옵니다. nginx는 TLS를 풀고
# 어디로 보낼지 정합니다. 페이지(`/`)는 uWSGI로, 채팅(`/ws/`)은 여러 Daphne 가운데 하나로 갑니다.

# %%
before = lab.processes()
study.stack_diagram(before);

# %% [markdown] lang="en"
# The same as a table. A *master* starts its *workers* and watches over them: compare the columns `pid` and `parent`.

# %% [markdown] lang="ko"
# 같은 내용을 표로 봅시다. *마스터*(master)는 *워커*(worker)들을 시작하고 지켜봅니다. `pid` 열과 `parent` 열을 비교해 보세요.

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

# %% [markdown] lang="ko"
# ## 질문
#
# `/io/?ms=50` 페이지는 50 ms를 기다렸다가 응답합니다. 다른 서비스에 물어보는 페이지가 이렇게 동작합니다.
# 기다리는 동안 그 페이지를 맡은 uWSGI 워커는 다른 일을 하지 못합니다.
# **워커 다섯 개는 이런 페이지를 초당 몇 개나 처리할 수 있을까요? 열 개라면 어떨까요?**
#
# ## 예측
#
# `None` 자리에 숫자를 적거나 양식에 입력하세요. 처음 적은 숫자만 인정됩니다. 측정이 끝날 때까지 봉인되기 때문입니다.

# %%
my_prediction = {"5 processes": None, "10 processes": None}  # pages per second
lab.predict("pages that wait", my_prediction)

# %% [markdown] lang="en"
# ## Measure before the change
#
# Twenty users ask for the page, again and again. The first requests warm everything up and are not counted.

# %% [markdown] lang="ko"
# ## 바꾸기 전에 측정하기
#
# 사용자 스무 명이 이 페이지를 계속해서 요청합니다. 처음 몇 요청은 전체를 예열하는 데 쓰고 집계하지 않습니다.

# %%
load = {"path": "/io/?ms=50", "users": 20, "requests": 400, "ramp_s": 1, "warmup_s": 1}
five = lab.http(point="5 processes", **load)

# %% [markdown] lang="en"
# ## Change one setting
#
# On the command line this is `fab set --uwsgi-processes 10`. It writes the real file on the web host, has uWSGI
# take it up without dropping a request, and proves from the running service that it did.

# %% [markdown] lang="ko"
# ## 설정 하나 바꾸기
#
# 명령줄에서는 `fab set --uwsgi-processes 10`에 해당합니다. 웹 호스트에 있는 실제 파일을 고쳐 쓰고, uWSGI가 요청을
# 하나도 떨어뜨리지 않고 새 설정을 받아들이게 한 다음, 정말로 그렇게 되었는지 실행 중인 서비스에서 확인합니다.

# %%
lab.set(uwsgi_processes=10)

# %% [markdown] lang="en"
# The file changed. Did the processes? Boxes in pink were not there before.

# %% [markdown] lang="ko"
# 파일이 바뀌었습니다. 프로세스도 바뀌었을까요? 분홍색 상자는 전에는 없던 프로세스입니다.

# %%
lab.diagram(before=before);

# %% [markdown] lang="en"
# **Look closely:** which pid stayed the same in uWSGI, although all of its workers are new? Why is that good
# for the people who were waiting at that moment?
#
# ## Measure after the change

# %% [markdown] lang="ko"
# **자세히 보세요.** uWSGI의 워커는 모두 새것인데 pid 하나는 그대로입니다. 어느 pid인가요?
# 그 순간에 응답을 기다리던 사람들에게 그것이 왜 다행인가요?
#
# ## 바꾼 뒤에 측정하기

# %%
ten = lab.http(point="10 processes", **load)

# %%
summary = study.summarize([five, ten])
plots.throughput_by_case(summary);

# %% [markdown] lang="en"
# Your prediction beside the measurement:

# %% [markdown] lang="ko"
# 여러분의 예측과 측정값을 나란히 놓아 봅시다.

# %%
lab.score("pages that wait", dict(zip(summary["point"], summary["throughput_per_s"])))

# %% [markdown] lang="en"
# And the people who wait? The *median* is the time that half of them did not exceed;
# the *95th percentile* is the time that 19 of 20 did not exceed.

# %% [markdown] lang="ko"
# 그럼 기다리는 사람들은 어떨까요? *중앙값*은 절반이 그 안에 응답을 받은 시간이고,
# *95백분위수*는 20번 가운데 19번이 그 안에 응답을 받은 시간입니다.

# %%
plots.response_times_by_case(summary);

# %% [markdown] lang="en"
# Each page *takes* 50 ms. The rest of the response time is something else. What?
#
# ## What did it cost?
#
# CPU first: cores in use, service by service, over the seconds of each measurement. Left of the vertical line
# the users start and everything warms up; right of it requests are counted.

# %% [markdown] lang="ko"
# 페이지 자체에 *드는* 시간은 언제나 50 ms입니다. 응답 시간의 나머지는 다른 데서 옵니다. 무엇일까요?
#
# ## 비용은 얼마나 들었나요?
#
# 먼저 CPU입니다. 측정하는 동안 서비스마다 코어를 몇 개 썼는지를 시간에 따라 보여 줍니다. 세로선 왼쪽은
# 사용자가 늘어나며 전체가 예열되는 구간이고, 오른쪽은 요청을 집계하는 구간입니다.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.6), sharey=True, layout="constrained")
plots.cpu_over_time(study.resources([five]), left).set_title("CPU, 5 processes", loc="left")
plots.cpu_over_time(study.resources([ten]), right).set_title("CPU, 10 processes", loc="left");

# %% [markdown] lang="en"
# Now memory. *PSS* divides a page of memory that several processes share among them, so the areas add up.

# %% [markdown] lang="ko"
# 다음은 메모리입니다. *PSS*는 여러 프로세스가 함께 쓰는 메모리 페이지를 그 프로세스들에 나누어 셈하므로, 면적을 그대로 더할 수 있습니다.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(13, 3.6), sharey=True, layout="constrained")
plots.memory_over_time(study.resources([five]), left).set_title("Memory, 5 processes", loc="left")
plots.memory_over_time(study.resources([ten]), right).set_title("Memory, 10 processes", loc="left");

# %% [markdown] lang="en"
# ## The same change, another page
#
# `/cpu/?ms=20` does not wait: it keeps a core busy for about 20 ms.
# **Will ten processes serve more of these pages than five?** Say yes or no before you run the next cell.

# %% [markdown] lang="ko"
# ## 같은 변경, 다른 페이지
#
# `/cpu/?ms=20`은 기다리지 않습니다. 약 20 ms 동안 코어 하나를 쉬지 않고 씁니다.
# **프로세스가 열 개면 다섯 개일 때보다 이런 페이지를 더 많이 처리할까요?** 다음 셀을 실행하기 전에 예 또는 아니요로 답해 보세요.

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

# %% [markdown] lang="ko"
# 쓰인 코어는 몇 개였나요? 그리고 웹 호스트가 쓸 수 있는 코어는 몇 개인가요(그림 아래의 숫자)?
#
# ## 정리
#
# - 설정을 바꾸면 먼저 **파일**이 바뀌고, 이어서 **프로세스**가 바뀌고, 그다음에는 어쩌면 **기다리는 시간**이 바뀝니다.
#   여기서는 셋을 모두 보았습니다. diff와 새 pid와 두 그림입니다.
# - 프로세스를 늘려서 도움이 될지는 페이지가 시간을 어디에 쓰는지에 달려 있습니다. 위의 두 그림을 비교해 보세요.
#   한쪽에서는 워커가 *기다리고*, 다른 쪽에서는 워커가 *계산합니다*.
# - 모두 한 번씩만 한 측정이었습니다. 셀을 다시 실행하면 숫자가 조금 달라집니다. 차이가 얼마나 나야 믿을 수
#   있을까요? 그것이 `04_eight_cases`의 질문입니다.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

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

# %% [markdown] lang="ko"
# ## 연습 문제
#
# 문제마다 셀 한두 개면 됩니다. `lab.set(…)`은 설정을 바꾸고, `lab.http(point="…", **load)`는 측정하고,
# `plots.throughput_by_case(study.summarize([…]))`는 그림으로 보여 줍니다. 끝날 때는 `lab.end()`를 실행하세요.
#
# 1. 사용자 스무 명, `/io/?ms=50`입니다. 프로세스가 **20**개일 때와 **40**개일 때의 처리량을 예측한 다음 측정하세요.
# 2. 프로세스는 다섯 개로 두고 프로세스마다 `uwsgi_threads=4`를 주세요. 기다리는 페이지는 어떻게 되나요?
#    계산하는 페이지는 어떻게 되나요?
# 3. 허용되지 않는 값을 요청해 보세요. `lab.set(uwsgi_processes=0)`입니다. 메시지는 무엇을 알려 주나요?
#    그 뒤에 `lab.status()`는 무엇이라고 하나요?
# 4. 이번에는 `nginx_worker_connections`를 바꿔 보세요. 바꾸기 전에 `before = lab.processes()`를, 바꾼 뒤에
#    `lab.diagram(before=before)`를 실행합니다.
#    이번에는 어느 프로세스가 새것이고, 어느 pid가 그대로인가요?
#
# <details><summary>답 1</summary>
#
# 한 페이지에 50 ms씩 기다리는 워커는 초당 많아야 1 / 0.05 s = 20페이지를 처리하므로, 워커 *n*개는 초당 많아야
# 20 *n*페이지를 처리합니다. 그런데 저마다 응답을 기다리는 사용자 스무 명은 동시에 스무 개가 넘는 요청을 낼 수 없습니다.
# 프로세스가 20개를 넘으면 나머지는 할 일이 없습니다. 측정값이 초당 400에 가까운가요, 아니면 다른 무언가가
# 먼저 바닥나나요? CPU를 보세요.
# </details>
#
# <details><summary>답 2</summary>
#
# 스레드가 네 개씩인 프로세스 다섯 개는 기다리는 페이지 스무 개를 한꺼번에 맡을 수 있습니다. 프로세스 스무 개와 같지만 메모리는 덜 씁니다.
# 한 Python 프로세스의 스레드들은 번갈아 가며 계산합니다. 그래서 계산하는 페이지라면, 프로세스를 늘려서 얻지 못하는 것은
# 스레드를 늘려도 얻지 못합니다. 여러분의 두 그림을 연습 문제 1의 그림과 비교해 보세요.
# </details>
#
# <details><summary>답 3</summary>
#
# 메시지는 필드 이름과 값과 허용 범위를 알려 줍니다. 웹 호스트에는 아무것도 보내지 않았습니다. 적용되어 있는 설정은
# 이전 그대로입니다.
# </details>
#
# <details><summary>답 4</summary>
#
# nginx는 새 설정으로 새 워커들을 시작하고, 옛 워커들은 맡은 일을 마치고 물러납니다. 마스터는 pid와 열어 둔 포트를
# 그대로 유지하므로, 기다리던 연결도 하나도 잃지 않습니다. uWSGI와 Daphne는 전혀 건드리지 않습니다.
# </details>
