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
# # The way of a request
#
# Somebody asks for a page and waits. Between the question and the answer lie a handshake, a proxy, a queue, a
# [worker](../../docs/glossary.md), Django, and the whole way back. If the page is slow, which of them was it?
#
# In this lesson you follow a request hop by hop. You see the same request by two clocks, the client's and nginx's.
# And then you let 50 users ask at once, and find out where their additional time is spent.
#
# The measurements take about a minute, all together.

# %% [markdown] lang="ko"
# # 요청이 지나가는 길
#
# 누군가 페이지를 요청하고 기다립니다. 질문과 응답 사이에는 핸드셰이크, 프록시, 대기열, [워커](../../docs/glossary.md),
# Django, 그리고 되돌아오는 길 전체가 있습니다. 페이지가 느리다면 그중 어디가 느린 것일까요?
#
# 이 수업에서는 요청 하나를 구간별로 따라갑니다. 같은 요청을 클라이언트와 nginx, 두 개의 시계로 봅니다. 그런 다음 사용자 50명이
# 한꺼번에 요청하게 하고, 늘어난 시간이 어디에서 쓰이는지 찾아냅니다.
#
# 측정은 모두 합쳐 일 분쯤 걸립니다.

# %%
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.study import plots

lab = lesson.begin("01_way_of_a_request", "en", asks=["/", "/io/?ms=50", "/cpu/?ms=20"])

# %% [markdown] lang="en"
# ## Hop by hop
#
# The picture is drawn from the machine's own list of processes. A request comes in on the left.

# %% [markdown] lang="ko"
# ## 구간별로 보기
#
# 이 그림은 머신의 프로세스 목록을 그대로 읽어 그린 것입니다. 요청은 왼쪽에서 들어옵니다.

# %%
lab.diagram();

# %% [markdown] lang="en"
# Where a request goes from nginx, nginx's own file says. Find the two lines that send a page (`/`) on its way, and
# those for the chat (`/ws/`):

# %% [markdown] lang="ko"
# 요청이 nginx에서 어디로 가는지는 nginx의 설정 파일에 적혀 있습니다. 페이지(`/`)를 보내는 두 줄과 채팅(`/ws/`)을 보내는
# 줄을 찾아보세요.

# %%
lab.shell("grep -nE 'location|_pass |listen ' /etc/nginx/conf.d/stacklab.conf")

# %% [markdown] lang="en"
# So this is the way of a page, and these are the clocks that see it:
#
# | hop | what happens there | whose clock runs |
# |---|---|---|
# | client to nginx | TCP and TLS, once for each connection; then the request, and in the end the answer | the client's |
# | nginx | reads the request, decides where it goes, sends the answer | the client's, and nginx's `$request_time` |
# | nginx to uWSGI | a socket with a queue, where a request stays until a worker is free | both, and `$upstream_response_time` |
# | uWSGI and Django | a worker runs middleware, view and template | all three, still |
#
# Each clock runs while the next one does. So the time by one clock *contains* the time by the next, and what lies
# between the two is a hop.

# %% [markdown] lang="ko"
# 페이지 하나가 지나는 길과, 그것을 재는 시계는 다음과 같습니다.
#
# | 구간 | 일어나는 일 | 돌고 있는 시계 |
# |---|---|---|
# | 클라이언트에서 nginx까지 | 연결마다 한 번 TCP와 TLS, 그다음 요청, 마지막에 응답 | 클라이언트의 시계 |
# | nginx | 요청을 읽고, 어디로 보낼지 정하고, 응답을 보냄 | 클라이언트의 시계와 nginx의 `$request_time` |
# | nginx에서 uWSGI까지 | 대기열이 있는 소켓. 워커가 빌 때까지 요청이 머무름 | 위의 둘과 `$upstream_response_time` |
# | uWSGI와 Django | 워커가 미들웨어, 뷰, 템플릿을 실행 | 여전히 셋 모두 |
#
# 한 시계가 도는 동안 다음 시계도 돕니다. 그래서 앞 시계로 잰 시간은 뒤 시계로 잰 시간을 *포함하고*, 둘의 차이가 곧 한 구간입니다.

