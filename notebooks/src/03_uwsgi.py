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
# # uWSGI: processes, threads, waiting
#
# Behind nginx stands uWSGI, and in it run the [workers](../../docs/glossary.md) that answer pages. The engineer whose account
# this lab rebuilds gave this advice: uWSGI gains from more **processes**, hardly from **threads**.
#
# It is good advice for one kind of page and poor advice for another. In this lesson you find out for which, with a law that
# fits on one line. At the end you meet a mistake that has made many a measurement look splendid.

# %% [markdown] lang="ko"
# # uWSGI: 프로세스, 스레드, 대기
#
# nginx 뒤에는 uWSGI가 있고, 그 안에서 [워커](../../docs/glossary.md)가 페이지에 응답합니다. 이 랩이 재현하는 글을 쓴
# 엔지니어는 이렇게 조언했습니다. uWSGI는 **프로세스**를 늘리면 빨라지지만 **스레드**를 늘려서는 거의 빨라지지 않는다.
#
# 어떤 페이지에는 좋은 조언이고, 어떤 페이지에는 나쁜 조언입니다. 이 수업에서는 한 줄짜리 법칙을 써서 어느 쪽이 어느 쪽인지
# 알아봅니다. 끝에서는 많은 측정 결과를 실제보다 훌륭해 보이게 만든 실수를 하나 만납니다.

# %%
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.bench import uwsgi_workers
from stacklab.study import plots

lab = lesson.begin("03_uwsgi", "en", asks=["/", "/io/?ms=50"])

# %% tags=["parameters"]
# True: five blocks of six slices, three to four minutes. False, or STACKLAB_FULL=1 in the environment: eighteen blocks.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# A process answers one request at a time in each of its threads. *5 × 1* means 5 processes with 1 thread each, *5 × 2* means
# 5 processes with 2 threads each. So *10 × 1* and *5 × 2* can both have 10 requests in hand.
#
# And there are two pages. `/` **computes**: it renders a template, and needs the CPU for it. `/io/?ms=50` **waits**: it sleeps
# for 50 ms, as a page does that asks another service, and needs next to no CPU.
#
# 50 users ask, each again as soon as the answer is there (a [closed loop](../../docs/glossary.md)).
# **Which page gains from more processes? Which from more threads?**

# %% [markdown] lang="ko"
# ## 질문
#
# 프로세스는 스레드마다 한 번에 요청 하나를 처리합니다. *5 × 1*은 스레드가 1개씩 있는 프로세스 5개, *5 × 2*는 스레드가 2개씩
# 있는 프로세스 5개라는 뜻입니다. 그러므로 *10 × 1*과 *5 × 2*는 둘 다 요청 10개를 동시에 붙들고 있을 수 있습니다.
#
# 페이지는 두 가지입니다. `/`는 **계산**합니다. 템플릿을 렌더링하느라 CPU를 씁니다. `/io/?ms=50`은 **기다립니다**. 다른 서비스에
# 물어보는 페이지처럼 50 ms 동안 잠들고, CPU는 거의 쓰지 않습니다.
#
# 사용자 50명이 요청하고, 응답을 받으면 곧바로 다시 요청합니다([폐루프, closed loop](../../docs/glossary.md)).
# **프로세스를 늘리면 어느 페이지가 좋아질까요? 스레드를 늘리면 어느 페이지가 좋아질까요?**

# %% [markdown] lang="en"
# ## Your prediction
#
# First the page that waits. How many of them come out in a second? You can work it out: a worker that waits 50 ms for each
# page can finish how many in a second, and how many workers are there?

# %% [markdown] lang="ko"
# ## 예측
#
# 먼저 기다리는 페이지입니다. 초당 몇 개가 나올까요? 계산해 볼 수 있습니다. 페이지마다 50 ms를 기다리는 워커 하나는 초당 몇 개를
# 끝낼 수 있고, 그런 워커가 몇이나 있습니까?

# %%
my_waiting = {"5 × 1": None, "10 × 1": None, "5 × 2": None}  # pages per second
lab.predict("pages that wait", my_waiting)

