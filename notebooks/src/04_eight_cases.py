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

# %% [markdown] lang="ko"
# # 여덟 가지 경우
#
# 한 엔지니어가 Django 사이트로 많은 트래픽을 감당해 내고 그 방법을 공개했습니다. 조언 하나는 이렇습니다.
# nginx 워커마다 연결을 **4000**개, uWSGI 프로세스를 **10**개로 하면, 사용자가 100명일 때도 200명일 때도
# 사이트가 가장 빨리 응답한다는 것입니다.
#
# 그럴듯하게 들립니다. 자리도 늘고 일손도 늘어나니까요. 직접 측정해 봅시다. 그러면서 "더 빠르다"고 자신 있게 말하려면
# 무엇이 필요한지도 배워 봅시다.

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

# %% [markdown] lang="ko"
# ## 질문
#
# 부하가 두 가지(사용자 100명, 200명), nginx의 연결 테이블 크기가 두 가지(1024, 4000), uWSGI 프로세스 수가
# 두 가지(5, 10)이니 모두 여덟 가지 경우입니다. 페이지는 사이트의 실제 첫 화면인 `/`입니다.
# **네 가지 설정 가운데 사용자 100명일 때 가장 빨리 응답하는 것은 무엇일까요? 200명일 때는 무엇일까요?**
#
# ## 예측
#
# `"1024/5"`, `"1024/10"`, `"4000/5"`, `"4000/10"` 가운데 하나를 적으세요. 적기 전에 스스로 물어보세요.
# 200명이 기다릴 때 모자라는 것은 무엇인가요? 연결인가요? 프로세스인가요? 아니면 다른 무엇인가요?

# %%
my_fastest = {"100 users": None, "200 users": None}
lab.predict("fastest", my_fastest, choices=["1024/5", "1024/10", "4000/5", "4000/10"])

# %% [markdown] lang="en"
# ## The plan
#
# One load goes on all the time; what changes are the settings below it, and how many users ask. Each case has three seconds
# of it, a *slice*, once in every *block*, in an order drawn by lot. If the machine grows slower in the afternoon, it does so
# for all eight of a block alike, and no case has the bad luck to be always last. The seed makes the order the same for everybody.

# %% [markdown] lang="ko"
# ## 계획
#
# 부하 하나가 처음부터 끝까지 계속됩니다. 바뀌는 것은 그 부하를 받는 쪽의 설정과 요청하는 사용자 수입니다. 각 경우는 *블록*마다
# 한 번씩, 추첨으로 정한 순서에 따라 이 부하에서 삼 초짜리 *조각*(slice)을 하나 차지합니다. 오후 들어 컴퓨터가 느려지더라도
# 한 블록의 여덟 경우가 똑같이 느려지므로, 늘 마지막에 걸려 손해를 보는 경우는 없습니다. 시드가 같아서 이 순서는 누구에게나 같습니다.

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

# %% [markdown] lang="ko"
# ## 측정
#
# 조각마다 설정을 바꾸고 제대로 바뀌었는지 확인합니다. 그로부터 일 초 뒤에 그 조각의 삼 초가 시작됩니다. 한 조각이 다른 조각보다
# 훨씬 많이 방해받은 블록은 다시 측정합니다. 이미 디스크에 있는 블록은 다시 측정하지 않으므로, 이 셀을 멈췄다가
# 나중에 이어서 해도 됩니다. (`bench.set_aside(plan.name)`은 이전 측정을 따로 보관하고 처음부터 다시 시작하게 합니다.)

# %%
runs = lab.experiment(plan)
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## First: did it work at all?
#
# **Count errors before you read times.** A site that refuses requests answers very quickly. A slice can also be
# *disturbed*: the generator was late, rows are missing, others took the processor. Only *sound* ones decide.

# %% [markdown] lang="ko"
# ## 먼저: 제대로 동작하기는 했나요?
#
# **시간을 읽기 전에 오류부터 세세요.** 요청을 거절하는 사이트는 응답이 아주 빠릅니다. 조각이 *방해받았을*(disturbed) 수도 있습니다.
# 부하 생성기가 늦었거나, 행이 빠졌거나, 다른 누군가가 프로세서를 가져간 경우입니다. 판정에는 *온전한*(sound) 조각만 씁니다.

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

