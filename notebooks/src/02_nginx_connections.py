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
# # nginx: connections
#
# Each nginx [worker](../../docs/glossary.md) has a table of connections. `worker_connections` says how many it holds.
# The engineer whose post we measure says two things of it:
#
# - **C1**: nginx serves at most `worker_processes` × `worker_connections` clients.
# - **C3**: CPUs are few, so raising `worker_connections` is the practical way to carry more traffic.
#
# So the post went from 1024 to 4000. That is a guess, as long as nobody has seen where 1024 ends. A limit is best
# looked for where it is near: in this lesson you make the table small, walk over its edge, and look at what fills it.
# Then 4000 is no guess any more.
#
# The measurements take about 4 minutes, all together.

# %% [markdown] lang="ko"
# # nginx: 연결
#
# nginx [워커](../../docs/glossary.md)는 저마다 연결 테이블을 하나씩 가지고 있습니다. 거기에 몇 개가 들어가는지는
# `worker_connections`가 정합니다. 우리가 검증하는 글을 쓴 엔지니어는 이것에 대해 두 가지를 주장합니다.
#
# - **C1**: nginx는 많아야 `worker_processes` × `worker_connections`의 클라이언트를 받는다.
# - **C3**: CPU는 몇 개 되지 않으므로, 더 많은 트래픽을 받는 현실적인 방법은 `worker_connections`를 올리는 것이다.
#
# 그래서 그 글은 1024를 4000으로 올렸습니다. 1024의 끝이 어디인지 아무도 보지 않았다면 이것은 짐작입니다. 한계는 가까이 있을 때
# 찾기 쉽습니다. 이 수업에서는 테이블을 작게 만들어 그 가장자리를 넘어가 보고, 무엇이 테이블을 채우는지 들여다봅니다. 그러고 나면 4000은
# 더 이상 짐작이 아닙니다.
#
# 측정에는 모두 합쳐 4분쯤 걸립니다.

# %%
import matplotlib.pyplot as plt

from stacklab import lesson, notebook, study
from stacklab.bench import Experiment, Point, clients_held
from stacklab.settings import StackSettings
from stacklab.study import plots
from stacklab.workload import HttpLoad

lab = lesson.begin("02_nginx_connections", "en", asks=["/io/?ms=400"], chats=True)

# %% tags=["parameters"]
# True: two cases of chat clients and five blocks of slices. False, or STACKLAB_FULL=1 in the environment: four cases
# and eighteen blocks.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# nginx has one worker here. It is given **64** connections, the fewest that the lab allows. The page `/io/?ms=400`
# waits 400 ms, and each user asks again as soon as it has its answer. So each is nearly always waiting, and its
# connection is held all the time. One run each with 10, 20, 30, 40 and 60 users.
#
# **At how many users do errors begin?**
#
# ## Your prediction
#
# What does C1 say? And what do you say? Write a number of users, whether or not it is one of the five.

# %% [markdown] lang="ko"
# ## 질문
#
# 여기서 nginx의 워커는 하나입니다. 그 워커에 연결을 **64**개만 줍니다. 이 랩이 허용하는 최솟값입니다. 페이지
# `/io/?ms=400`은 400 ms를 기다리고, 사용자는 응답을 받는 즉시 다시 요청합니다. 그래서 사용자마다 거의 언제나 기다리는 중이고,
# 연결은 내내 붙잡혀 있습니다. 사용자 10, 20, 30, 40, 60명으로 한 번씩 측정합니다.
#
# **사용자가 몇 명일 때 오류가 시작될까요?**
#
# ## 예측
#
# C1에 따르면 몇 명일까요? 여러분의 생각은 어떤가요? 위의 다섯 값 가운데 하나가 아니어도 좋으니 사용자의 수를 적으세요.

# %%
my_edge = {"users": None}
lab.predict("the edge", my_edge)

# %% [markdown] lang="en"
# ## The change
#
# One more thing has to be made sure of: that nginx is what gives way, and nothing behind it. With its five workers,
# uWSGI would let most of 60 requests stand in a queue, and one could not tell what the times come from. So it is
# given 10 processes of 10 threads each. They may all wait at once, 100 requests, and need no queue.

