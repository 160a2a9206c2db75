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
# # How not to fool yourself
#
# Somebody measures before a change and after it. The second number is better, so the change was good. Nobody asks what the
# second number would have been if nothing had been changed.
#
# Here we do ask. This lesson walks into four traps on purpose, each of which has cost somebody a wrong decision, and shows by which
# sign you can tell that you stand in one. The measurements take some four minutes, all together.

# %% [markdown] lang="ko"
# # 스스로 속지 않는 법
#
# 누군가 설정을 바꾸기 전과 바꾼 뒤에 한 번씩 측정합니다. 두 번째 숫자가 더 좋으니 잘 바꿨다고 합니다. 아무것도 바꾸지 않았다면
# 두 번째 숫자가 얼마였을지는 아무도 묻지 않습니다.
#
# 여기서는 묻습니다. 이 수업에서는 일부러 함정 네 개에 빠져 봅니다. 모두 누군가에게 잘못된 결정을 내리게 한 적이 있는 함정입니다.
# 그리고 함정에 빠졌다는 것을 무엇으로 알아차릴 수 있는지 봅니다. 측정에는 모두 합쳐 사 분쯤 걸립니다.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.bench import Point, freeze
from stacklab.study import paired, plots, power
from stacklab.workload import HttpLoad

lab = lesson.begin("09_not_fooled", "en", asks=["/"])

# %% tags=["parameters"]
# True: two minutes of comparing, a short standstill once. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# Four questions, one after the other:
#
# - A page is compared with **itself**. How different do the two look?
# - How long must one measure to find a small effect?
# - The site stands still for some seconds. **What share of the requests does a load test see waiting?**
# - A load test has found a limit. **Whose limit is it?**
#
# ## Your prediction
#
# First the page against itself, which is called [A/A](../../docs/glossary.md). Two points have the same settings and the same load, and
# differ in nothing but their names. They are measured in turn, in *blocks* of two slices of three seconds, in an order drawn by lot.
# Each block gives one ratio: the throughput of one name over that of the other. On a perfect machine every ratio would be 1.
#
# **How far from 1, in percent, is a block in the middle of the field? And the one that strays furthest?**

# %% [markdown] lang="ko"
# ## 질문
#
# 네 가지를 차례로 묻습니다.
#
# - 한 페이지를 **그 자신과** 비교합니다. 둘은 얼마나 달라 보일까요?
# - 작은 효과를 찾아내려면 얼마나 오래 측정해야 할까요?
# - 사이트가 몇 초 동안 멈춰 섭니다. **부하 시험은 요청의 몇 퍼센트가 기다리는 것을 보게 될까요?**
# - 부하 시험이 어떤 한계를 찾아냈습니다. **그것은 누구의 한계일까요?**
#
# ## 예측
#
# 먼저 페이지를 그 자신과 비교합니다. 이것을 [A/A](../../docs/glossary.md)라고 합니다. 두 점은 설정도 부하도 같고 이름만 다릅니다.
# 둘을 번갈아 측정합니다. 삼 초짜리 조각(slice) 두 개가 한 *블록*이고, 블록 안의 순서는 추첨으로 정합니다.
# 블록마다 비율이 하나 나옵니다. 한쪽 이름의 처리량을 다른 쪽 이름의 처리량으로 나눈 값입니다. 완벽한 컴퓨터라면 비율은 모두 1입니다.
#
# **한가운데쯤에 놓이는 블록은 1에서 몇 퍼센트나 떨어져 있을까요? 가장 멀리 벗어난 블록은 어떨까요?**

# %%
my_distances = {"middle block, %": None, "furthest block, %": None}
lab.predict("the same, twice", my_distances)

# %% [markdown] lang="en"
# ## The same, twice
#
# In a terminal one writes the same value twice: `fab compare --uwsgi-processes 5,5 --users 50`. Here the two points get names.

# %% [markdown] lang="ko"
# ## 같은 것을 두 번
#
# 터미널에서는 `fab compare --uwsgi-processes 5,5 --users 50`처럼 같은 값을 두 번 적습니다. 여기서는 두 점에 이름을 붙입니다.

# %%
load = HttpLoad(users=50)
once, again = (Point(label, lab.settings, load) for label in ("once", "and again"))
answer = lab.compare(once, again, budget_s=120 if QUICK else 600)