# %% [markdown] lang="ko"
# ## 응답 시간
#
# 경우마다 왼쪽에서 오른쪽으로 *중앙값*(요청의 절반이 이 시간 안에 응답을 받았습니다), *95백분위수*,
# *99백분위수*(운이 나쁜 요청이 겪은 시간)입니다. 점 하나가 조각 하나입니다. 속이 빈 점은 방해받은 조각입니다.
#
# 눈금부터 읽으세요. 중앙값에서 99백분위수까지의 거리에 견주어, 경우들은 서로 얼마나 떨어져 있나요?

# %%
plots.response_times_by_case(summary);

# %% [markdown] lang="en"
# A percentile is one point of a curve. Here is the curve: pick a time on the axis below and read what share of the
# requests was answered within it. Further left is faster. A case is faster *everywhere* only if its curve never
# crosses another one.

# %% [markdown] lang="ko"
# 백분위수는 곡선 위의 한 점입니다. 여기에 그 곡선 전체가 있습니다. 아래 축에서 시간을 하나 골라, 요청의 몇 퍼센트가
# 그 시간 안에 응답을 받았는지 읽어 보세요. 왼쪽에 있을수록 빠릅니다. 어떤 경우가 *모든 곳에서* 더 빠르다고 하려면
# 그 곡선이 다른 곡선과 한 번도 교차하지 않아야 합니다.

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

# %% [markdown] lang="ko"
# ## 처리량
#
# 사이트가 초당 몇 페이지를 처리했는지입니다. 사용자 100명과 200명을 비교해 보세요. 요청한 사람은 두 배입니다.
# 초당 응답을 받은 사람도 두 배인가요?

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

# %% [markdown] lang="ko"
# ## 머신이 없어도 성립하는 법칙
#
# 우리 사용자들은 응답을 기다렸다가 받자마자 다시 요청합니다. 이것을 *닫힌 루프*(closed loop)라고 하며, 닫힌 루프에서는
#
# > 사용자 수 = 처리량 × 평균 응답 시간
#
# 이 반드시 성립합니다. 서버가 무엇이든 상관없습니다. 이것이 리틀의 법칙(Little's law)입니다. 여기서도 성립하나요?

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

# %% [markdown] lang="ko"
# 조각은 계속 이어지는 부하에서 잘라 낸 것이라, 가장자리에서는 실제보다 조금 더 세거나 덜 세게 됩니다.
#
# 여기서 두 가지가 따라 나옵니다. 첫째, 이 법칙에 어긋나는 측정은 빠른 것이 아니라 잘못된 것입니다. 랩은 조각이 아닌 모든 측정에서
# 이것을 검사합니다. 둘째, 처리량이 그대로라면 사용자가 두 배일 때 기다리는 시간도 두 배입니다. 늘어난 사용자는 대기열에 서 있을 뿐이고,
# 대기열의 자리가 넓어진다고 응답이 더 빨리 오지는 않습니다.
#
# ## 어디에서 기다리나요?
#
# 사용자 200명, 1024/5일 때입니다. nginx에 열려 있는 연결, 일하고 있는 uWSGI 워커, uWSGI 앞의 대기열에 서 있는 요청의
# 수를 보여 줍니다. 뒤의 둘을 더하면 얼마인가요?

# %%
one = next(run for run in runs if run.point == "200 users, 1024/5")
plots.gauge_over_time(study.gauges([one]), ["nginx_active", "uwsgi_listen_queue", "uwsgi_busy_workers"]);

# %% [markdown] lang="en"
# **Think:** nginx may hold 1024 connections here. How many does it hold? What would 4000 change?
#
# ## What is used up?
#
# CPU of each service in the same run, in cores. The dashed line is one core.

# %% [markdown] lang="ko"
# **생각해 보세요.** 여기서 nginx는 연결을 1024개까지 유지할 수 있습니다. 실제로는 몇 개를 유지하고 있나요? 4000개까지로 늘리면 무엇이 달라질까요?
#
# ## 무엇이 바닥났나요?
#
# 같은 측정에서 서비스마다 CPU를 코어 몇 개만큼 썼는지입니다. 파선은 코어 하나를 나타냅니다.

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

# %% [markdown] lang="ko"
# 코어 하나가 꽉 차 있다면 프로세스 다섯 개도 그 코어를 나눠 쓰고, 열 개도 그 코어를 나눠 씁니다. 나중의 다섯 개는 무엇을 보탤까요? 비용은 얼마나 들까요?
#
# ## 같은 요청을 보는 두 시각
#
# 지금까지는 클라이언트의 말을 믿었습니다. 하지만 nginx에도 시계가 있습니다. nginx는 요청마다 첫 바이트를 읽은 때부터
# 마지막 바이트를 쓴 때까지 걸린 시간을 기록합니다. 점이 대각선에 놓이면 두 시계가 일치한 것입니다. 대각선보다 위에 있으면
# 클라이언트는 nginx가 아는 것보다 오래 기다린 것입니다. 오가는 길에서, TLS 핸드셰이크에서, 또는 *클라이언트*가 바빠서 그렇습니다.