# %% [markdown] lang="ko"
# ## 변경
#
# 확실히 해 둘 것이 하나 더 있습니다. 한계에 부딪히는 것이 nginx이고, 그 뒤의 무엇이 아니어야 합니다. uWSGI 워커가 다섯뿐이면 요청
# 60개 가운데 대부분이 대기열에 서게 되고, 응답 시간이 무엇 때문인지 알 수 없습니다. 그래서 uWSGI에 프로세스 10개를 주고 각각
# 스레드를 10개씩 줍니다. 그러면 요청 100개가 한꺼번에 기다릴 수 있어 대기열이 필요 없습니다.

# %%
lab.set(nginx_worker_connections=64, uwsgi_processes=10, uwsgi_threads=10)

# %% [markdown] lang="en"
# ## Measure
#
# The report of each run says what failed. Past the edge a run may be called [degraded](../../docs/glossary.md), which
# is the result that we are after, and also [disturbed](../../docs/glossary.md): whoever is refused asks again at
# once, and the load generator has its hands full. Its times then decide nothing. What was refused was refused.

# %% [markdown] lang="ko"
# ## 측정
#
# 각 측정은 무엇이 실패했는지 알려 줍니다. 가장자리를 넘어서면 [저하됨(degraded)](../../docs/glossary.md)이라고 나올
# 수 있는데, 바로 그것이 우리가 찾는 결과입니다. [방해받음(disturbed)](../../docs/glossary.md)이라고도 나올 수
# 있습니다. 거절당한 사용자가 곧바로 다시 요청하느라 부하 생성기가 바빠지기 때문입니다. 그러면 그 측정의 시간은 아무것도 판정하지 못합니다.
# 그래도 거절당한 것은 거절당한 것입니다.

# %%
page = "/io/?ms=400"
runs = [
    lab.http(point=f"{users} users", path=page, users=users, requests=10 * users, ramp_s=1, warmup_s=3)
    for users in (10, 20, 30, 40, 60)
]

# %% [markdown] lang="en"
# ## Count errors before you read times
#
# `errors` counts attempts, not people. `retried` counts requests whose connection nginx had closed when they came:
# the client opened a new one and asked once more, as a browser does. If that went well, nobody noticed, and it is no
# error.

# %% [markdown] lang="ko"
# ## 시간을 읽기 전에 오류를 세기
#
# `errors`는 사람이 아니라 시도의 수입니다. `retried`는 요청을 보내려 했을 때 nginx가 이미 연결을 닫아 둔 경우의 수입니다.
# 그러면 클라이언트는 브라우저처럼 새 연결을 열고 한 번 더 요청합니다. 그것이 잘되면 아무도 알아채지 못하고, 오류로 세지도 않습니다.

# %%
summary = study.summarize(runs)
notebook.table(summary[["point", "counted", "errors", "error_share", "retried"]])

# %% [markdown] lang="en"
# The edge lies between the last number of users with at most one error in a hundred and the first with more:

# %% [markdown] lang="ko"
# 가장자리는 오류가 백에 하나를 넘지 않은 마지막 사용자 수와, 그것을 넘은 첫 사용자 수 사이에 있습니다.

# %%
first = summary.loc[summary["error_share"] > 0.01, "users"].min()
last = summary.loc[summary["users"] < first, "users"].max()
lab.score("the edge", {"users": (first, last, first)})

# %% [markdown] lang="en"
# What did the clients see when it went wrong?

# %% [markdown] lang="ko"
# 잘못되었을 때 클라이언트는 무엇을 보았을까요?

# %%
seen = study.requests(runs)
kinds = seen[~seen["warmup"].astype(bool)].groupby(["point", "error"], sort=False).size()
notebook.table(kinds.reset_index(name="how many"))

# %% [markdown] lang="en"
# Would you know from one of these what ran out? nginx knows. Its error log has a line for it, here counted over all
# that the log holds:

# %% [markdown] lang="ko"
# 이것만 보고 무엇이 모자랐는지 알 수 있을까요? nginx는 알고 있습니다. nginx의 오류 로그에는 그것을 말하는 줄이 있습니다. 로그에
# 남아 있는 것을 모두 세면 다음과 같습니다.

# %%
words = "[0-9]+ worker_connections are not enough(, reusing connections)?"
lab.shell(f"grep -oE '{words}' /var/log/nginx/error.log | sort | uniq -c")

# %% [markdown] lang="en"
# *Reusing connections* means that nginx closes connections which are idle to make room. It begins with that when only
# 1/16 of the table is left, and it is what fills the column `retried`. Without these words: there was none that it
# could have closed.