# %% [markdown] lang="en"
# Every dot is a headline that somebody might have written: so many percent faster, by doing nothing. Your prediction beside the
# dots:

# %% [markdown] lang="ko"
# 점 하나하나가 누군가 썼을지도 모르는 기사 제목입니다. "아무것도 하지 않았는데 몇 퍼센트 빨라졌다." 여러분의 예측을 점들과
# 나란히 놓아 봅시다.

# %%
strayed = 100 * pd.Series(answer.each, dtype=float).sub(1).abs()
lab.score("the same, twice", {"middle block, %": strayed.median(), "furthest block, %": strayed.max()})

# %% [markdown] lang="en"
# Now read the table above the score, not the dots. Does the [interval](../../docs/glossary.md) of the throughput contain 1? It should,
# and in about 19 of 20 such comparisons it does. In the other one it does not, and nothing is wrong with the machine: that is what "95 %"
# promises, and no more.
#
# The table has many lines. Each of them is another chance for a difference that is not there. Whoever searches the lines for
# one that pleases finds it more often than once in 20 times. So say beforehand which line decides.
#
# ## How much is enough?
#
# How does an interval close as blocks come? Here it is after every block, from the sixth on. (Fewer than six give none: that five
# blocks lie on the same side of 1 by luck alone happens once in 16 times, that six do, once in 32.)

# %% [markdown] lang="ko"
# 이제 점이 아니라 점수 위의 표를 읽으세요. 처리량의 [신뢰 구간](../../docs/glossary.md) 안에 1이 들어 있나요? 들어 있어야 하고,
# 이런 비교 20번 가운데 19번쯤은 정말로 들어 있습니다. 나머지 한 번은 들어 있지 않은데, 그렇다고 컴퓨터가 잘못된 것은 아닙니다.
# "95 %"가 약속하는 것이 바로 그만큼이고, 그 이상은 아닙니다.
#
# 표에는 줄이 많습니다. 줄마다 있지도 않은 차이가 나타날 기회가 하나씩 더 있는 셈입니다. 마음에 드는 줄을 찾아 표를 뒤지면
# 20번에 한 번보다 더 자주 찾게 됩니다. 그러니 어느 줄로 판정할지 미리 말해 두세요.
#
# ## 얼마나 측정하면 충분한가요?
#
# 블록이 쌓이면 신뢰 구간은 어떻게 좁아질까요? 여섯 번째 블록부터 블록 하나가 끝날 때마다 구간을 그렸습니다. (여섯 개보다 적으면
# 구간이 없습니다. 블록 다섯 개가 오로지 운으로 1의 같은 쪽에 놓이는 일은 16번에 한 번, 여섯 개가 그러는 일은 32번에 한 번 일어납니다.)

# %%
upto = range(6, len(answer.each) + 1)
ratios, error = np.log(answer.each), paired.ONE_LOOK_ERROR
looks = [paired.verdict("throughput_per_s", ratios[:n], "ratio", 0.05, error) for n in upto]
plots.interval_closing(answer.each, pd.DataFrame(map(vars, looks)));

# %% [markdown] lang="en"
# The dots do not come closer to each other; what you know about their middle does become sharper.
#
# One warning goes with this picture. It looks after every block. Whoever does so, and stops at the first look that pleases, is wrong
# far more often than he thinks. That is why `lab.compare` looks only at planned numbers of blocks, and makes each of its intervals
# wider for it.
#
# And how small an effect can be found at all? From the spread of your own blocks we can draw hundreds of comparisons by lot, give one
# side a small advantage, and count how often it is found. **Predict:** 64 blocks are eight times as many as 8. How many times
# smaller is the smallest effect that they find?

# %% [markdown] lang="ko"
# 점들이 서로 가까워지지는 않습니다. 그 한가운데에 대해 여러분이 아는 것이 더 뚜렷해질 뿐입니다.
#
# 이 그림에는 주의할 점이 하나 있습니다. 블록 하나가 끝날 때마다 들여다본다는 것입니다. 이렇게 들여다보다가 마음에 드는 결과가 처음 나왔을 때
# 멈추는 사람은 자기 생각보다 훨씬 자주 틀립니다. 그래서 `lab.compare`는 미리 정해 둔 수의 블록이 쌓였을 때만 들여다보고,
# 그 대신 그때마다 구간을 더 넓게 잡습니다.
#
# 그렇다면 얼마나 작은 효과까지 찾아낼 수 있을까요? 여러분의 블록들이 흩어진 정도를 바탕으로 비교를 수백 번 추첨하고, 한쪽에
# 조금 유리한 점을 준 다음, 몇 번이나 찾아내는지 세어 볼 수 있습니다. **예측해 보세요.** 블록 64개는 8개의 여덟 배입니다. 찾아낼 수 있는
# 가장 작은 효과는 몇 배나 더 작아질까요?