# %% [markdown] lang="en"
# ## Question
#
# One user asks for three pages: `/` renders a template, `/io/?ms=50` waits 50 ms as a page does that asks another
# service, `/cpu/?ms=20` keeps a core busy for about 20 ms. Nobody else is there.
#
# **Of the time that the client waits, what share is spent behind nginx, in uWSGI and Django?**
#
# Common wisdom has it that the application is the slow part, and all before it is free. For which of the three is
# that so?
#
# ## Your prediction
#
# Write percents in place of `None`, or into the form: 50 means that the client waits half of its time for uWSGI and
# Django.

# %% [markdown] lang="ko"
# ## 질문
#
# 사용자 한 명이 세 페이지를 요청합니다. `/`는 템플릿을 렌더링하고, `/io/?ms=50`은 다른 서비스에 물어보는 페이지처럼 50 ms를
# 기다리고, `/cpu/?ms=20`은 약 20 ms 동안 코어 하나를 쉬지 않고 씁니다. 다른 사용자는 없습니다.
#
# **클라이언트가 기다리는 시간 가운데 nginx 뒤쪽, 곧 uWSGI와 Django에서 쓰이는 비율은 얼마일까요?**
#
# 흔히 느린 것은 애플리케이션이고 그 앞은 공짜나 다름없다고 합니다. 셋 가운데 어느 페이지에서 그럴까요?
#
# ## 예측
#
# `None` 자리에 퍼센트를 적거나 아래 양식에 적으세요. 50이라면 클라이언트가 기다린 시간의 절반이 uWSGI와 Django의 몫이라는
# 뜻입니다.

# %%
my_shares = {"/": None, "/io/?ms=50": None, "/cpu/?ms=20": None}  # percent
lab.predict("behind nginx", my_shares)

# %% [markdown] lang="en"
# ## Measure: one user
#
# 50 requests for each page, with a pause after each answer. The first second warms everything up and is not counted.

# %% [markdown] lang="ko"
# ## 측정: 사용자 한 명
#
# 페이지마다 50번 요청하고, 응답을 받을 때마다 잠시 쉽니다. 처음 일 초는 예열이므로 집계하지 않습니다.

# %%
pages = ["/", "/io/?ms=50", "/cpu/?ms=20"]
load = {"users": 1, "requests": 50, "wait_s": 0.05, "ramp_s": 0, "warmup_s": 1}
alone = {path: lab.http(point=f"{path}, 1 user", path=path, **load) for path in pages}

# %% [markdown] lang="en"
# ## One request by eye
#
# nginx writes a line for each request. Here is the last one for the page that waits:

# %% [markdown] lang="ko"
# ## 요청 하나를 눈으로 보기
#
# nginx는 요청마다 로그를 한 줄 씁니다. 기다리는 페이지의 마지막 줄은 이렇습니다.

# %%
lab.shell("grep -F '/io/?ms=50' /var/log/nginx/requests.jsonl | tail -n 1")

# %% [markdown] lang="en"
# `duration_s` is nginx's `$request_time`, `upstream_s` its `$upstream_response_time`: seconds, in whole thousandths.
# `upstream_addr` is whom nginx asked. `connection_requests` says how many requests this connection had brought by
# then, this one included.
#
# How long did nginx itself take? And what does the line *not* tell, although somebody waited for it?

# %% [markdown] lang="ko"
# `duration_s`는 nginx의 `$request_time`이고 `upstream_s`는
# `$upstream_response_time`입니다. 단위는 초이고 천분의 일 초까지 나옵니다. `upstream_addr`은 nginx가
# 요청을 넘긴 상대입니다. `connection_requests`는 이 연결로 지금까지 온 요청의 수이며, 이 요청도 포함합니다.
#
# nginx 자신은 시간을 얼마나 썼나요? 그리고 누군가 기다린 시간인데도 이 줄이 말해 주지 *않는* 것은 무엇일까요?

# %% [markdown] lang="en"
# ## Two views of the same request
#
# The load generator writes a row for each request too. `run.table("requests")` is what the client saw,
# `run.table("server")` is nginx's lines. A single user asks for one page after the other, so the first row of one
# table is the first row of the other, and so on.