# %% [markdown] lang="en"
# Then the page that computes. Say it as a multiple of what *5 × 1* serves: 1 is as many, 2 is twice as many. The number of CPUs
# that the web host may use stands below.

# %% [markdown] lang="ko"
# 다음은 계산하는 페이지입니다. *5 × 1*이 처리하는 양의 몇 배인지로 적으세요. 1은 같은 양, 2는 두 배입니다. 웹 호스트가 쓸 수 있는
# CPU 수는 아래에 나옵니다.

# %%
notebook.say(f"CPU: **{lab.cpus}**")
my_computing = {"10 × 1": None, "5 × 2": None}  # as multiples of 5 × 1
lab.predict("pages that compute", my_computing)

# %% [markdown] lang="en"
# ## Measure
#
# Each of the six cases gets a [slice](../../docs/glossary.md) of 3 seconds in every [block](../../docs/glossary.md), in an
# order drawn by lot. The load goes on while the settings change below it.

# %% [markdown] lang="ko"
# ## 측정
#
# 여섯 가지 경우가 [블록](../../docs/glossary.md)마다 3초짜리 [조각(slice)](../../docs/glossary.md)을 하나씩 받습니다. 순서는
# 제비뽑기로 정합니다. 부하는 계속 걸려 있고, 그 아래에서 설정만 바뀝니다.

# %%
plan = uwsgi_workers(quick=QUICK)
runs = lab.experiment(plan)
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# Errors first, and how many slices were [sound](../../docs/glossary.md):

# %% [markdown] lang="ko"
# 먼저 오류를 보고, 온전한([sound](../../docs/glossary.md)) 조각이 몇 개인지 봅니다.

# %%
cases = summary.groupby("point", sort=False)
notebook.table(cases.agg(sound=("valid", "sum"), counted=("counted", "sum"), errors=("errors", "sum")).reset_index())

# %% [markdown] lang="en"
# ## The page that waits
#
# A bar for each case, a dot for each slice, and then your prediction beside it.

# %% [markdown] lang="ko"
# ## 기다리는 페이지
#
# 경우마다 막대 하나, 조각마다 점 하나입니다. 그다음에 여러분의 예측을 나란히 놓습니다.

# %%
waits = summary[summary["point"].str.startswith("/io/")]
plots.throughput_by_case(waits);

# %%
served = waits.groupby("point")["throughput_per_s"].median()
lab.score("pages that wait", {point.split(", ")[1]: per_s for point, per_s in served.items()})

# %% [markdown] lang="en"
# While a worker waits, it does nothing and can take nothing else. In 1 s it waits for at most 1 / 0.05 = 20 pages, and *n*
# workers for at most 20 *n*. A thread that waits lets go of Python's lock (the GIL), so another thread of its process can
# wait at the same time: here a thread is worth a process.
#
# ## Little's law, twice
#
# > how many are inside = how many come out each second × how long each stays
#
# That is [Little's law](../../docs/glossary.md). It holds for whatever you draw a line around. Draw it around **everything**:
# inside are all 50 users. Draw it around **the workers alone**, where each request stays for 0.05 s: inside are those that
# are being served. The rest is inside the first line and outside the second: it stands in the queue before the workers.

# %% [markdown] lang="ko"
# 워커는 기다리는 동안 아무것도 하지 않고, 다른 일을 맡을 수도 없습니다. 1초 동안 많아야 1 / 0.05 = 20개의 페이지를 기다리고, 워커가
# *n*이면 많아야 20 *n*개입니다. 기다리는 스레드는 파이썬의 잠금(GIL)을 내려놓으므로, 같은 프로세스의 다른 스레드도 동시에 기다릴 수
# 있습니다. 여기서는 스레드 하나가 프로세스 하나의 몫을 합니다.
#
# ## 리틀의 법칙, 두 번
#
# > 안에 있는 수 = 초당 나오는 수 × 하나가 머무는 시간
#
# 이것이 [리틀의 법칙](../../docs/glossary.md)입니다. 어디에 선을 긋든 성립합니다. **전체**를 둘러 그으면 안에 있는 것은 사용자 50명
# 모두입니다. 요청이 0.05초씩 머무는 **워커만** 둘러 그으면 안에 있는 것은 지금 처리되는 요청입니다. 나머지는 첫 번째 선의 안,
# 두 번째 선의 밖에 있습니다. 워커 앞의 대기열에 서 있는 것입니다.