# %% [markdown] lang="ko"
# *Reusing connections*는 nginx가 자리를 마련하려고 놀고 있는 연결을 닫는다는 뜻입니다. 테이블이 1/16만 남으면 그렇게
# 하기 시작하고, `retried` 열의 값은 거기에서 나옵니다. 이 말이 없는 줄은 닫을 수 있는 연결마저 없었다는 뜻입니다.

# %% [markdown] lang="en"
# ## The factor two
#
# Each connection of nginx is an open file, and the [sampler](../../docs/glossary.md) counts nginx's open files about
# every 2 seconds. `before` is the fewest that it found in a run (the listening sockets, the logs), `under load` the
# most.

# %% [markdown] lang="ko"
# ## 두 배인 까닭
#
# nginx의 연결은 하나하나가 열린 파일이고, [샘플러](../../docs/glossary.md)는 약 2초마다 nginx의 열린 파일을
# 셉니다. `before`는 한 번의 측정에서 가장 적었을 때(대기 중인 소켓과 로그 파일), `under load`는 가장 많았을 때입니다.

# %%
files = study.resources(runs).query("service == 'nginx'").groupby("users")["open_files"]
opened = files.agg(["min", "max"]).set_axis(["before", "under load"], axis=1).reset_index()
more = opened["under load"] - opened["before"]
notebook.table(opened.assign(**{"more": more, "more a user": more / opened["users"]}))

# %% [markdown] lang="en"
# How many does one user take, while all is well? And at what number does `more` stop growing?
#
# One connection goes from the client to nginx. The other one goes from nginx to uWSGI, and is there for as long as
# the request is under way. nginx counts both in the same table, beside a few of its own: the sockets that it listens
# on, and the line to its master. So of 64 connections some 60 are left, for some 30 users who are all waiting.
#
# ## What the times say
#
# Had you looked at the response times alone, what would you have thought of 40 and of 60 users? They are those of the
# requests that got an answer.

# %% [markdown] lang="ko"
# 모든 것이 순조로울 때 사용자 한 명은 몇 개를 차지하나요? 그리고 `more`는 어떤 값에서 더 늘지 않나요?
#
# 연결 하나는 클라이언트와 nginx 사이에 있습니다. 다른 하나는 nginx와 uWSGI 사이에 있고, 요청이 처리되는 동안 유지됩니다.
# nginx는 이 둘을 같은 테이블에서 세고, 자기 몫도 몇 개 더합니다. 요청을 받으려고 열어 둔 소켓과 마스터로 이어지는 선입니다. 그래서
# 연결 64개 가운데 60개쯤이 남고, 모두가 기다리는 중이라면 사용자 30명쯤을 받습니다.
#
# ## 시간은 무엇을 말하는가
#
# 응답 시간만 보았다면 사용자 40명과 60명일 때를 어떻게 생각했을까요? 이 시간은 응답을 받은 요청의 것입니다.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4), layout="constrained")
plots.response_times_by_case(summary, left)
plots.throughput_by_case(summary, right);

# %% [markdown] lang="en"
# ## Clients that are never idle
#
# A user of pages is idle now and then, and nginx may take its connection away. A chat client is not: its WebSocket is
# open, and so is the one from nginx to Daphne. So it shows the limit itself. The next experiment lets one chat client
# in after the other, until nginx refuses, with **128** connections for each worker. It does so with one worker,
# called 1 × 128, and with two, called 2 × 128.
#
# **Predict**: how many chat clients are held at once?

# %% [markdown] lang="ko"
# ## 쉬지 않는 클라이언트
#
# 페이지를 요청하는 사용자는 가끔 쉬고, 그때 nginx가 연결을 거두어 갈 수 있습니다. 채팅 클라이언트는 그렇지 않습니다. WebSocket이
# 열려 있고, nginx에서 Daphne로 가는 연결도 열려 있습니다. 그래서 한계가 그대로 드러납니다. 다음 실험은 nginx가 거절할 때까지
# 채팅 클라이언트를 하나씩 들여보냅니다. 워커마다 연결은 **128**개이고, 워커는 하나(1 × 128) 또는 둘(2 × 128)입니다.
#
# **예측하세요.** 채팅 클라이언트는 한꺼번에 몇이나 붙어 있을 수 있을까요?

# %%
my_chat = {"1 × 128": None, "2 × 128": None}
lab.predict("chat clients", my_chat)

