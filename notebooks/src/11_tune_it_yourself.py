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
# # Tune it yourself
#
# In the other lessons the question was given, and so were the settings. Here you get an aim, a few minutes of measuring, and all the
# settings there are. What you change, and why, is yours.
#
# Advice on tuning is mostly a list of values: "we run with 4000 and 10". It does not say for what load, at what price, and against
# what it was measured. This lesson asks you for all three.

# %% [markdown] lang="ko"
# # 직접 튜닝하기
#
# 다른 수업에서는 질문도 주어졌고 설정도 주어졌습니다. 여기서는 목표 하나와 몇 분의 측정 시간, 그리고 있는 설정 전부를 받습니다. 무엇을 왜 바꿀지는
# 여러분이 정합니다.
#
# 튜닝 조언은 대개 값의 목록입니다. "우리는 4000과 10으로 돌립니다." 어떤 부하에서, 어떤 대가를 치르고, 무엇과 견주어 잰 것인지는
# 말해 주지 않습니다. 이 수업은 그 셋을 모두 여러분에게 묻습니다.

# %%
import pandas as pd

from stacklab import lesson, notebook, show, study
from stacklab.bench import Point
from stacklab.study import plots
from stacklab.workload import HttpLoad

lab = lesson.begin("11_tune_it_yourself", "en", asks=["/io/?ms=50"])

# %% tags=["parameters"]
# True: a try is two minutes of measuring. False, or STACKLAB_FULL=1 in the environment: ten.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# 40 people use a page that waits 50 ms for another service: `/io/?ms=50`. Each asks again as soon as the answer is there. **Bring the
# 95th percentile of the response time as far down as you can, without an error, and with as little memory as you can.**
#
# Two wishes need one number, or everybody wins by his own. Ours:
#
# > score = p95, as a multiple of the reference's × memory, as a multiple of the reference's
#
# The reference is the lab's default settings, whose score is 1. A score of 0.5 is half as much of both together: half the time at
# the same memory is worth as much as the same time at half the memory. Memory is the peak [PSS](../../docs/glossary.md) of all services. A try
# with more errors than the reference does not count.
#
# ## Look first
#
# Before you turn anything, find out of what there is too little. Here is the reference under that load:

# %% [markdown] lang="ko"
# ## 질문
#
# 40명이 다른 서비스를 50 ms 동안 기다리는 페이지 `/io/?ms=50`을 씁니다. 모두 응답이 오는 대로 다시 요청합니다. **응답 시간의
# 95백분위수를 될 수 있는 대로 낮추세요. 오류는 없어야 하고, 메모리는 될 수 있는 대로 적게 써야 합니다.**
#
# 바라는 것이 둘이면 그것을 하나의 숫자로 합쳐야 합니다. 그러지 않으면 저마다 자기 기준으로 이깁니다. 우리의 숫자는 이렇습니다.
#
# > 점수 = 기준의 몇 배인지로 나타낸 p95 × 기준의 몇 배인지로 나타낸 메모리
#
# 기준은 랩의 기본 설정이고, 그 점수는 1입니다. 점수가 0.5이면 둘을 합쳐 반으로 줄인 것입니다. 같은 메모리로 시간을 반으로 줄인 것과, 같은
# 시간에 메모리를 반으로 줄인 것은 값어치가 같습니다. 메모리는 모든 서비스의 [PSS](../../docs/glossary.md) 최댓값입니다. 기준보다 오류가 많은
# 시도는 쳐 주지 않습니다.
#
# ## 먼저 살펴보기
#
# 무엇이든 돌리기 전에 무엇이 모자라는지 알아보세요. 그 부하를 받는 기준 설정의 모습입니다.

# %%
reference, scoreboard = lab.settings, {}
first = lab.http(point="the reference", path="/io/?ms=50", users=40, requests=1000, ramp_s=1, warmup_s=1)
plots.gauge_over_time(study.gauges([first]), ["nginx_active", "uwsgi_listen_queue", "uwsgi_busy_workers"]);

# %%
plots.cpu_over_time(study.resources([first]));