# %%
law = waits.groupby("point", sort=False)[["throughput_per_s", "mean_s"]].median()
law["users in all"] = law["throughput_per_s"] * law["mean_s"]
law["in the workers"] = law["throughput_per_s"] * 0.05
law["in the queue"] = law["users in all"] - law["in the workers"]
notebook.table(law.reset_index())

# %% [markdown] lang="en"
# That was arithmetic, from the clients' clocks alone. The web host was asked as well: how many workers (with threads: threads)
# were busy, and how long was the queue? Medians of its readings, which know nothing of the clients:

# %% [markdown] lang="ko"
# 여기까지는 클라이언트의 시계만으로 한 계산입니다. 웹 호스트에도 물어보았습니다. 바쁜 워커(스레드가 있으면 스레드)가 몇이고 대기열은
# 얼마나 길었을까요? 클라이언트를 전혀 모르는 웹 호스트가 읽은 값의 중앙값입니다.

# %%
gauges = study.gauges([run for run in runs if run.point.startswith("/io/")])
names = ["uwsgi_busy_workers", "uwsgi_listen_queue"]
seen = gauges[gauges["name"].isin(names) & gauges["t_s"].between(0, plan.slice_s)]
medians = seen.pivot_table(index="point", columns="name", values="value", aggfunc="median")
notebook.table(medians.loc[law.index].reset_index())

# %% [markdown] lang="en"
# Compare the two tables line by line. Who waits longer than 50 ms waits in the queue, and the queue is as long as the users
# are more than the workers.
#
# ## The page that computes

# %% [markdown] lang="ko"
# 두 표를 한 줄씩 견주어 보세요. 50 ms보다 오래 기다리는 사람은 대기열에서 기다리는 것이고, 대기열의 길이는 사용자가 워커보다 많은
# 만큼입니다.
#
# ## 계산하는 페이지

# %%
computes = summary[summary["point"].str.startswith("/,")]
plots.throughput_by_case(computes);

# %%
effects = study.compare([run for run in runs if run.point.startswith("/,")], "throughput_per_s")
found = {row.point.split(", ")[1]: (row.estimate, row.low, row.high) for row in effects.itertuples()}
lab.score("pages that compute", found)

# %% [markdown] lang="en"
# ## Two ceilings
#
# There are two ceilings that a page may meet, and the lower one decides:
#
# - **by CPU**: CPUs ÷ CPU seconds that a page costs (all services together). More processes add no CPU. Threads of one process
#   even take turns at calculating: only one of them holds the GIL.
# - **by workers**: requests that may be in hand ÷ seconds that each waits. Only the page that waits has this one.

# %% [markdown] lang="ko"
# ## 두 개의 천장
#
# 페이지가 만날 수 있는 천장은 두 가지이고, 낮은 쪽이 결정합니다.
#
# - **CPU가 정하는 천장**: CPU 수 ÷ 페이지 하나에 드는 CPU 초(모든 서비스 합계). 프로세스를 늘려도 CPU는 늘지 않고, 한 프로세스의
#   스레드는 계산할 때 차례를 기다리기까지 합니다. GIL은 하나만 쥘 수 있습니다.
# - **워커가 정하는 천장**: 동시에 붙들 수 있는 요청 수 ÷ 하나가 기다리는 초. 기다리는 페이지에만 있습니다.

# %%
table = cases[["throughput_per_s", "cpu_s_per_1000_requests", "uwsgi_processes", "uwsgi_threads"]].median()
in_hand = table.pop("uwsgi_processes") * table.pop("uwsgi_threads")
table["most by CPU"] = lab.cpus * 1000 / table["cpu_s_per_1000_requests"]
table["most by workers"] = (in_hand / 0.05).where(table.index.str.startswith("/io/"))
notebook.table(table.reset_index())