# %%
my_times = {"times smaller": None}
lab.predict("eight times the blocks", my_times)

# %%
blocks, lot = [8, 15, 27, 64], np.random.default_rng(1)
found = power.smallest_effects(ratios, blocks, lot) if answer.each else [np.nan] * len(blocks)
lab.score("eight times the blocks", {"times smaller": found[0] / found[-1]})
minutes = [n * 11 / 60 for n in blocks]  # a block takes some eleven seconds
notebook.table(pd.DataFrame({"blocks": blocks, "minutes": minutes, "smallest_effect_share": found}))

# %% [markdown] lang="en"
# *Smallest effect*: what is found four times in five. An interval shrinks with the square root of the number of blocks: four times the
# blocks for half the width. Few blocks are worse off yet: with 8 of them the interval reaches from the smallest block to the
# largest. `fab calibrate` does this for your machine at leisure, and every verdict then says it beside its result.
#
# Keep the table in mind when you hear of a gain of 3 %. How long did they measure?
#
# ## A standstill, and three loads that look at it
#
# Most load tests are a [closed loop](../../docs/glossary.md): so many users, each of whom waits for the answer before asking again. The
# post's was one. People in the world are rather an [open load](../../docs/glossary.md): they come when they come, and do not know that
# others are waiting.
#
# In a moment uWSGI stands still for 2 seconds (4 in full size), as a process does that collects garbage, swaps, or waits for
# a lock. Three loads look at it. Each asks about a hundred times a second:
#
# | load | how it asks |
# |---|---|
# | `closed loop` | ten users: each waits for the answer, then a tenth of a second, and asks again |
# | `even schedule` | every hundredth of a second a request starts, whatever became of those before |
# | `Poisson arrivals` | as often in the mean, but at random, as people come |
#
# **What share of its requests, in percent, does each see take more than 250 ms?**

# %% [markdown] lang="ko"
# *가장 작은 효과*는 다섯 번에 네 번 찾아내는 효과를 말합니다. 신뢰 구간의 폭은 블록 수의 제곱근에 반비례해서 줄어듭니다. 폭을 반으로
# 줄이려면 블록이 네 배 필요합니다. 블록이 적으면 사정이 더 나쁩니다. 8개일 때는 구간이 가장 작은 블록에서 가장 큰 블록까지
# 걸쳐 있습니다. `fab calibrate`는 여러분의 컴퓨터에서 이것을 느긋하게 재어 두고, 그 뒤로는 모든 판정이 결과 옆에 그 값을 함께 적습니다.
#
# 3 % 좋아졌다는 이야기를 들으면 이 표를 떠올리세요. 그 사람들은 얼마나 오래 측정했을까요?
#
# ## 멈춰 선 사이트, 그것을 보는 세 가지 부하
#
# 부하 시험은 대부분 [닫힌 루프](../../docs/glossary.md)(closed loop)입니다. 사용자 수가 정해져 있고, 각자 응답을 기다렸다가 다시 요청합니다.
# 그 글의 부하 시험도 그랬습니다. 세상 사람들은 오히려 [열린 부하](../../docs/glossary.md)(open load)에 가깝습니다. 오고 싶을 때 오고, 다른 사람이
# 기다리고 있다는 것을 모릅니다.
#
# 잠시 뒤 uWSGI가 2초 동안(전체 크기에서는 4초 동안) 멈춰 섭니다. 가비지 컬렉션을 하거나 스왑을 하거나 잠금을 기다리는 프로세스가
# 이렇게 됩니다. 세 가지 부하가 그것을 봅니다. 모두 초당 백 번쯤 요청합니다.
#
# | 부하 | 요청하는 방식 |
# |---|---|
# | `closed loop` | 사용자 열 명. 각자 응답을 기다리고, 십분의 일 초를 쉬고, 다시 요청합니다 |
# | `even schedule` | 앞선 요청이 어떻게 되었든 백분의 일 초마다 요청 하나가 시작됩니다 |
# | `Poisson arrivals` | 평균 빈도는 같지만 사람들이 찾아오듯 무작위로 시작됩니다 |
#
# **각 부하는 자기 요청의 몇 퍼센트가 250 ms보다 오래 걸리는 것을 보게 될까요?**