# %%
looks = lab.experiment(clients_held(quick=QUICK))
held = study.summarize(looks).groupby("point", sort=False)[["clients_held", "held_of_limit", "held_of_half"]].mean()
notebook.table(held.reset_index())

# %%
lab.score("chat clients", dict(held["clients_held"]))

# %% [markdown] lang="en"
# And so to claim C1, and the [verdict](../../docs/glossary.md) of your own runs. Read the rows that ask for *half* of
# the product, too: is that the bound?

# %% [markdown] lang="ko"
# 이제 주장 C1에 대해 여러분의 측정이 내리는 [판정](../../docs/glossary.md)을 봅니다. 검정 표에서 곱의 *절반*을 묻는
# 행도 읽어 보세요. 그것이 한계인가요?

# %%
lab.conclude("C1", looks)

# %% [markdown] lang="en"
# "At most" is true of every bound that is never reached. Whoever plans with this one plans for twice the clients that
# there is room for.
#
# ## And 4000?
#
# Now you know what a connection is needed for, and can say when more of them help. 100 users ask for the page that
# waits, with 128, with 1024 and with 4000 connections. How many connections do 100 users take? For which of the three
# is that too many?
#
# **Predict** the throughput (answers a second) with 128 and with 4000, as a multiple of that with 1024: 0.5 is half,
# 2 is twice.

# %% [markdown] lang="ko"
# "많아야"라는 말은 결코 닿지 않는 한계라면 언제나 맞습니다. 이 한계를 믿고 계획하는 사람은 실제로 들어갈 수 있는 수의 두 배를 계획하게
# 됩니다.
#
# ## 그러면 4000은?
#
# 이제 연결이 무엇에 쓰이는지 알았으니, 더 많은 연결이 언제 도움이 되는지 말할 수 있습니다. 사용자 100명이 기다리는 페이지를 요청합니다.
# 연결은 128개, 1024개, 4000개입니다. 사용자 100명은 연결을 몇 개 차지하나요? 셋 가운데 어느 경우에 그것이 너무 많은가요?
#
# 128과 4000일 때의 처리량(초당 응답 수)을 1024일 때의 배수로 **예측하세요.** 0.5는 절반, 2는 두 배입니다.

# %%
my_ratios = {"128": None, "4000": None}
lab.predict("against 1024", my_ratios)

# %% [markdown] lang="en"
# One load goes on while the settings change. Each of the three has a [slice](../../docs/glossary.md) of 3 seconds in
# every [block](../../docs/glossary.md), in an order drawn by lot. The experiment brings its own settings and puts
# back what it found.

# %% [markdown] lang="ko"
# 설정이 바뀌는 동안에도 부하는 하나로 이어집니다. 셋은 [블록](../../docs/glossary.md)마다 제비로 정한 순서대로 3초짜리
# [조각(slice)](../../docs/glossary.md)을 하나씩 받습니다. 실험은 자기 설정을 쓰고, 끝나면 있던 설정으로 되돌립니다.

# %%
waiting, base = HttpLoad(path=page, users=100), StackSettings(uwsgi_processes=10, uwsgi_threads=10)
points = tuple(
    Point(f"{n} connections", base.replace(nginx_worker_connections=n), waiting) for n in (128, 1024, 4000)
)
plan = Experiment(name="three-limits", points=points, repeats=5 if QUICK else 18, slice_s=3.0)
slices = lab.experiment(plan)

# %% [markdown] lang="en"
# Errors first, again:

# %% [markdown] lang="ko"
# 이번에도 오류부터 셉니다.

# %%
three = study.in_order(study.summarize(slices))
cases = three.groupby("point", sort=False)
counts = cases.agg(sound=("valid", "sum"), counted=("counted", "sum"), errors=("errors", "sum"))
notebook.table(counts.assign(error_share=counts["errors"] / counts["counted"]).reset_index())

# %% [markdown] lang="en"
# Then the throughput. Only successes count. Each dot in the second picture is a ratio to 1024, its bar the
# [interval](../../docs/glossary.md); one that meets the line has shown no difference.

# %% [markdown] lang="ko"
# 그다음이 처리량입니다. 성공한 응답만 셉니다. 둘째 그림에서 점은 1024에 대한 비율이고 막대는 그
# [신뢰 구간](../../docs/glossary.md)입니다. 세로선에 걸친 것은 차이를 보여 주지 못한 것입니다.