# %% [markdown] lang="en"
# For each line: which ceiling is the lower one, and how near does the throughput come to it? A setting helps where it lifts
# the ceiling that one stands under. **Think:** how many workers would the page that waits need until its other ceiling is
# the lower one?
#
# ## What is the difference, then?
#
# For the page that waits, *10 × 1* and *5 × 2* may have come out alike. What they cost is another matter: each process has
# a Python and a Django of its own, threads share one. Peak memory of uWSGI ([PSS](../../docs/glossary.md)):

# %% [markdown] lang="ko"
# 줄마다 보세요. 어느 천장이 더 낮고, 처리량은 거기에 얼마나 가까이 갔습니까? 설정은 지금 머리가 닿는 천장을 올려 줄 때 도움이 됩니다.
# **생각해 봅시다:** 기다리는 페이지는 워커가 몇이 되어야 다른 쪽 천장이 더 낮아질까요?
#
# ## 그러면 무엇이 다를까
#
# 기다리는 페이지에서 *10 × 1*과 *5 × 2*는 결과가 비슷했을지도 모릅니다. 비용은 다른 문제입니다. 프로세스는 저마다 파이썬과 Django를
# 따로 갖고, 스레드는 하나를 나누어 씁니다. uWSGI의 최대 메모리([PSS](../../docs/glossary.md))입니다.

# %%
memory = waits.groupby("point", sort=False)["pss_peak_bytes_uwsgi"].median().rename("memory_bytes")
notebook.table(memory.reset_index())

# %% [markdown] lang="en"
# Threads have a price too: they share all that is global in your code and in its libraries, and the code must be safe for that.
#
# ## The verdict
#
# The advice is claim C4. If you have measured the full experiment (`fab experiment uwsgi-workers`), we use its runs, otherwise
# those from above. The claim is decided by `/`; the last two lines of the table stand beside it and are about `/io/?ms=50`.

# %% [markdown] lang="ko"
# 스레드에도 값이 있습니다. 여러분의 코드와 라이브러리에서 전역인 것을 모두 함께 쓰므로, 그래도 안전한 코드여야 합니다.
#
# ## 판정
#
# 이 조언이 주장 C4입니다. 전체 실험(`fab experiment uwsgi-workers`)을 측정해 두었다면 그 결과를, 아니면 위의 결과를 씁니다.
# 주장은 `/`로 판정합니다. 표의 마지막 두 줄은 참고로 곁들인 것이며 `/io/?ms=50`에 관한 것입니다.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))
lab.conclude("C4", judged)

# %% [markdown] lang="en"
# ## Errors that look like speed
#
# Who finds all workers busy stands in a queue, the [backlog](../../docs/glossary.md) of uWSGI's socket. It has room for
# `uwsgi_listen` requests: 1024 in this lab, 100 where nobody sets it, for that is uWSGI's own default. In the column `Send-Q`
# the kernel says how much room there is:

# %% [markdown] lang="ko"
# ## 속도처럼 보이는 오류
#
# 워커가 모두 바쁘면 요청은 대기열에 섭니다. uWSGI 소켓의 [백로그(backlog)](../../docs/glossary.md)입니다. 자리는 `uwsgi_listen`개입니다.
# 이 랩에서는 1024개이고, 아무도 설정하지 않으면 uWSGI의 기본값인 100개입니다. 자리가 얼마나 있는지는 커널이 `Send-Q` 열에서
# 말해 줍니다.

# %%
look = "ss -xl | grep -E 'Recv-Q|uwsgi/stacklab.sock'"
lab.shell(look)

# %% [markdown] lang="en"
# Now 200 users ask for `/`, first with the long queue, then with the short one. **What will change?** Predict two multiples of
# what the long queue shows: all answers per second, whatever they say, and the successes among them. And predict the share of
# the requests that is refused with the short queue (0.5 is half).