# %%
plots.client_vs_server(summary);

# %% [markdown] lang="en"
# Keep both views. If they part, one of them measures something else than you think; very often it is the load
# generator that is at its limit, and the server is blamed for it.
#
# ## The fastest case
#
# By the median, this time, it was:

# %% [markdown] lang="ko"
# 두 시각을 모두 간직하세요. 둘이 갈라지면 그중 하나는 여러분이 생각하는 것과 다른 것을 재고 있습니다. 한계에 다다른 것은
# 부하 생성기인데 서버가 누명을 쓰는 일이 아주 흔합니다.
#
# ## 가장 빠른 경우
#
# 이번에 중앙값이 가장 작았던 것은 다음과 같습니다.

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

# %% [markdown] lang="ko"
# 가장 빠른 경우는 *언제나* 있습니다. 똑같은 설정 네 개를 비교해도 가장 빠른 것은 나오고, 각각 네 번에 한 번꼴로 이깁니다.
# 같은 설정이 두 부하에서 모두 이기는 일도 네 번에 한 번꼴로 생깁니다. 그러니 이겼다는 것은 증거가 되지 못합니다. 그럼 무엇이 증거일까요?
#
# ## 정직한 판정에 필요한 것
#
# - **블록.** 한 조각에 든 수천 개의 요청은 그 조각의 운을 함께 나눕니다. 운이 따로인 것은 다른 조각뿐입니다.
# - **짝.** 한 블록 안의 경우들은 서로 가까운 시간에 측정되었습니다. 그래서 비교는 블록 안에서 합니다.
# - **신뢰 구간.** 블록들이 서로 얼마나 다른지를 보고, 그 평균이 얼마나 빗나갔을 수 있는지 계산합니다.
#   구간 안에 "차이 없음"이 들어 있으면 차이를 찾아내지 못한 것이고, 그렇다고 말합니다.
#
# 전체 크기의 실험을 측정해 두었다면 그 측정을 씁니다. 그렇지 않으면 위에서 한 측정을 씁니다.

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

# %% [markdown] lang="ko"
# 점은 그 경우의 중앙값 응답 시간을 1024/5의 중앙값으로 나눈 값입니다. 1보다 왼쪽이면 더 빠릅니다. 막대는 신뢰 구간입니다.
# 막대가 없으면 온전한 블록이 너무 적어서 그릴 수 없다는 뜻입니다.
#
# 이제 그 조언을 주장 C5로 놓고 판정합니다. 같은 글에 나온 주장 가운데 이 측정으로 말할 수 있는 두 가지도 함께 판정합니다.
# 블록 안의 어느 측정이 방해받아서 제외한 것이 있으면 표에 나옵니다.

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

# %% [markdown] lang="ko"
# ## 한 가지 질문을 답이 나올 때까지
#
# 여덟 가지 경우는 많은 질문에 조금씩 답합니다. *이 페이지에서 10개냐 5개냐가 중요한가?* 이것은 한 가지 질문이고, 모든 시간을
# 여기에 쓸 수 있습니다. 두 설정을 번갈아 측정하다가 신뢰 구간이 1을 벗어나거나(둘은 다릅니다), 띠 안에 다 들어오거나(둘은
# ± 5 % 안에서 같습니다), 시간이 다 되면 멈춥니다. 터미널에서는 `fab compare --uwsgi-processes 5,10 --users 50`입니다.
#
# **예측해 보세요.** 점들은 1의 어느 쪽에 놓일까요? 블록 하나하나는 신뢰 구간에서 얼마나 멀리 벗어날까요?

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

# %% [markdown] lang="ko"
# 점 하나는 블록 하나입니다. 몇 초 간격으로 측정한, 프로세스 10개의 처리량을 5개의 처리량으로 나눈 값입니다. 막대가 달린 마름모는
# 미리 계획해 둔 중간 점검입니다. 블록이 쌓이면 막대는 대체로 짧아집니다. 하지만 점들이 서로 가까워지지는 않습니다. 컴퓨터가 얼마나
# 들쭉날쭉한가와 그 한가운데를 여러분이 얼마나 잘 아는가는 이렇게 다른 문제입니다.

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