# %%
my_shares = {"closed loop": None, "even schedule": None, "Poisson arrivals": None}  # percent
lab.predict("a standstill", my_shares)

# %%
runs = lab.experiment(freeze(quick=QUICK))
summary = study.in_order(study.summarize(runs))
notebook.table(summary[["point", "counted", "errors", "p50_s", "p95_s", "p99_s", "valid"]])

# %% [markdown] lang="en"
# Errors first: was every request answered? Then read the 99th percentile of the three lines. It was the same site, and the same
# standstill.
#
# Here is each request as a dot: when it began, and how long its answer took.

# %% [markdown] lang="ko"
# 오류부터 보세요. 모든 요청이 응답을 받았나요? 그다음 세 줄의 99백분위수를 읽어 보세요. 같은 사이트였고, 똑같이 멈춰 섰습니다.
#
# 요청 하나하나를 점으로 그렸습니다. 언제 시작했는지, 응답까지 얼마나 걸렸는지를 보여 줍니다.

# %%
rows = study.requests(runs)
counted = rows[~rows["warmup"].astype(bool) & rows["error"].isna()]
figure, axes = plt.subplots(1, 3, figsize=(14, 3.6), sharey=True, layout="constrained")
for ax, point in zip(axes, my_shares):
    mine = counted[counted["point"] == point]
    ax.plot(mine["t_s"], mine["response_s"] * 1000, ".", markersize=3)
    ax.set_title(point, loc="left")
    ax.set(xlabel="seconds since counting began", ylabel="response time, ms")

# %% [markdown] lang="en"
# Look at the seconds of the standstill in the first picture. Where are the requests that should have begun there?
#
# Now the shares. The last line of the table, *the clock*, is the share of the time for which uWSGI stood still. Below it,
# your prediction.

# %% [markdown] lang="ko"
# 첫 번째 그림에서 멈춰 있던 몇 초를 보세요. 거기서 시작했어야 할 요청들은 어디에 있나요?
#
# 이제 비율을 봅시다. 표의 마지막 줄인 *the clock*은 전체 시간 가운데 uWSGI가 멈춰 있던 시간의 비율입니다. 그 아래에
# 여러분의 예측이 나옵니다.

# %%
shares = (counted["response_s"] > 0.25).groupby(counted["point"]).mean()
still = study.events(runs)
shares["the clock"] = (still["t_end_s"] - still["t_s"]).sum() / summary["load_s"].sum()
notebook.table(shares.rename("slower_share").rename_axis("seen by").reset_index())

# %%
lab.score("a standstill", {point: 100 * shares.get(point, np.nan) for point in my_shares})

# %% [markdown] lang="en"
# In the closed loop, ten users wait and nobody else asks: however long the standstill, it costs ten slow requests. The load generator
# keeps step with the server, and leaves out just those requests that would have shown the trouble. Gil Tene named this
# [coordinated omission](../../docs/glossary.md). A percentile of such a run is a percentile of the requests that were made, not of the
# people who wanted one.
#
# Those who come at random meet a standstill as often as it takes of the time (*Poisson arrivals see time averages*, Wolff
# 1982). So the Poisson load and the clock ought to tell about the same. Do they?
#
# The same once more, to the slowest request. On this axis each further 9 (of 90, 99, 99.9 %) is as wide as the one before it:

# %% [markdown] lang="ko"
# 닫힌 루프에서는 사용자 열 명이 기다리고 다른 사람은 요청하지 않습니다. 아무리 오래 멈춰 있어도 느린 요청은 열 개뿐입니다. 부하 생성기가
# 서버와 발을 맞추느라, 하필이면 문제를 드러냈을 요청만 빼먹습니다. Gil Tene은 이것을
# [조율된 누락](../../docs/glossary.md)(coordinated omission)이라고 불렀습니다. 이런 측정의 백분위수는 실제로 보낸 요청의 백분위수이지, 요청하려던
# 사람들의 백분위수가 아닙니다.
#
# 무작위로 찾아오는 사람은, 사이트가 멈춰 있는 시간의 비율만큼 멈춘 사이트를 만납니다(*Poisson arrivals see time averages*, Wolff
# 1982). 그러니 포아송 부하와 시계는 대략 같은 값을 말해야 합니다. 그런가요?
#
# 같은 내용을 가장 느린 요청까지 한 번 더 봅시다. 이 축에서는 9가 하나 늘어날 때마다(90, 99, 99.9 %) 같은 폭을 차지합니다.

# %%
plots.percentiles_to_the_tail(rows);

# %% [markdown] lang="en"
# ## Whose limit?
#
# At `/stacklab/nothing` nginx answers by itself, with an empty answer: no Django, no file, no work. Fifty users ask for it as
# fast as they can. A number of requests a second will come out, and it will be a limit of something.
#
# **Predict:** who has no more to give first, nginx or the load generator?

# %% [markdown] lang="ko"
# ## 누구의 한계인가요?
#
# `/stacklab/nothing`에는 nginx가 스스로 빈 응답을 보냅니다. Django도, 파일도, 할 일도 없습니다. 사용자 쉰 명이 이 주소를 낼 수 있는 가장 빠른
# 속도로 요청합니다. 초당 요청 수가 하나 나올 것이고, 그것은 무엇인가의 한계일 것입니다.
#
# **예측해 보세요.** 먼저 바닥나는 쪽은 nginx일까요, 부하 생성기(load generator)일까요?

# %%
my_limit = {"first at its limit": None}
lab.predict("whose limit", my_limit, choices=["nginx", "load generator"])

# %%
empty = lab.http(point="an empty answer", path="/stacklab/nothing", users=50, requests=20_000, ramp_s=1, warmup_s=1)

# %% [markdown] lang="en"
# Each of the two has one process that does the work, which cannot use more than one core. Whose core was the fuller?

# %% [markdown] lang="ko"
# 둘 다 일하는 프로세스가 하나뿐이고, 그 프로세스는 코어를 하나보다 많이 쓸 수 없습니다. 누구의 코어가 더 차 있었나요?

# %%
row = study.summarize([empty]).iloc[0]
cores = {"nginx": row["cpu_s_nginx"] / row["load_s"]}
cores["load generator"] = empty.validity.numbers.get("generator_cores", 0.0)
lab.score("whose limit", {"first at its limit": max(cores, key=cores.get)})
notebook.table(pd.DataFrame(cores.items(), columns=["who", "cores in use"]))

# %% [markdown] lang="en"
# ## What a run says of itself
#
# The lab asks such questions of every run, not only when somebody has a suspicion. A measurement is *sound*, or it is
# [disturbed](../../docs/glossary.md), with the reason in a sentence:

# %% [markdown] lang="ko"
# ## 측정이 스스로 하는 말
#
# 랩은 누가 의심할 때만이 아니라 모든 측정에 대해 이런 것을 따져 봅니다. 측정은 *온전하거나*(sound)
# [방해받았거나](../../docs/glossary.md)(disturbed) 둘 중 하나이고, 방해받았으면 그 까닭이 문장으로 나옵니다.

# %%
every = [*runs, empty]
said = {"run": [run.point for run in every], "measurement": [run.validity.measurement for run in every]}
notebook.table(pd.DataFrame(said | {"why": [" ".join(run.validity.reasons) for run in every]}))

# %% [markdown] lang="en"
# And the numbers that were held against the limits, also where none was passed:

# %% [markdown] lang="ko"
# 한계와 견주어 본 숫자들도 함께 남습니다. 한계를 넘지 않은 것도 마찬가지입니다.

# %%
notebook.table(pd.DataFrame([{"run": run.point, **run.validity.numbers} for run in every]))