# %% [markdown] lang="ko"
# ## 같은 요청을 두 시점에서 보기
#
# 부하 생성기도 요청마다 한 행을 씁니다. `run.table("requests")`는 클라이언트가 본 것이고,
# `run.table("server")`는 nginx가 쓴 줄입니다. 혼자인 사용자는 페이지를 하나씩 차례로 요청하므로, 한 표의 첫 행은 다른
# 표의 첫 행이고 그다음 행도 마찬가지입니다.

# %%
views = {}
for path, run in alone.items():
    client = run.table("requests").sort_values("start_s", ignore_index=True)
    server = run.table("server").sort_values("end_s", ignore_index=True)
    seen = {"client": client["duration_s"], "nginx": server["duration_s"], "uWSGI": server["upstream_s"]}
    views[path] = client[["warmup"]].assign(**{f"{clock}, ms": 1000 * took_s for clock, took_s in seen.items()})
notebook.table(views["/io/?ms=50"].head(4))

# %% [markdown] lang="en"
# The first row opened the connection: TCP, then TLS with its certificate. By how much did the client's wait exceed
# what nginx noted, in this row and in those below it? nginx's clock starts with the first byte of a *request*, and by
# then TLS is agreed.
#
# ## Where the time goes
#
# The means over all counted requests. nginx's clock ticks in whole milliseconds, so one line about a quick page says
# little, and the mean of 50 says more.

# %% [markdown] lang="ko"
# 첫 행의 요청이 연결을 열었습니다. TCP를 맺고, 인증서를 주고받는 TLS 핸드셰이크를 했습니다. 이 행에서, 그리고 그 아래 행에서
# 클라이언트는 nginx가 적은 시간보다 얼마나 더 기다렸나요? nginx의 시계는 *요청*의 첫 바이트에서 시작하고, 그때는 TLS가 이미 끝나
# 있습니다.
#
# ## 시간은 어디에서 쓰이는가
#
# 집계한 요청 전체의 평균입니다. nginx의 시계는 밀리초 단위로만 움직이므로 빠른 페이지의 로그 한 줄은 별로 말해 주는 것이 없고, 50개의
# 평균은 더 많은 것을 말해 줍니다.

# %%
means = pd.DataFrame({path: view.loc[~view["warmup"], "client, ms":].mean() for path, view in views.items()}).T
notebook.table(means.reset_index(names="page"))

# %% [markdown] lang="en"
# Your prediction beside it:

# %% [markdown] lang="ko"
# 여러분의 예측과 나란히 놓으면 다음과 같습니다.

# %%
lab.score("behind nginx", dict(100 * means["uWSGI, ms"] / means["client, ms"]))

# %% [markdown] lang="en"
# And the same as a picture. Each colour is a difference between two clocks:

# %% [markdown] lang="ko"
# 같은 내용을 그림으로 봅니다. 색깔 하나가 두 시계의 차이입니다.

# %%
client, nginx, uwsgi = means["client, ms"], means["nginx, ms"], means["uWSGI, ms"]
parts = pd.DataFrame({"way, TLS, client": client - nginx, "nginx": nginx - uwsgi, "uWSGI and Django": uwsgi})
shares = 100 * parts.div(client, axis=0)
ax = shares.plot.barh(stacked=True, figsize=(9, 2.6), color=["#56B4E9", "#0072B2", "#E69F00"])
ax.set(xlabel="percent of what the client waits")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1));

# %% [markdown] lang="en"
# For which page do the hops before uWSGI take the largest *share*? Are they also *longer* there, in milliseconds?
# Look at the table again. Whoever makes a page twice as quick shortens one of the three colours only.
#
# ## Many users
#
# Now 50 users ask for `/io/?ms=50`, each again as soon as it has its answer: a [closed loop](../../docs/glossary.md).
# The page waits 50 ms, as before, and uWSGI has 5 workers.
#
# **Predict**: how long does a client wait, in the median? And how many requests stand in the queue in front of uWSGI?