# %% [markdown] lang="ko"
# ## 정리
#
# - 오류가 먼저이고 시간은 그다음입니다. 클라이언트의 시각과 서버의 시각을 둘 다 봅니다. 눈금은 영에서 시작해야 합니다.
# - 닫힌 루프에서는 사용자 수 = 처리량 × 응답 시간입니다. 꽉 찬 머신에 사용자가 늘어나면 더 오래 기다리게 될 뿐입니다.
# - 설정은 *바닥난 것*을 보태 줄 때 도움이 됩니다. 여기서 그것이 무엇이었는지는 CPU와 대기열과 연결을 그린 여러분의 그림에 나와 있습니다.
# - "가장 빠르다"고 말하려면 블록과 신뢰 구간이 필요합니다. "± 5 % 안에서 같다"도 결과이며, 쓸모 있는 결과입니다. 중요하지 않은 것을
#   튜닝하는 수고를 덜어 주니까요. "미결정"(undecided)은 더 오래, 또는 더 조용한 컴퓨터에서 측정하라는 뜻입니다.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

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

# %% [markdown] lang="ko"
# ## 연습 문제
#
# `lab.reset()`으로 시작해서 `lab.end()`로 끝내세요.
#
# 1. `00_start_here`에서는 `/io/?ms=50`에 프로세스를 늘리자 큰 차이가 났습니다. 왜 거기서는 그랬는데 `/`에서는 그렇지 않은가요(또는 그만큼은
#    아닌가요)? 거기와 여기의 CPU 그림을 보세요.
# 2. `lab.set(uwsgi_listen=100)`(uWSGI 자체의 기본값)을 실행하고 `lab.http(users=200, requests=2000)`을 실행하세요. 초당 응답을
#    모두 세어 보고, 그다음에는 성공한 것만 세어 보세요. 오류를 보지 않았다면 어떤 결론을 내렸을까요?
# 3. `lab.set(nginx_worker_connections=64)`를 실행하고 사용자를 20명, 30명, 40명으로 해 보세요. 오류는 몇 명부터 나기 시작하나요?
#    왜 64보다 한참 아래에서 시작되나요?
# 4. 사람은 응답을 받자마자 다시 요청하지 않습니다. 한 가지 경우를 `wait_s=1`로 다시 측정해 보세요. 이제 리틀의 법칙은 무엇을 말하나요?
#
# <details><summary>답 1</summary>
#
# 기다리는 워커는 코어를 다른 워커에게 내줍니다. 그래서 워커가 많을수록 코어를 더 잘 쓰게 되고, 코어가 꽉 차면 거기서 멈춥니다.
# 첫 화면은 계산을 합니다(템플릿을 렌더링합니다). 프로세스 다섯 개로 코어가 이미 꽉 찼다면 열 개가 쓸 몫은 남아 있지 않습니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 이때 uWSGI 앞의 대기열에는 요청이 100개까지 들어갑니다. 들어가지 못한 요청은 곧바로 거절되고, nginx는 502로 응답합니다. 거절에는
# 비용이 거의 들지 않으므로, 대부분의 사용자가 아무것도 받지 못하는 동안에도 "초당 요청 수"는 올라갈 수 있습니다. 랩은 성공한 것만
# 처리량으로 세고, 실패한 것은 그림에 따로 적습니다.
# </details>
#
# <details><summary>답 3</summary>
#
# nginx가 뒤로 넘기는 요청은 연결을 두 개 차지합니다. 하나는 클라이언트와의 연결, 하나는 uWSGI와의 연결입니다. 게다가 nginx는
# 테이블이 다 차기 전부터 유휴 연결을 닫아 자리를 만들기 시작합니다. 그래서 오류는 한도의 절반 근처, 그보다 조금 아래에서 시작됩니다.
# "nginx는 worker_processes × worker_connections만큼의 클라이언트를 받는다"는 주장은 이렇게 고쳐야 맞습니다.
# </details>
#
# <details><summary>답 4</summary>
#
# 사용자 수 = 처리량 × (응답 시간 + 대기 시간)입니다. 일 초씩 쉬면 사용자 100명이 요청할 수 있는 페이지는 초당 많아야 100개입니다.
# 사이트가 그보다 많이 처리할 수 있다면 더 이상 꽉 차 있지 않으므로, 응답 시간은 페이지에 실제로 드는 시간에 가까워집니다.
# </details>