# %% [markdown] lang="en"
# *Steal* is what other virtual machines took of the CPU; *others*, what other programs on the same computer did; *lag*, by how much
# the load generator itself was late. The limits, and why they are where they are: [Verdicts](../../docs/verdicts.md).
#
# Mind what *disturbed* does not mean. It does not mean slow, and it does not mean false. It means that something else than the
# settings may have made the number. Such a run is kept and drawn hollow, and decides nothing. It is never left out for its *result*:
# whoever throws away what looks wrong is left with what he wished for.
#
# ## What we have seen
#
# - A thing differs from itself, from block to block. One measurement before a change and one after it are one block.
# - Which figure decides, and how often one looks, must be said *beforehand*. Small effects take long: four times the blocks for half
#   the width.
# - A closed loop asks less while the site is slow. JMeter's threads, Locust's users and wrk's connections are closed loops; wrk2 and
#   k6's arrival rates are schedules. What is your tool, and would it have seen the standstill?
# - A limit that was found is somebody's. Look at the CPU of the load generator before you blame the server.
# - Next: `10_how_many_machines` builds on all of it, with arrivals at random, blocks, intervals, and a limit that is the site's.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# *Steal*은 다른 가상 머신이 가져간 CPU이고, *others*는 같은 컴퓨터의 다른 프로그램이 쓴 CPU이고, *lag*는 부하 생성기 자신이 늦은
# 시간입니다. 한계가 얼마이고 왜 그 값인지는 [Verdicts](../../docs/verdicts.md)에 있습니다.
#
# *방해받았다*는 말이 무엇을 뜻하지 않는지 새겨 두세요. 느리다는 뜻도, 틀렸다는 뜻도 아닙니다. 설정이 아닌 다른 무엇이 그 숫자를
# 만들었을 수 있다는 뜻입니다. 이런 측정은 버리지 않고 속이 빈 점으로 그리며, 판정에는 쓰지 않습니다. *결과*를 보고 제외하는 일은 절대로 없습니다.
# 이상해 보이는 것을 버리는 사람에게는 바라던 것만 남습니다.
#
# ## 정리
#
# - 같은 것도 블록마다 그 자신과 다릅니다. 바꾸기 전에 한 번, 바꾼 뒤에 한 번 측정한 것은 블록 하나입니다.
# - 어느 숫자로 판정할지, 몇 번 들여다볼지는 *미리* 말해 두어야 합니다. 작은 효과를 찾는 데는 오래 걸립니다. 폭을 반으로 줄이려면 블록이
#   네 배 필요합니다.
# - 닫힌 루프는 사이트가 느려지면 덜 요청합니다. JMeter의 스레드, Locust의 사용자, wrk의 연결은 닫힌 루프이고, wrk2와 k6의 도착률(arrival rate)은
#   정해진 일정을 따릅니다. 여러분의 도구는 어느 쪽인가요? 그 도구는 멈춰 선 것을 보았을까요?
# - 찾아낸 한계에는 주인이 있습니다. 서버를 탓하기 전에 부하 생성기의 CPU를 보세요.
# - 다음 수업 `10_how_many_machines`는 이 모든 것 위에 서 있습니다. 무작위 도착, 블록, 신뢰 구간, 그리고 정말로 사이트의 것인 한계를 다룹니다.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Begin with `lab.reset()`, and end with `lab.end()`.
#
# 1. Say `short = lab.http(users=20, requests=20)`. It is a real measurement of a real site. What does it say of itself, and why?
# 2. Say `visited = lab.http(users=20, requests=5000)`, and while it runs open the front page in a browser and reload it some times. Then
#    look at `visited.validity.reasons`. Was the run slower for it? Does that matter?
# 3. Compare two pages that do differ: `Point("20 ms", lab.settings, HttpLoad(path="/cpu/?ms=20", users=20))` and the same with 22.
#    By your table above, how many blocks should that take? How many did it take?
# 4. There is a way to mend a closed loop afterwards. A user who waited 2 s, and would have asked every 100 ms, is given the
#    requests that he left out: one of 1.9 s, one of 1.8 s, and so on. What share of slow requests do ten such users make then?
#    Why is a schedule still better?
#
# <details><summary>Answer 1</summary>
#
# Twenty requests of twenty users are over in far less than half a second, which is not one reading of the CPU. The run is disturbed and says
# for how long it was counted. Its throughput may look splendid, for nobody ever had to wait in a queue.
# </details>
#
# <details><summary>Answer 2</summary>
#
# nginx's log holds requests that are not this load's, so somebody else used the site. A few reloads cost next to nothing,
# and the number may well be a good one. But you only know this because it was you. On a shared machine it is a colleague's nightly job, and
# nobody tells you how much that took.
# </details>
#
# <details><summary>Answer 3</summary>
#
# The pages differ by a tenth, where the core is full. Look for 10 % in the column of the smallest effect: the line in which it falls below
# that tells how many blocks find it four times in five. `lab.compare` stops at the first planned look that decides.
# </details>
#
# <details><summary>Answer 4</summary>
#
# Each of the ten gets some 19 requests more, nearly all of them slow; so there are almost two hundred slow ones, about as
# many as the schedule saw. HdrHistogram and wrk2 can do it. But these requests were never made: nobody knows how the site would have taken
# them, and one has to know in what rhythm the users would have asked. A schedule makes them.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# 시작할 때는 `lab.reset()`을, 끝날 때는 `lab.end()`를 실행하세요.
#
# 1. `short = lab.http(users=20, requests=20)`을 실행하세요. 진짜 사이트를 진짜로 측정한 것입니다. 이 측정은 스스로를 뭐라고 하나요? 왜 그런가요?
# 2. `visited = lab.http(users=20, requests=5000)`을 실행하고, 도는 동안 브라우저로 첫 화면을 열어 몇 번 새로 고치세요. 그런 다음
#    `visited.validity.reasons`를 보세요. 그 때문에 측정이 느려졌나요? 그것이 중요한가요?
# 3. 정말로 다른 두 페이지를 비교하세요. `Point("20 ms", lab.settings, HttpLoad(path="/cpu/?ms=20", users=20))`과, 값만 22로 바꾼 것입니다.
#    위의 표대로라면 블록이 몇 개 필요할까요? 실제로는 몇 개가 들었나요?
# 4. 닫힌 루프를 나중에 고치는 방법이 있습니다. 2초를 기다린 사용자가 원래 100 ms마다 요청했을 것이라면, 빼먹은 요청을 채워 줍니다.
#    1.9초 걸린 것 하나, 1.8초 걸린 것 하나, 이런 식입니다. 그렇게 하면 이런 사용자 열 명에게서 느린 요청의 비율은 얼마가 되나요?
#    그래도 정해진 일정을 따르는 부하가 더 나은 까닭은 무엇인가요?
#
# <details><summary>답 1</summary>
#
# 사용자 스무 명의 요청 스무 개는 반 초도 안 되어 끝납니다. CPU를 한 번 읽을 시간도 안 됩니다. 이 측정은 방해받은 것으로 기록되고, 몇 초
# 동안 집계했는지를 말합니다. 처리량은 훌륭해 보일 수 있습니다. 아무도 대기열에서 기다릴 일이 없었으니까요.
# </details>
#
# <details><summary>답 2</summary>
#
# nginx의 로그에 이 부하의 것이 아닌 요청이 있으니, 다른 누군가가 사이트를 쓴 것입니다. 몇 번 새로 고치는 데는 비용이 거의 들지 않으므로
# 그 숫자는 아마 괜찮을 것입니다. 하지만 그것을 아는 까닭은 그 사람이 바로 여러분이기 때문입니다. 여럿이 쓰는 머신에서는 그것이 동료의 야간 작업이고,
# 얼마나 가져갔는지 아무도 알려 주지 않습니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 코어가 꽉 차 있으면 두 페이지는 십분의 일만큼 다릅니다. 가장 작은 효과의 열에서 10 %를 찾아보세요. 값이 그보다 작아지는 줄이, 블록이 몇 개면
# 다섯 번에 네 번 찾아내는지를 알려 줍니다. `lab.compare`는 미리 정해 둔 점검 가운데 판정이 나는 첫 번째에서 멈춥니다.
# </details>
#
# <details><summary>답 4</summary>
#
# 열 명 모두 요청이 19개쯤씩 늘어나고, 거의 모두 느린 요청입니다. 그래서 느린 요청은 이백 개 가까이 되고, 정해진 일정을 따르는 부하가 본 것과
# 비슷해집니다. HdrHistogram과 wrk2가 이렇게 할 수 있습니다. 하지만 이 요청들은 실제로 보낸 것이 아닙니다. 사이트가 그것들을 어떻게 처리했을지 아무도 모르고,
# 사용자들이 어떤 간격으로 요청했을지도 알고 있어야 합니다. 정해진 일정을 따르는 부하는 그 요청들을 실제로 보냅니다.
# </details>