# %% [markdown] lang="ko"
# uWSGI 앞쪽 구간이 차지하는 *비율*이 가장 큰 페이지는 무엇인가요? 밀리초로 보아도 그 페이지에서 더 *긴가요*? 표를 다시 보세요.
# 페이지를 두 배 빠르게 만들어도 세 색깔 가운데 하나만 짧아집니다.
#
# ## 사용자가 많을 때
#
# 이제 사용자 50명이 `/io/?ms=50`을 요청하고, 응답을 받는 즉시 다시 요청합니다. 이것이
# [닫힌 루프](../../docs/glossary.md)입니다. 페이지는 앞에서와 같이 50 ms를 기다리고, uWSGI의 워커는 5개입니다.
#
# **예측하세요.** 클라이언트는 얼마나 기다릴까요(중앙값)? 그리고 uWSGI 앞의 대기열에는 요청이 몇 개나 서 있을까요?

# %%
my_crowd = {"median, ms": None, "in the queue": None}
lab.predict("50 users", my_crowd)

# %%
fifty = lab.http(point="/io/?ms=50, 50 users", path="/io/?ms=50", users=50, requests=600, ramp_s=1, warmup_s=1)

# %% [markdown] lang="en"
# While the load went on, the [sampler](../../docs/glossary.md) looked at uWSGI twice a second. How many of its
# workers were busy, and how many requests waited in front of it? Add the two lines: how many is that?

# %% [markdown] lang="ko"
# 부하가 걸려 있는 동안 [샘플러](../../docs/glossary.md)가 초당 두 번씩 uWSGI를 들여다보았습니다. 일하는 워커는 몇
# 개였고, 그 앞에서 기다리는 요청은 몇 개였나요? 두 선을 더하면 얼마인가요?

# %%
plots.gauge_over_time(study.gauges([fifty]), ["uwsgi_listen_queue", "uwsgi_busy_workers"]);

# %%
in_load = study.gauges([fifty]).query("t_s > 0").groupby("name")["value"].median()
one_and_fifty = [alone["/io/?ms=50"], fifty]
summary = study.summarize(one_and_fifty)
crowd = summary.iloc[-1]
lab.score("50 users", {"median, ms": 1000 * crowd["p50_s"], "in the queue": in_load["uwsgi_listen_queue"]})

# %% [markdown] lang="en"
# What share of the requests was answered within which time, alone and among 50? The scale is logarithmic: equal steps
# are equal factors.

# %% [markdown] lang="ko"
# 혼자일 때와 50명이 함께일 때, 어느 시간 안에 응답을 받은 요청의 비율은 얼마인가요? 가로축은 로그 눈금입니다. 같은 간격은 같은 배율을
# 뜻합니다.

# %%
plots.latency_distribution(study.requests(one_and_fifty));

# %% [markdown] lang="en"
# ## Does the server know?
#
# On the diagonal the two clocks agree. Above it the client waited longer than nginx knows of: on the way, in the
# handshake, or because the client itself was late.

# %% [markdown] lang="ko"
# ## 서버도 알고 있는가
#
# 점이 대각선에 놓이면 두 시계가 일치하는 것입니다. 대각선보다 위에 있으면 클라이언트가 nginx가 아는 것보다 오래 기다린 것입니다. 길
# 위에서, 핸드셰이크에서, 또는 클라이언트 자신이 늦어서 그렇습니다.

# %%
plots.client_vs_server(summary);

# %% [markdown] lang="en"
# Where the two agree, the time was spent at nginx or behind it, and `upstream_s` says: behind it. So has uWSGI become
# slow? Ask how its time is made up. [Little's law](../../docs/glossary.md) holds for each part of a system by itself:
#
# > how long each stays = how many are inside / how many leave each second
#
# So the median length of the queue gives the time in the queue, and the busy workers give the time in a worker.

# %% [markdown] lang="ko"
# 두 시계가 일치한다면 시간은 nginx에서 또는 그 뒤에서 쓰인 것이고, `upstream_s`는 뒤라고 말합니다. 그러면 uWSGI가 느려진
# 것일까요? 그 시간이 무엇으로 이루어져 있는지 물어봅시다. [리틀의 법칙](../../docs/glossary.md)은 시스템의 각 부분에서도
# 따로 성립합니다.
#
# > 머무는 시간 = 안에 있는 수 / 초당 나가는 수
#
# 그러므로 대기열 길이의 중앙값에서 대기열에 머문 시간이, 바쁜 워커의 수에서 워커 안에 머문 시간이 나옵니다.