# %%
plots.memory_over_time(study.resources([first]));

# %% [markdown] lang="en"
# 40 people are somewhere at every moment. How many of them sit with a worker, and how many stand in the queue? How much of the CPU is
# left? Which service has the memory? What is used up here, and what is there plenty of?
#
# ## Your settings
#
# All that can be set, with its range. Most of it will not matter here, and that is part of the task:

# %% [markdown] lang="ko"
# 40명은 매 순간 어딘가에 있습니다. 워커와 함께 있는 사람은 몇 명이고, 대기열에 서 있는 사람은 몇 명인가요? CPU는 얼마나 남아 있나요?
# 메모리는 어느 서비스가 차지하고 있나요? 여기서 바닥난 것은 무엇이고, 넉넉한 것은 무엇인가요?
#
# ## 여러분의 설정
#
# 바꿀 수 있는 설정 전부와 그 범위입니다. 여기서는 대부분 상관없는 것들이고, 그것을 가려내는 것도 과제입니다.

# %%
print(show.settings_text(reference))

# %% [markdown] lang="en"
# Write yours into the braces, as in `{"uwsgi_processes": 4, "uwsgi_threads": 2}`. If you leave them empty, a modest example is measured
# in your stead: eight processes.
#
# You have a budget of **three tries**. Use it as one uses money: think first.

# %% [markdown] lang="ko"
# `{"uwsgi_processes": 4, "uwsgi_threads": 2}`처럼 중괄호 안에 여러분의 설정을 적으세요. 비워 두면 여러분 대신 소박한 보기를
# 측정합니다. 프로세스 여덟 개입니다.
#
# 예산은 **세 번의 시도**입니다. 돈처럼 쓰세요. 먼저 생각하고 쓰는 것입니다.

# %%
my_settings = {}
mine = my_settings or {"uwsgi_processes": 8}
label = ", ".join(f"{name}={value}" for name, value in mine.items())
lab.reset()
lab.set(**mine)

# %% [markdown] lang="en"
# ## Your prediction
#
# Each as a multiple of the reference's: 0.5 is half, 2 is twice. The score is the product of the other two. What you predict for
# the first try is sealed; of the later ones keep a note yourself.

# %% [markdown] lang="ko"
# ## 예측
#
# 모두 기준의 몇 배인지로 적으세요. 0.5는 절반, 2는 두 배입니다. 점수는 앞의 둘을 곱한 값입니다. 첫 번째 시도에 대한 예측은
# 봉인됩니다. 그다음 시도의 예측은 따로 적어 두세요.

# %%
my_prediction = {"p95": None, "memory": None, "score": None}
lab.predict("my settings", my_prediction)

# %% [markdown] lang="en"
# ## Measure
#
# The reference and your settings in turn, in blocks, as in `fab compare`. The dots are of the throughput; the aim is another line of the
# table: the 95th percentile. Read also what your settings cost beside it.

# %% [markdown] lang="ko"
# ## 측정
#
# `fab compare`처럼 기준과 여러분의 설정을 블록으로 묶어 번갈아 측정합니다. 점은 처리량을 나타내지만, 목표는 표의 다른 줄, 곧
# 95백분위수입니다. 여러분의 설정에 그 밖에 무엇이 더 드는지도 읽어 보세요.

# %%
load = HttpLoad(path="/io/?ms=50", users=40)
sides = Point("the reference", reference, load), Point(label, reference.replace(**mine), load)
answer = lab.compare(*sides, budget_s=120 if QUICK else 600)

# %%
by = {verdict.metric: verdict for verdict in answer.metrics}
p95, memory = ((of.estimate, of.low, of.high) for of in (by["p95_s"], by["pss_peak_bytes"]))
score = tuple(time * room for time, room in zip(p95, memory))
lab.score("my settings", {"p95": p95, "memory": memory, "score": score})

# %% [markdown] lang="en"
# In brackets stands the [interval](../../docs/glossary.md). That of the score is the product of the other two, which is rather too
# wide than too narrow.
#
# ## The scoreboard
#
# A line for each set of settings that you have tried in this session, the best first. The *share of failed requests* is how much
# larger that share was than with the reference.