# %%
against = study.compare(slices, "throughput_per_s", by="nginx_worker_connections", base=1024)
figure, (left, right) = plt.subplots(1, 2, figsize=(14, 3.6), layout="constrained")
plots.throughput_by_case(three, left)
plots.comparison(against, right);

# %%
ratios = zip(against["nginx_worker_connections"], against["estimate"], against["low"], against["high"])
lab.score("against 1024", {f"{n}": interval for n, *interval in ratios})

# %% [markdown] lang="en"
# Claim C3 has two tests here: 4000 against 1024, which decides, and 4000 against 128, beside it.

# %% [markdown] lang="ko"
# 주장 C3에는 여기서 검정이 두 개 있습니다. 4000과 1024의 비교가 판정하고, 4000과 128의 비교는 참고입니다.

# %%
lab.conclude("C3", slices)

# %% [markdown] lang="en"
# Does that hold for a page that calculates too? There something else may run out first, and `04_eight_cases` measures
# it. What do you expect of a larger table there?
#
# ## What we have seen
#
# - `worker_connections` counts connections, not people. A client whose request is passed on takes two of them, one on
#   each side of nginx.
# - nginx can take back what is idle. What is *held at once* is what fills the table: requests under way, and open
#   WebSockets.
# - A limit shows in errors, and they often look like a broken network. Count them before you read times, and read
#   nginx's error log: "worker_connections are not enough".
# - Below the edge, the number does nothing. Beyond it, it decides everything. So look for the edge at a small number,
#   and reckon: who is under way at once is how many come each second × how long each stays
#   ([Little's law](../../docs/glossary.md)). Twice that, and some to spare.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# 계산하는 페이지에서도 그럴까요? 거기서는 다른 것이 먼저 모자랄 수 있고, 그것은 `04_eight_cases`에서 측정합니다. 그런 페이지에서
# 더 큰 테이블에 무엇을 기대하나요?
#
# ## 정리
#
# - `worker_connections`는 사람이 아니라 연결을 셉니다. 요청이 뒤로 넘겨지는 클라이언트는 nginx의 양쪽에 하나씩 두 개를
#   차지합니다.
# - nginx는 놀고 있는 연결을 거두어들일 수 있습니다. 테이블을 채우는 것은 *동시에 붙잡혀 있는* 것, 곧 처리 중인 요청과 열린
#   WebSocket입니다.
# - 한계는 오류로 드러나고, 그 오류는 흔히 네트워크가 끊긴 것처럼 보입니다. 시간을 읽기 전에 오류를 세고, nginx의 오류 로그에서
#   "worker_connections are not enough"를 찾으세요.
# - 가장자리 안쪽에서는 이 숫자가 아무 일도 하지 않습니다. 바깥에서는 모든 것을 결정합니다. 그러니 작은 숫자에서 가장자리를 찾고, 그다음에
#   계산하세요. 동시에 처리 중인 수는 매초 들어오는 수 × 하나가 머무는
#   시간입니다([리틀의 법칙](../../docs/glossary.md)). 그 두 배에 여유를 조금 더하면 됩니다.
#
# 이제 설정을 처음 상태로 되돌립니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Begin with `lab.set(nginx_worker_connections=64, uwsgi_processes=10, uwsgi_threads=10)`, and end with `lab.end()`.
#
# 1. People read before they ask again. Say `lab.http(path=page, users=80, wait_s=2, requests=240)`: more users than
#    there are connections. Predict the errors, then look at `errors` and at `retried`. Who pays for it, and what?
# 2. Add `nginx_worker_processes=2`, and measure 40, 50 and 60 users of the page that waits, without `wait_s`. By how
#    much does the edge move? Is it where twice as many connections would have it?
# 3. A site has 150 requests a second, each under way for 0.4 s, and 3,000 people in its chat. How many connections
#    does its single nginx worker need?
# 4. Say `lab.set(nginx_worker_connections=4000)` and read the diff. A second line of `nginx.conf` has changed. What
#    would happen without it?
#
# <details><summary>Answer 1</summary>
#
# By Little's law about 80 × 0.4 / 2.4 = 13 requests are under way at once. They take 26 connections or so. All the
# others are idle, and nginx closes the oldest of them when it needs room. So 80 users can do with 64 connections, as
# a rule with hardly an error. But who lost a connection opens a new one: `retried` grows, and each time TCP and TLS
# have to be done again, which costs that user time and both sides CPU.
# </details>
#
# <details><summary>Answer 2</summary>
#
# Each worker has a table of its own, so there is room for twice as many. But nobody deals the clients out evenly:
# whichever worker is quicker to take a new connection has it, and errors begin when the fuller one is full. So the
# edge moves out, and need not come to twice the number.
# </details>
#
# <details><summary>Answer 3</summary>
#
# 150 × 0.4 = 60 requests under way take 120 connections. 3,000 chat clients take 6,000. That makes 6,120, a few of
# nginx's own, and the 1/16 that should stay free: some 6,600, and more to spare for a busy hour. It is the sockets
# that count here, not the pages. Idle connections of people who read are taken back when room is short.
# </details>
#
# <details><summary>Answer 4</summary>
#
# `worker_rlimit_nofile`. Each connection is an open file, and a process may open 1024 of them here unless it is told
# otherwise. Without that line the worker would end there, whatever `worker_connections` says; `nginx -t` would warn,
# and go on.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# `lab.set(nginx_worker_connections=64, uwsgi_processes=10, uwsgi_threads=10)`으로
# 시작하고 `lab.end()`로 끝내세요.
#
# 1. 사람은 읽고 나서 다시 요청합니다. `lab.http(path=page, users=80, wait_s=2, requests=240)`을
#    실행하세요. 사용자가 연결보다 많습니다. 오류를 예측한 다음 `errors`와 `retried`를 보세요. 누가 무엇으로 대가를 치르나요?
# 2. `nginx_worker_processes=2`를 더하고, `wait_s` 없이 기다리는 페이지를 사용자 40, 50, 60명으로
#    측정하세요. 가장자리는 얼마나 옮겨 가나요? 연결이 두 배일 때 있어야 할 자리인가요?
# 3. 어떤 사이트에 초당 150개의 요청이 오고, 요청 하나가 0.4초 동안 처리되며, 채팅에는 3,000명이 있습니다. 하나뿐인 nginx
#    워커에 연결이 몇 개 필요할까요?
# 4. `lab.set(nginx_worker_connections=4000)`을 실행하고 diff를 읽으세요. `nginx.conf`의 다른
#    줄도 하나 바뀌었습니다. 그 줄이 없으면 어떻게 될까요?
#
# <details><summary>답 1</summary>
#
# 리틀의 법칙에 따라 동시에 처리 중인 요청은 약 80 × 0.4 / 2.4 = 13개입니다. 이들이 차지하는 연결은 26개쯤입니다. 나머지는
# 모두 놀고 있고, nginx는 자리가 필요할 때 그중 가장 오래된 것을 닫습니다. 그래서 사용자 80명이 연결 64개로도 대개 오류를 거의 겪지
# 않습니다. 그러나 연결을 잃은 사용자는 새로 엽니다. `retried`가 늘고, 그때마다 TCP와 TLS를 다시 해야 하므로 그 사용자는
# 시간을, 양쪽은 CPU를 씁니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 워커마다 자기 테이블이 있으므로 자리는 두 배입니다. 그러나 클라이언트를 고르게 나누어 주는 것은 아무도 없습니다. 새 연결을 먼저 받아 간
# 워커가 그것을 가지고, 더 많이 찬 워커가 가득 차면 오류가 시작됩니다. 그래서 가장자리는 멀어지지만, 꼭 두 배가 되지는 않습니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 150 × 0.4 = 60개의 처리 중인 요청이 연결 120개를 차지합니다. 채팅 클라이언트 3,000명은 6,000개를 차지합니다. 합쳐서
# 6,120개이고, nginx 자신의 몫 몇 개와, 비워 두어야 할 1/16이 더해집니다. 6,600개쯤에, 바쁜 시간을 위한 여유를 더 둡니다.
# 여기서 중요한 것은 페이지가 아니라 소켓입니다. 읽고 있는 사람의 놀고 있는 연결은 자리가 모자라면 거두어들입니다.
# </details>
#
# <details><summary>답 4</summary>
#
# `worker_rlimit_nofile`입니다. 연결은 하나하나가 열린 파일이고, 따로 정하지 않으면 여기서는 프로세스 하나가 1024개까지 열
# 수 있습니다. 그 줄이 없으면 `worker_connections`가 무엇이든 워커는 거기서 멈춥니다. `nginx -t`는 경고만 하고
# 넘어갑니다.
# </details>