# %%
behind_ms = 1000 * study.server([fifty]).query("t_s > 0")["upstream_s"].median()
inside = in_load[["uwsgi_listen_queue", "uwsgi_busy_workers"]]
queue_ms, worker_ms = 1000 * inside / crowd["throughput_per_s"]
one_ms = means.loc["/io/?ms=50", "uWSGI, ms"]  # a single user finds nobody in the queue
columns = ["users", "behind nginx, ms", "in the queue, ms", "in a worker, ms"]
notebook.table(pd.DataFrame([(1, one_ms, 0.0, one_ms), (50, behind_ms, queue_ms, worker_ms)], columns=columns))

# %% [markdown] lang="en"
# Compare the two rows. Which column grew, and which did not? Do the last two of the second row add up to what nginx
# noted? And which would you change: the page, or the number of those who serve it?
#
# ## What we have seen
#
# - A request goes through hops, and each clock sees a part of the way. The client's time contains nginx's, nginx's
#   contains that behind it, and the differences are the hops.
# - A handshake comes before nginx's clock starts. Only the client can tell what it costs.
# - `upstream_s` is the time *behind nginx*, with the queue. It does not say that a page is slow: it may have waited
#   for its turn.
# - In a closed loop with more users than workers, nearly everybody who is not in a worker stands in the queue. More
#   users make the queue longer, and the hops stay what they are as long as there is CPU for them.
# - Before you make a hop faster, ask how many wait in front of it.
#
# `02_nginx_connections` asks what nginx itself can run out of. Now put the settings back as you found them.