# %% [markdown] lang="ko"
# 괄호 안은 [신뢰 구간](../../docs/glossary.md)입니다. 점수의 구간은 다른 두 구간을 곱한 것이라, 너무 좁기보다는 너무 넓은
# 쪽입니다.
#
# ## 점수판
#
# 이번 세션에서 시도한 설정마다 한 줄씩, 가장 좋은 것부터 나옵니다. *share of failed requests*는 실패한 요청의 비율이 기준보다
# 얼마나 컸는지입니다.

# %%
scoreboard["the reference"] = {"settings": "the reference", "p95": 1.0, "memory": 1.0, "error_share": 0.0, "score": 1.0}
scoreboard[label] = {"settings": label, "p95": p95[0], "memory": memory[0], "error_share": by["error_share"].estimate}
scoreboard[label] |= dict(zip(("score", "low", "high"), score))
notebook.table(pd.DataFrame(scoreboard.values()).sort_values("score"))

# %% [markdown] lang="en"
# Two lines whose intervals (*low* to *high*) overlap are in no order yet, whatever place they have in the table.
#
# **Try again:** change `my_settings` above and run the cells from there to here. The same settings once more go on with the blocks that
# are there. Between two tries ask what the last one has taught you: what is used up *now*?
#
# ## What we have seen
#
# - An aim says what is measured, under which load, against what, and at what price. Without these, "faster" can always be shown.
# - A setting helps where it adds to what is used up. All the others are there to be left alone.
# - The score is made of estimates. Whoever tries many settings and keeps the best has also picked the luckiest: measure the winner
#   once more before you believe its number.
# - What is measured becomes the aim. Did you find a way to a better score that would make no better site? Exercise 3 has one.
#
# ## The course, in questions
#
# Cover your notes. Which of these can you answer now, and with which of *your* figures?
#
# | lesson | one question |
# |---|---|
# | `00_start_here` | A setting was changed. Who took it up, and who had to be started anew? |
# | `01_way_of_a_request` | A request takes long. Where was it all that time, and who can know? |
# | `02_nginx_connections` | What does the connection limit of nginx count, and why do errors begin long before it? |
# | `03_uwsgi` | When does one more process help, when one more thread, and when neither? |
# | `04_eight_cases` | One of the cases is always the fastest. What more does it take to say so? |
# | `05_daphne` | What do three instances cost that one does not, and what do they bring? |
# | `06_channel_layers` | A message was sent and did not arrive. Which layer lost it, and why? |
# | `07_balancing` | When is an even spread the wrong aim? |
# | `08_when_things_break` | An instance is dead. For whom, for how long, and what is lost for good? |
# | `09_not_fooled` | Which share of a standstill does your load test see? |
# | `10_how_many_machines` | How many machines does it take, and what does that figure not know? |
# | `11_tune_it_yourself` | Better than what, by how much, and at what price? |
#
# The post that this course began with answers some of them in one sentence each. `fab verdicts` says what your own runs answer.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# 구간(*low*에서 *high*까지)이 서로 겹치는 두 줄은 표에서 어디에 있든 아직 순서가 정해지지 않은 것입니다.
#
# **다시 해 보세요.** 위의 `my_settings`를 바꾸고 거기서부터 여기까지 셀을 실행하세요. 같은 설정으로 다시 실행하면 이미 측정한 블록에 이어서
# 측정합니다. 다음 시도를 하기 전에 지난 시도가 무엇을 가르쳐 주었는지 물어보세요. *지금* 바닥난 것은 무엇인가요?
#
# ## 정리
#
# - 목표는 무엇을, 어떤 부하에서, 무엇과 견주어, 어떤 대가로 재는지를 말합니다. 이것이 없으면 "더 빠르다"는 언제든 보여 줄 수 있습니다.
# - 설정은 바닥난 것을 보태 줄 때 도움이 됩니다. 나머지 설정은 그대로 두라고 있는 것입니다.
# - 점수는 추정값으로 만든 것입니다. 설정을 많이 시도해서 가장 좋은 것을 남긴 사람은 가장 운이 좋았던 것을 고른 셈이기도 합니다. 그 숫자를
#   믿기 전에 이긴 설정을 한 번 더 측정하세요.
# - 재는 것이 곧 목표가 됩니다. 점수는 좋아지지만 사이트는 좋아지지 않는 길을 찾았나요? 연습 문제 3에 하나가 있습니다.
#
# ## 질문으로 돌아보는 과정
#
# 적어 둔 것을 덮으세요. 다음 가운데 이제 답할 수 있는 것은 무엇이고, *여러분의* 어떤 숫자로 답할 수 있나요?
#
# | 수업 | 질문 하나 |
# |---|---|
# | `00_start_here` | 설정이 바뀌었습니다. 누가 받아들였고, 누구를 새로 시작해야 했나요? |
# | `01_way_of_a_request` | 요청 하나가 오래 걸립니다. 그동안 어디에 있었고, 그것을 누가 알 수 있나요? |
# | `02_nginx_connections` | nginx의 연결 한도는 무엇을 세고, 왜 한도에 한참 못 미쳐서 오류가 시작되나요? |
# | `03_uwsgi` | 프로세스를 하나 늘리면 도움이 될 때, 스레드를 하나 늘리면 도움이 될 때, 둘 다 소용없을 때는 언제인가요? |
# | `04_eight_cases` | 가장 빠른 경우는 언제나 있습니다. 그렇다고 말하려면 무엇이 더 필요한가요? |
# | `05_daphne` | 인스턴스 세 개에는 하나일 때 없던 어떤 비용이 들고, 무엇을 얻나요? |
# | `06_channel_layers` | 메시지를 보냈는데 도착하지 않았습니다. 어느 레이어가 왜 잃어버렸나요? |
# | `07_balancing` | 고르게 나누는 것이 잘못된 목표일 때는 언제인가요? |
# | `08_when_things_break` | 인스턴스 하나가 죽었습니다. 누구에게, 얼마 동안 그런 것이고, 영영 잃는 것은 무엇인가요? |
# | `09_not_fooled` | 여러분의 부하 시험은 멈춰 선 것의 얼마를 보나요? |
# | `10_how_many_machines` | 머신이 몇 대 필요하고, 그 숫자는 무엇을 모르나요? |
# | `11_tune_it_yourself` | 무엇보다, 얼마나, 어떤 대가로 더 나은가요? |
#
# 이 과정의 출발점이 된 글은 그 가운데 몇 가지에 한 문장씩으로 답합니다. `fab verdicts`는 여러분 자신의 측정이 뭐라고 답하는지 말해 줍니다.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Begin with `lab.reset()`, and end with `lab.end()`.
#
# 1. 40 people need 40 places to wait in. `{"uwsgi_processes": 40}` makes so many, and so does `{"uwsgi_threads": 8}`. Predict both lines
#    of the scoreboard, then measure. Is there something between the two, or beyond, that is better than either?
# 2. Take your best settings to a page that computes: the same cells with `path="/cpu/?ms=20"`, twice. What is left of the gain, and
#    why?
# 3. Somebody tries `{"daphne_instances": 1}`, and his score improves. Has he found something? (Give it ten minutes, for instances start and
#    stop in each block: `budget_s=600`.)
# 4. Measure your winner once more, with blocks that nobody has picked: give its `Point` another label, and compare again. Did the
#    score become better or worse? Which would you have expected?
#
# <details><summary>Answer 1</summary>
#
# Both hold all 40 at once, so nobody has to queue for a worker. But a process brings Python and Django along, and a thread hardly anything.
# Fewer processes with more threads in each save more yet, until the threads of one Python get in each other's way: they wait well together,
# and compute in turns. Where that begins on your machine, your scoreboard says.
# </details>
#
# <details><summary>Answer 2</summary>
#
# A page that computes needs a core, and a core is not made by settings. Places to wait in bring nothing when nobody waits: look at the CPU of the
# two loads. "Good settings" are good for a load.
# </details>
#
# <details><summary>Answer 3</summary>
#
# He has found a gap in the aim. Nobody chats under this load, so two instances of Daphne are memory for nothing, and the score is right to
# say so. On a site with a chat it would be a decision about another load and about what happens when that one instance dies (`08_when_things_break`).
# An aim that leaves something out asks for it to be sacrificed.
# </details>
#
# <details><summary>Answer 4</summary>
#
# Worse is the more likely of the two, if only by a little: the winner was chosen among several, and part of what chose it was luck, which the new
# blocks do not repeat. The more tries and the wider the intervals, the larger that part.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# 시작할 때는 `lab.reset()`을, 끝날 때는 `lab.end()`를 실행하세요.
#
# 1. 40명에게는 기다릴 자리 40개가 필요합니다. `{"uwsgi_processes": 40}`이 그만큼을 만들고, `{"uwsgi_threads": 8}`도 그만큼을 만듭니다. 점수판의 두 줄을
#    예측한 다음 측정하세요. 둘 사이에, 또는 그 너머에, 둘보다 나은 것이 있나요?
# 2. 가장 좋았던 설정을 계산하는 페이지에 가져가 보세요. 같은 셀에서 두 군데를 `path="/cpu/?ms=20"`으로 바꾸면 됩니다. 좋아진 것 가운데 무엇이
#    남았고, 왜 그런가요?
# 3. 누군가 `{"daphne_instances": 1}`을 시도했더니 점수가 좋아졌습니다. 무언가를 찾아낸 걸까요? (블록마다 인스턴스를 켜고 끄므로 십 분을
#    주세요. `budget_s=600`입니다.)
# 4. 이긴 설정을, 아무도 고르지 않은 새 블록으로 한 번 더 측정하세요. `Point`에 다른 이름을 붙이고 다시 비교하면 됩니다. 점수가
#    좋아졌나요, 나빠졌나요? 여러분이라면 어느 쪽을 예상했을까요?
#
# <details><summary>답 1</summary>
#
# 둘 다 40명을 한꺼번에 받으므로 아무도 워커를 기다리며 줄을 서지 않습니다. 하지만 프로세스는 Python과 Django를 통째로 데려오고, 스레드는 거의 아무것도 데려오지
# 않습니다. 프로세스를 줄이고 스레드를 늘리면 더 아낄 수 있습니다. 한 Python 안의 스레드들이 서로를 방해하기 시작할 때까지는 그렇습니다. 스레드들은 함께 잘 기다리지만
# 계산은 번갈아 합니다. 여러분의 머신에서 그것이 어디서 시작되는지는 점수판이 알려 줍니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 계산하는 페이지에는 코어가 필요하고, 코어는 설정으로 만들어지지 않습니다. 아무도 기다리지 않는다면 기다릴 자리는 아무것도 가져다주지 않습니다. 두 부하의 CPU를
# 보세요. "좋은 설정"은 어떤 부하에 좋은 설정입니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 목표의 빈틈을 찾아낸 것입니다. 이 부하에서는 아무도 채팅을 하지 않으므로 Daphne 인스턴스 두 개는 쓸데없이 메모리를 차지하고, 점수가 그렇게 말하는 것은
# 옳습니다. 채팅이 있는 사이트에서라면 그것은 다른 부하에 대한 결정이고, 하나뿐인 그 인스턴스가 죽으면 어떻게 되는지에 대한 결정입니다(`08_when_things_break`).
# 무언가를 빠뜨린 목표는 그것을 희생하라고 요구합니다.
# </details>
#
# <details><summary>답 4</summary>
#
# 조금이라도 나빠지는 쪽이 더 그럴듯합니다. 여럿 가운데 이긴 것을 골랐고, 그것을 고르게 한 것에는 운도 섞여 있었는데, 새 블록에서 그 운이 되풀이되지는
# 않기 때문입니다. 시도가 많을수록, 구간이 넓을수록 그 몫이 커집니다.
# </details>