# %% [markdown] lang="ko"
# 이제 사용자 200명이 `/`를 요청합니다. 먼저 긴 대기열로, 다음에는 짧은 대기열로 합니다. **무엇이 달라질까요?** 긴 대기열일 때의
# 몇 배인지로 예측하세요. 내용을 가리지 않은 초당 모든 응답, 그 가운데 성공한 응답입니다. 그리고 짧은 대기열에서 거절되는 요청의
# 비율도 적으세요(0.5는 절반).

# %%
my_short_queue = {"all answers": None, "successes": None, "share refused": None}
lab.predict("a short queue", my_short_queue)

# %%
load = {"path": "/", "users": 200, "requests": 8000, "ramp_s": 2, "warmup_s": 1}
roomy = lab.http(point="listen 1024", **load)

# %%
lab.set(uwsgi_listen=100)
lab.shell(look)

# %%
tight = lab.http(point="listen 100", **load)

# %% [markdown] lang="en"
# The lab has already told you more than many tools would. So look first as somebody who counts answers and does not read them:

# %% [markdown] lang="ko"
# 랩은 이미 많은 도구보다 더 많은 것을 말해 주었습니다. 그러니 먼저, 응답을 세기만 하고 읽지는 않는 사람처럼 봅시다.

# %%
trap = study.summarize([roomy, tight])
trap["answers per second"] = trap["counted"] / trap["load_s"]
answers = study.requests([roomy, tight])
counted = answers[~answers["warmup"].astype(bool)]
trap["median_of_all_s"] = trap["point"].map(counted.groupby("point")["response_s"].median())
notebook.table(trap[["point", "answers per second", "median_of_all_s"]])

# %% [markdown] lang="en"
# Which of the two would you have put into production? Now the same two runs, the successes alone:

# %% [markdown] lang="ko"
# 둘 가운데 어느 쪽을 운영 환경에 넣었겠습니까? 이제 같은 두 측정에서 성공한 응답만 봅니다.

# %%
notebook.table(trap[["point", "throughput_per_s", "p50_s", "error_share"]])
plots.throughput_by_case(trap);

# %%
first, second = trap.to_dict("records")
measured = {"all answers": second["answers per second"] / first["answers per second"]}
measured["successes"] = second["throughput_per_s"] / first["throughput_per_s"]
lab.score("a short queue", measured | {"share refused": second["error_share"]})

# %% [markdown] lang="en"
# ## Why so many, and so fast?
#
# Little's law again: 200 users want to be inside, and there is room for 5 in the workers and for some 100 in the queue.
# Who finds no room is refused at once: uWSGI never hears of it, nginx answers 502. And in a closed loop the one who was refused
# asks again at once. So those who are outside ask over and over, and each refusal costs less than a page does.

# %% [markdown] lang="ko"
# ## 왜 이렇게 많고, 이렇게 빠를까
#
# 다시 리틀의 법칙입니다. 사용자 200명이 안에 있으려 하는데, 자리는 워커에 5개, 대기열에 100개쯤입니다. 자리가 없는 사람은 곧바로
# 거절당합니다. uWSGI는 그 요청을 알지도 못하고, nginx가 502로 응답합니다. 그리고 폐루프에서는 거절당한 사람이 곧바로 다시 요청합니다.
# 그래서 밖에 있는 사람들이 묻고 또 묻습니다. 거절 한 번은 페이지 하나를 만드는 일보다 쌉니다.

# %%
plots.gauge_over_time(study.gauges([tight]), names);

# %%
lab.shell("tail -n 1 /var/log/nginx/error.log")

# %% [markdown] lang="en"
# If the lab calls this run [disturbed](../../docs/glossary.md), read its reason: so many refusals a second are work for the load
# generator too.
#
# A longer queue is not faster either. It only says how long somebody may wait at most: places ÷ successes per second.

# %% [markdown] lang="ko"
# 랩이 이 측정을 [방해받음(disturbed)](../../docs/glossary.md)이라고 하면 이유를 읽어 보세요. 거절이 그렇게 쏟아지면 부하 생성기도
# 바빠집니다.
#
# 대기열을 늘린다고 빨라지는 것도 아닙니다. 대기열은 사람이 최대 얼마나 기다릴 수 있는지를 정할 뿐입니다. 자리 수 ÷ 초당 성공 수입니다.