# %% [markdown] lang="ko"
# 두 행을 비교하세요. 어느 열이 늘었고 어느 열은 늘지 않았나요? 둘째 행의 마지막 두 값을 더하면 nginx가 적은 시간이 되나요?
# 여러분이라면 무엇을 바꾸겠습니까? 페이지일까요, 그것을 처리하는 워커의 수일까요?
#
# ## 정리
#
# - 요청은 여러 구간을 지나고, 시계마다 그 길의 일부를 봅니다. 클라이언트의 시간은 nginx의 시간을 포함하고, nginx의 시간은 그 뒤의
#   시간을 포함하며, 그 차이가 각 구간입니다.
# - 핸드셰이크는 nginx의 시계가 시작하기 전에 일어납니다. 그 비용은 클라이언트만 알 수 있습니다.
# - `upstream_s`는 대기열까지 포함한 *nginx 뒤쪽*의 시간입니다. 이 값이 크다고 페이지가 느린 것은 아닙니다. 차례를 기다렸을
#   수도 있습니다.
# - 사용자가 워커보다 많은 닫힌 루프에서는 워커 안에 있지 않은 요청이 거의 모두 대기열에 섭니다. 사용자가 늘면 대기열이 길어지고, CPU가
#   남아 있는 한 각 구간은 그대로입니다.
# - 어느 구간을 빠르게 만들기 전에, 그 앞에서 몇이 기다리는지 먼저 물으세요.
#
# `02_nginx_connections`에서는 nginx 자신에게 무엇이 모자랄 수 있는지 묻습니다. 이제 설정을 처음 상태로 되돌립니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Begin with `lab.reset()`, and end with `lab.end()`.
#
# 1. The same 50 users, `/cpu/?ms=20`: predict the queue and the time in a worker, then measure and compute both as
#    above. Is the page still done in about 20 ms once a worker has it? `lab.cpus` says how many CPUs the web host may
#    use.
# 2. How many connections did the 50 users open? Count `study.server([fifty])["connection"].nunique()`. What would
#    change for the client if each request came on a connection of its own? Where would nginx see it?
# 3. People do not wait for each other. Let requests start on a schedule: `requests_per_s=60` with `users=50`,
#    `requests=300` and `path="/io/?ms=50"`, and then `requests_per_s=120`. At which rate must the queue begin to
#    grow? How long does it get?
#
# <details><summary>Answer 1</summary>
#
# As many requests are in workers as before, and the others are in the queue. But here the workers calculate. Where
# there are fewer CPUs than busy workers, these take turns, and the time in a worker is longer than the work in it: 5
# workers on one CPU take about 5 times as long each. So this hop does become slower, and more workers would make it
# slower still. The sum is what Little's law says: 50 users divided by the throughput.
# </details>
#
# <details><summary>Answer 2</summary>
#
# Each user keeps its connection, so there are about as many connections as users, and the handshake is paid once.
# With a new connection each time, every request would take as long as the first row of your table. nginx would not
# note it in `duration_s`; you would see it in the CPU of nginx, which calculates the handshakes, and in
# `connection_requests`, which would always be 1.
# </details>
#
# <details><summary>Answer 3</summary>
#
# A worker that waits 50 ms a page, and a little more, serves somewhat less than 20 pages a second, so 5 of them serve
# somewhat less than 100. Below that, an even schedule leaves the queue empty or nearly so. Above it, what comes too
# much each second stays, and the queue grows for as long as the load goes on: there is no length at which it ends,
# but for the queue's own limit, `uwsgi_listen`. In a closed loop it could never be longer than the number of users.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# `lab.reset()`으로 시작하고 `lab.end()`로 끝내세요.
#
# 1. 같은 50명이 `/cpu/?ms=20`을 요청합니다. 대기열과 워커 안의 시간을 예측한 다음, 측정하고 위와 같이 계산하세요. 워커가 맡은
#    뒤에는 여전히 20 ms쯤에 끝나나요? `lab.cpus`는 웹 호스트가 쓸 수 있는 CPU의 수입니다.
# 2. 사용자 50명은 연결을 몇 개 열었을까요? `study.server([fifty])["connection"].nunique()`로 세어
#    보세요. 요청마다 새 연결을 연다면 클라이언트에게는 무엇이 달라질까요? nginx에서는 그것이 어디에 보일까요?
# 3. 사람들은 서로를 기다려 주지 않습니다. 요청이 정해진 시각에 시작되게 해 보세요. `users=50`, `requests=300`,
#    `path="/io/?ms=50"`에 `requests_per_s=60`, 그다음에는 `requests_per_s=120`입니다. 대기열은
#    어느 속도부터 늘어나야 할까요? 얼마나 길어지나요?
#
# <details><summary>답 1</summary>
#
# 워커 안에 있는 요청의 수는 앞에서와 같고, 나머지는 대기열에 있습니다. 그러나 여기서는 워커가 계산을 합니다. 바쁜 워커보다 CPU가 적으면
# 워커들이 번갈아 CPU를 쓰므로, 워커 안에 머무는 시간이 일 자체보다 길어집니다. CPU 하나를 워커 5개가 나누어 쓰면 하나하나가 5배쯤
# 오래 걸립니다. 그러니 이 구간은 정말로 느려졌고, 워커를 늘리면 더 느려집니다. 합계는 리틀의 법칙이 말하는 그대로, 사용자 50명을
# 처리량으로 나눈 값입니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 사용자마다 연결을 유지하므로 연결의 수는 사용자의 수와 거의 같고, 핸드셰이크 비용은 한 번만 듭니다. 매번 새 연결을 연다면 모든 요청이 표의
# 첫 행만큼 오래 걸립니다. nginx의 `duration_s`에는 그것이 나타나지 않습니다. 대신 핸드셰이크를 계산하는 nginx의 CPU
# 사용량에, 그리고 늘 1이 될 `connection_requests`에 나타납니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 페이지마다 50 ms에 조금 더 기다리는 워커는 초당 20페이지보다 조금 적게 처리하고, 그런 워커 5개는 100페이지보다 조금 적게
# 처리합니다. 그 아래에서는 간격이 고른 일정이라면 대기열이 비어 있거나 거의 비어 있습니다. 그 위에서는 매초 넘치는 만큼이 쌓이고, 부하가
# 계속되는 한 대기열도 계속 늘어납니다. 대기열 자체의 한계인 `uwsgi_listen` 말고는 멈추는 길이가 없습니다. 닫힌 루프에서는 대기열이
# 사용자의 수보다 길어질 수 없습니다.
# </details>