# %%
queue = pd.DataFrame({"places in the queue": [100, 1024]})
queue["seconds in it"] = queue["places in the queue"] / first["throughput_per_s"]
notebook.table(queue)

# %% [markdown] lang="en"
# Refusing early can be right: better a quick "no" than an answer that nobody waits for any more. But it is a decision, and
# it must be counted as what it is.
#
# ## What we have seen
#
# - A page that computes ends at the cores. More processes or threads than fill them bring nothing but memory.
# - A page that waits ends at the workers. There a thread does what a process does, with less memory.
# - Most pages do both. Then there are two ceilings, and it pays to know which is the lower one before one tunes.
# - Little's law says how many stand in a queue from throughput and response time alone, without a look into the server.
# - An error is the fastest answer of all. **Count successes, name the errors, and only then read times.**
#
# In `04_eight_cases` you ask whether 10 processes are better than 5 in earnest: with blocks and an interval.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# 일찍 거절하는 편이 옳을 때도 있습니다. 이제 아무도 기다리지 않는 응답보다는 빠른 거절이 낫습니다. 하지만 그것은 하나의 결정이고,
# 거절은 거절로 세어야 합니다.
#
# ## 정리
#
# - 계산하는 페이지는 코어에서 끝납니다. 코어를 채우고 남는 프로세스나 스레드는 메모리만 더 씁니다.
# - 기다리는 페이지는 워커에서 끝납니다. 여기서는 스레드가 프로세스의 일을 더 적은 메모리로 합니다.
# - 대부분의 페이지는 두 가지를 다 합니다. 그러면 천장도 두 개이니, 튜닝하기 전에 어느 쪽이 낮은지 알아 두는 것이 좋습니다.
# - 리틀의 법칙은 서버 안을 들여다보지 않고도, 처리량과 응답 시간만으로 대기열에 몇이 서 있는지 말해 줍니다.
# - 오류는 가장 빠른 응답입니다. **성공을 세고, 오류를 밝히고, 시간은 그다음에 읽으세요.**
#
# 프로세스 10개가 5개보다 나은지는 `04_eight_cases`에서 블록과 신뢰 구간으로 제대로 묻습니다.
#
# 이제 설정을 처음 상태로 되돌립니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Begin with `lab.reset()`, and end with `lab.end()`.
#
# 1. Does `/db/` compute or wait? Decide it with two measurements and one plot: `lab.http(path="/db/", users=50, requests=2000)`
#    with `uwsgi_processes=5` and with `uwsgi_processes=10`, and `plots.cpu_over_time`.
# 2. People read before they click. Predict with Little's law the throughput and the response time of
#    `lab.http(path="/io/?ms=50", users=50, requests=500, wait_s=1)`, with 5 processes. Then measure.
# 3. A closed loop is polite: it never has more than its users inside. Take
#    `lab.http(path="/io/?ms=50", users=50, requests=600, requests_per_s=150, warmup_s=1)`, where 150 requests come each second
#    whatever happens. What becomes of the response times with 5 processes? And with 10?
# 4. People give up after 3 s. Which `uwsgi_listen` suits your front page, and what should happen to those who find no room?
#
# <details><summary>Answer 1</summary>
#
# If the cores are full with 5 processes, and 10 serve no more, it computes. With sqlite there is no other service to wait for:
# the file is read within the worker's own process. With `database="postgresql"` a worker does wait, for a process that needs
# the same CPUs.
# </details>
#
# <details><summary>Answer 2</summary>
#
# Users = throughput × (response time + wait). If nobody queued, it would be 50 / (0.05 + 1), some 48 pages a second. The workers
# can make up to 100, so there is hardly a queue, and the response time is little more than 50 ms. The same 50 users, the same
# 5 workers, and a wholly different response time: the load is half of the measurement.
# </details>
#
# <details><summary>Answer 3</summary>
#
# With 5 processes 150 come and at most 100 go each second, so the queue grows by some 50 each second, for as long as this goes
# on. After 5 s, warm-up included, some 250 wait, and the last of them for 2.5 s. It never settles. With 10 processes up to 200
# can go, and the queue stays short. Beyond the ceiling an open load has no response time that one could name; a closed loop
# hides just that.
# </details>
#
# <details><summary>Answer 4</summary>
#
# Successes per second × 3 s. Whoever stood behind that would get an answer after having left. Those who find no room should
# get an honest 503 or 502 at once, and whoever watches the site should see these as errors: as a number of their own, never
# within an average of response times.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# `lab.reset()`으로 시작하고 `lab.end()`로 끝내세요.
#
# 1. `/db/`는 계산할까요, 기다릴까요? 측정 두 번과 그림 하나로 판단하세요. `lab.http(path="/db/", users=50, requests=2000)`을
#    `uwsgi_processes=5`와 `uwsgi_processes=10`에서 재고, `plots.cpu_over_time`을 보면 됩니다.
# 2. 사람은 읽고 나서 클릭합니다. 프로세스가 5개일 때
#    `lab.http(path="/io/?ms=50", users=50, requests=500, wait_s=1)`의 처리량과 응답 시간을 리틀의 법칙으로 예측하고 측정하세요.
# 3. 폐루프는 점잖습니다. 사용자 수보다 많은 요청이 안에 있는 일이 없습니다. 무슨 일이 있어도 초당 요청 150개가 오는
#    `lab.http(path="/io/?ms=50", users=50, requests=600, requests_per_s=150, warmup_s=1)`을 걸어 보세요.
#    프로세스가 5개일 때 응답 시간은 어떻게 될까요? 10개일 때는?
# 4. 사람들은 3초가 지나면 포기합니다. 여러분의 첫 페이지에는 `uwsgi_listen`이 얼마여야 맞고, 자리가 없는 요청은 어떻게 되어야 할까요?
#
# <details><summary>답 1</summary>
#
# 프로세스 5개로 코어가 다 차고 10개로도 더 처리하지 못하면 계산하는 페이지입니다. sqlite에는 기다릴 다른 서비스가 없습니다. 파일을
# 워커 자신의 프로세스 안에서 읽습니다. `database="postgresql"`이면 워커가 기다리기는 하지만, 같은 CPU를 쓰는 프로세스를 기다립니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 사용자 수 = 처리량 × (응답 시간 + 쉬는 시간). 대기열이 없다면 50 / (0.05 + 1), 곧 초당 48페이지쯤입니다. 워커는 100페이지까지 만들 수
# 있으므로 대기열은 거의 없고 응답 시간은 50 ms를 조금 넘습니다. 같은 사용자 50명, 같은 워커 5개인데 응답 시간은 전혀 다릅니다.
# 측정의 절반은 부하입니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 프로세스가 5개면 초당 150개가 오고 많아야 100개가 나가므로, 이 상태가 이어지는 동안 대기열은 초당 50개쯤 늘어납니다. 워밍업을 더해
# 5초가 지나면 250개쯤이 기다리고, 마지막 요청은 2.5초를 기다립니다. 아무리 기다려도 안정되지 않습니다. 프로세스가 10개면 200개까지
# 나갈 수 있어 대기열이 짧게 유지됩니다. 천장을 넘는 열린 부하에는 이것이라고 말할 응답 시간이 없습니다. 폐루프는 바로 그 사실을
# 숨깁니다.
# </details>
#
# <details><summary>답 4</summary>
#
# 초당 성공 수 × 3초입니다. 그보다 뒤에 선 사람은 이미 떠난 뒤에 응답을 받습니다. 자리가 없는 요청은 곧바로 정직한 503이나 502를
# 받아야 하고, 사이트를 지켜보는 사람에게는 그것이 오류로 보여야 합니다. 따로 센 숫자로 보여야지, 응답 시간의 평균에 섞이면 안 됩니다.
# </details>
