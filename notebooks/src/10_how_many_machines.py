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
# # How many machines?
#
# "So many thousand users a server": there is a rule of thumb for everybody, and it does not say what the users do. Somebody who
# reads costs a page now and then. Somebody in a chat room of twenty costs twenty deliveries each time he says "hi".
#
# Here we go the other way about: measure what one piece of work costs, find the load up to which the site keeps its promise, and
# only then multiply. And we write down what the product does not know.

# %% [markdown] lang="ko"
# # 머신이 몇 대 필요할까요?
#
# "서버 한 대에 사용자 몇천 명." 이런 어림셈은 누구나 하나쯤 알고 있지만, 그 사용자들이 무엇을 하는지는 말해 주지 않습니다. 읽기만
# 하는 사람은 가끔 페이지 하나를 요청합니다. 스무 명이 있는 대화방의 사람은 "안녕"이라고 할 때마다 전달 스무 번을 일으킵니다.
#
# 여기서는 반대로 갑니다. 일 하나에 비용이 얼마나 드는지 재고, 사이트가 약속을 지킬 수 있는 부하가 어디까지인지 찾은 다음에야
# 곱셈을 합니다. 그리고 그 곱셈이 무엇을 모르는지도 적어 둡니다.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from stacklab import lesson, notebook
from stacklab.bench.capacity import capacity
from stacklab.study import costs, fleet, knees, queueing, scaling, sizing
from stacklab.workload import Demand, Fleet

lab = lesson.begin("10_how_many_machines", "en", asks=["/"], chats=True)

# %% tags=["parameters"]
# True: three small blocks, some six minutes. False, or STACKLAB_FULL=1 in the environment: five, of full size.
QUICK = notebook.quick_mode()

# %%
from contextlib import suppress

from IPython.display import display
from ipywidgets import FloatSlider, IntSlider, interact

from stacklab.errors import LabError

# %% [markdown] lang="en"
# ## Question
#
# **What do a page, a delivered message and an open socket cost? How much of it can one host bear? And how many hosts do 50,000
# people take?**
#
# "Bear" needs a promise that can be broken. Ours: 95 of 100 are answered within 250 ms, and no more than one in a hundred is
# lost.
#
# ## Your prediction
#
# All services of the web host together: how many microseconds (millionths of a second) of CPU does one page `/` take? How many
# does one [delivery](../../docs/glossary.md) take, a message at one receiver? And how many KiB of memory does an open socket take in which
# nobody says anything? The right power of ten is worth a lot here.

# %% [markdown] lang="ko"
# ## 질문
#
# **페이지 하나, 전달된 메시지 하나, 열린 소켓 하나의 비용은 얼마일까요? 호스트 한 대는 그것을 얼마나 감당할까요? 그리고 50,000명에게는
# 호스트가 몇 대 필요할까요?**
#
# "감당한다"고 하려면 깨질 수 있는 약속이 있어야 합니다. 우리의 약속은 100건 가운데 95건이 250 ms 안에 응답을 받고, 백에 하나보다 많이
# 잃어버리지 않는 것입니다.
#
# ## 예측
#
# 웹 호스트의 모든 서비스를 합쳐서, `/` 페이지 하나에 CPU가 몇 마이크로초(백만분의 일 초) 들까요? [전달](../../docs/glossary.md)(delivery) 하나,
# 곧 받는 사람 한 명에게 메시지 하나가 가는 데는 얼마나 들까요? 그리고 아무도 말하지 않는 열린 소켓 하나는 메모리를 몇 KiB나
# 차지할까요? 여기서는 자릿수만 맞혀도 대단한 것입니다.

# %%
my_costs = {"a page, µs": None, "a delivery, µs": None, "a socket, KiB": None}
lab.predict("what work costs", my_costs)

# %% [markdown] lang="en"
# ## Measure
#
# Each kind of work has a run of its own: pages that come at random, messages in rooms of several sizes, sockets that open and
# then keep silent. Two searches follow, for pages and for messages: more and more of it, until the promise is broken. All of that makes
# one block.
#
# This is the longest measurement of the course. Start it, and go on reading: the sum on paper below needs no machine.

# %% [markdown] lang="ko"
# ## 측정
#
# 일의 종류마다 따로 측정합니다. 무작위로 들어오는 페이지 요청, 크기가 여러 가지인 대화방의 메시지, 열린 뒤에 아무 말도 하지 않는
# 소켓입니다. 이어서 페이지와 메시지를 각각 점점 늘려 가며 약속이 깨지는 곳을 찾습니다. 이 모두가 모여
# 블록 하나가 됩니다.
#
# 이 과정에서 가장 긴 측정입니다. 시작해 놓고 계속 읽으세요. 아래의 종이 위 계산에는 머신이 필요 없습니다.

# %%
runs = lab.experiment(capacity(quick=QUICK))

# %% [markdown] lang="en"
# ## On paper
#
# 50,000 people are on the site at once. Each looks at 2 pages a minute. One in five has the chat open, and says one thing a minute
# in a room of twenty.
#
# Take a pencil: how many pages a second is that? How many open sockets? How many messages a second are sent, and how many
# deliveries a second does that make? Then look:

# %% [markdown] lang="ko"
# ## 종이 위에서
#
# 50,000명이 동시에 사이트에 있습니다. 한 사람이 분당 2페이지를 봅니다. 다섯 명 가운데 한 명은 채팅을 열어 놓고, 스무 명이 있는
# 대화방에서 일 분에 한마디씩 합니다.
#
# 연필을 들어 보세요. 초당 몇 페이지인가요? 열린 소켓은 몇 개인가요? 메시지는 초당 몇 개나 보내지고, 그것은 초당 전달 몇 건이
# 되나요? 다 적었으면 확인해 보세요.

# %%
demand = Demand(users=50_000, page_views_per_min=2, chat_share=0.2, messages_per_min=1, room_size=20)
names = ("requests_per_s", "sockets", "messages_per_s", "deliveries_per_s")
notebook.table(pd.DataFrame([{"what": name, "how many": round(getattr(demand, name))} for name in names]))

# %% [markdown] lang="en"
# ## First: is it sound?
#
# If you have measured the full experiment (`fab experiment capacity`), we use its runs. Otherwise those from above. Only
# [sound](../../docs/glossary.md) runs tell a cost.

# %% [markdown] lang="ko"
# ## 먼저: 온전한 측정인가요?
#
# 전체 크기의 실험(`fab experiment capacity`)을 측정해 두었다면 그 측정을 씁니다. 그렇지 않으면 위에서 한 측정을 씁니다. 비용은
# [온전한](../../docs/glossary.md)(sound) 측정으로만 따집니다.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))
state = pd.DataFrame({"point": [run.point for run in judged], "sound": [run.validity.valid for run in judged]})
notebook.table(state.groupby("point", sort=False)["sound"].agg(["sum", "size"]).reset_index())

# %% [markdown] lang="en"
# *sum* is how many runs of a point are sound, *size* how many there are. On a busy computer some of the cells below have nothing to say,
# and then they say nothing: a figure from disturbed runs would be worse than none.
#
# ## What a piece of work costs

# %% [markdown] lang="ko"
# *sum*은 그 점의 측정 가운데 온전한 것의 수이고, *size*는 측정 전체의 수입니다. 바쁜 컴퓨터에서는 아래 셀 가운데 할 말이 없는 것이 있을 수 있고,
# 그럴 때는 아무것도 출력하지 않습니다. 방해받은 측정에서 나온 숫자는 없느니만 못하기 때문입니다.
#
# ## 일 하나의 비용

# %%
notebook.table(pd.DataFrame(costs.lines(judged)))

# %% [markdown] lang="en"
# In brackets stands the 95 % interval over blocks. Read across: which service pays for a page, and which for a message? Then read down:
# a message costs something once, when it is sent, and something again each time it is delivered. In which rooms does the first part
# matter, and in which the second?

# %% [markdown] lang="ko"
# 괄호 안은 블록들에서 구한 95 % 신뢰 구간입니다. 가로로 읽어 보세요. 페이지의 비용은 어느 서비스가 내고, 메시지의 비용은 어느 서비스가
# 내나요? 이번에는 세로로 읽어 보세요. 메시지는 보낼 때 비용이 한 번 들고, 전달될 때마다 또 비용이 듭니다. 어떤 대화방에서는
# 앞의 것이, 어떤 대화방에서는 뒤의 것이 중요할까요?

# %%
with suppress(LabError):
    of, every = fleet.measured(judged), (*fleet.WEB, fleet.REDIS)
    known = [1e6 * of.cpu_s("page", every), 1e6 * of.cpu_s("delivery", every), of.socket_bytes() / 1024]
    lab.score("what work costs", dict(zip(my_costs, known)))

# %% [markdown] lang="en"
# ## The knee
#
# From the cost of a page one might reckon how many a core can make at most. That is not how many it can *bear*. In the simplest queue
# a request takes 1 / (1 − *u*) times as long as by itself, where *u* is the share of the time in which the server is busy:
# twice as long at 50 %, ten times at 90 %. So the promise breaks before the core is full. Up to which load it holds is the
# [knee](../../docs/glossary.md).

# %% [markdown] lang="ko"
# ## 무릎점
#
# 페이지 하나의 비용을 알면 코어 하나가 최대 몇 페이지를 만들 수 있는지 계산할 수 있습니다. 하지만 그만큼을 *감당한다*는 뜻은 아닙니다. 가장
# 단순한 대기열에서 요청은 혼자일 때보다 1 / (1 − *u*)배 오래 걸립니다. *u*는 서버가 일하고 있는 시간의 비율입니다.
# 50 %이면 두 배, 90 %이면 열 배입니다. 그래서 약속은 코어가 꽉 차기 전에 깨집니다. 약속이 지켜지는 가장 높은 부하가
# [무릎점](../../docs/glossary.md)(knee)입니다.

# %%
print("\n".join(knees.sentences(judged)))
knees.picture(judged)

# %% [markdown] lang="en"
# Each mark is a trial. Left of the knee the times hardly change for a long while; right of it they grow steeply, for what cannot be
# answered in time stands in the way of what comes next. Where no knee was found, the sentence says whether the promise was never kept
# or never broken, and in neither case is a figure made up.
#
# ## A model that was fitted to nothing
#
# If there is a dash-dotted line in the left picture, nobody has drawn it through the marks. It is a *queueing network*: requests come at
# random, take some CPU in nginx, wait for a free uWSGI process, and compute in it. All it knows is what a page cost at a *light*
# load. How near does it come to what was measured?
#
# A model is worth what it foretells of things that it has not seen. Here it is asked for fifty users in a closed loop, and for two
# pages: `/`, which computes, and `/io/?ms=50`, which waits. **Predict:** which of the two curves goes on growing with the
# processes, and where does the other one stop?

# %% [markdown] lang="ko"
# 표시 하나가 시도 한 번입니다. 무릎점의 왼쪽에서는 시간이 오랫동안 거의 변하지 않습니다. 오른쪽에서는 가파르게 늘어납니다. 제때 응답하지
# 못한 것이 그다음에 오는 것을 가로막기 때문입니다. 무릎점을 찾지 못했다면, 약속이 한 번도 지켜지지 않았는지 한 번도 깨지지 않았는지를
# 문장이 알려 줍니다. 어느 쪽이든 없는 숫자를 지어내지는 않습니다.
#
# ## 아무것에도 맞추지 않은 모델
#
# 왼쪽 그림에 일점쇄선이 있다면, 그것은 누가 표시들에 맞춰 그은 선이 아닙니다. *대기열 네트워크*(queueing network)입니다. 요청은 무작위로
# 들어와 nginx에서 CPU를 조금 쓰고, 비어 있는 uWSGI 프로세스를 기다렸다가, 그 안에서 계산합니다. 이 모델이 아는 것은 부하가
# *가벼울* 때 페이지 하나에 든 비용뿐입니다. 측정한 것에 얼마나 가까이 다가가나요?
#
# 모델의 값어치는 본 적 없는 것을 얼마나 잘 예언하느냐에 있습니다. 여기서는 닫힌 루프의 사용자 쉰 명과 두 페이지에 대해 물어봅니다.
# 계산하는 `/`와 기다리는 `/io/?ms=50`입니다. **예측해 보세요.** 두 곡선 가운데 프로세스를 늘리는 대로 계속 올라가는 것은 어느 쪽이고,
# 다른 쪽은 어디에서 멈출까요?

# %%
page, cpus = queueing.measured(judged), queueing.host_of(judged).cpus
figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
for path in ("/", "/io/?ms=50") if page else ():
    per_s = [queueing.throughput(page.at(path), queueing.Host(cpus, n), users=50) for n in range(1, 9)]
    ax.plot(range(1, 9), per_s, "o-.", label=path)
    ax.legend()
ax.set(xlabel="uWSGI processes", ylabel="requests per second, foretold", ylim=(0, None));

# %% [markdown] lang="en"
# Exercise 3 holds one point of it against your machine. The full experiment does so for all of them, and sets three other models
# beside it that *are* fitted: each sees all numbers of processes but one, and is asked for that one. (After a quick one the next cell
# has nothing to say.)

# %% [markdown] lang="ko"
# 연습 문제 3에서 이 곡선의 한 점을 여러분의 머신과 맞춰 봅니다. 전체 크기의 실험은 모든 점에서 그렇게 하고, 측정에 *맞춘* 모델 세 가지를
# 나란히 놓습니다. 각 모델은 프로세스 수 가운데 하나만 빼고 모두 본 다음, 빠진 것을 맞혀야 합니다. (작은 실험 뒤에는 다음 셀이
# 아무것도 출력하지 않습니다.)

# %%
print("\n".join(scaling.sentences(judged)))
if scaling.curves(judged):
    display(scaling.picture(judged))

# %% [markdown] lang="en"
# ## Fifty thousand people
#
# Now multiply: the work of a second, times its cost, divided by what of a host may be in use at the knee, with 30 % to spare.
# Every block makes an answer of its own, and so the answer has an interval. In a terminal this is `fab size`.
#
# **Predict:** how many hosts, each as large as yours, do the pages take (uWSGI), and how many the chat (Daphne)?

# %% [markdown] lang="ko"
# ## 오만 명
#
# 이제 곱합니다. 일 초 동안의 일에 그 비용을 곱하고, 무릎점에서 쓰고 있어도 되는 호스트의 몫으로 나누고, 30 %를 여유로 남깁니다.
# 블록마다 답이 따로 나오므로 답에는 신뢰 구간이 있습니다. 터미널에서는 `fab size`입니다.
#
# **예측해 보세요.** 여러분의 것과 같은 호스트가 페이지(uWSGI)에는 몇 대, 채팅(Daphne)에는 몇 대 필요할까요?

# %%
my_hosts = {"pages": None, "chat": None}
lab.predict("50,000 people", my_hosts)

# %%
with suppress(LabError):
    sized = sizing.size(judged, demand)
    print(sizing.text(sized))
    hosts = {role["role"]: (role["hosts"], role["low"], role["high"]) for role in sized["roles"]}
    lab.score("50,000 people", {name: hosts[name] for name in my_hosts})

# %% [markdown] lang="en"
# The next cell does the same, with sliders for what was asked. If the cell above has no figure to show, this one says why.
#
# Before you move a slider, say what it will do. Double the people: does every role double? Double the room: which roles grow, and
# which do not? Ask for 150 ms instead of 250: what becomes more, though nobody does anything more?

# %% [markdown] lang="ko"
# 다음 셀은 똑같은 일을 하되, 조건을 슬라이더로 바꿀 수 있습니다. 위 셀에 보여 줄 숫자가 없다면 이 셀이 그 까닭을 말해 줍니다.
#
# 슬라이더를 움직이기 전에 무슨 일이 일어날지 말해 보세요. 사람을 두 배로 하면 모든 역할이 두 배가 되나요? 대화방을 두 배로 키우면 어느 역할이
# 늘고 어느 역할은 그대로인가요? 250 ms 대신 150 ms를 요구하면, 아무도 무엇을 더 하지 않는데 무엇이 늘어나나요?

# %%
late = {"continuous_update": False}
sliders = {
    "users": IntSlider(value=50_000, min=1_000, max=200_000, step=1_000, **late),
    "chat_share": FloatSlider(value=0.2, min=0, max=1, step=0.05, **late),
    "room_size": IntSlider(value=20, min=2, max=200, step=2, **late),
    "p95_ms": FloatSlider(value=250, min=50, max=1_000, step=10, **late),
    "spare": FloatSlider(value=0.3, min=0, max=0.9, step=0.05, **late),
}
sliding = interact(lambda **asked: print(sizing.text(sizing.size(judged, demand.replace(**asked)))), **sliders)

# %% [markdown] lang="en"
# ## What it does not know
#
# Its last lines say how far the answer lies beyond what one host was seen to do. Read them as a warning, not as a footnote:
#
# - One host was measured, and never two. What they cost each other, by the network, by Redis, by a shared database, is not in it.
# - It knows one page, `/`, and one chat. Yours cost something else: `fab provision --site` puts your own site under test.
# - 2 pages a minute is a mean. People come at noon, and all at once when something happens.
# - A machine that is lost takes its share with it. 30 % to spare is for luck, not for a burning rack.
#
# ## A million sockets, on paper
#
# It has been done elsewhere. Centrifugo, a server written for it in Go, reported a million connections and 500,000 deliveries a second
# on 40 CPUs, with 30 kB for each connection (its blog, 2020-02-10). What would it take with the stack that you have measured?
#
# A million people have a chat socket open, in rooms of twenty, and each says one thing a minute and looks at 2 pages. Take
# 400 hosts like yours and a single Redis. As the crowd grows, **what breaks first:** the CPU of the hosts (`host_cpu`), the one core
# of Redis (`redis_core`), or the hosts' memory (`memory`)?

# %% [markdown] lang="ko"
# ## 이 계산이 모르는 것
#
# 마지막 줄들은 이 답이 호스트 한 대에서 실제로 본 것을 얼마나 넘어서는지 말해 줍니다. 각주가 아니라 경고로 읽으세요.
#
# - 측정한 것은 호스트 한 대이고, 두 대를 측정한 적은 없습니다. 네트워크 때문에, Redis 때문에, 함께 쓰는 데이터베이스 때문에 서로에게 끼치는 비용은 들어 있지 않습니다.
# - 아는 것은 페이지 `/` 하나와 채팅 하나뿐입니다. 여러분의 것은 비용이 다릅니다. `fab provision --site`로 여러분의 사이트를 시험할 수 있습니다.
# - 분당 2페이지는 평균입니다. 사람들은 점심시간에 몰리고, 무슨 일이 생기면 한꺼번에 옵니다.
# - 머신 한 대를 잃으면 그 몫도 함께 사라집니다. 30 %의 여유는 운에 대비한 것이지, 불타는 랙에 대비한 것이 아닙니다.
#
# ## 종이 위의 소켓 백만 개
#
# 다른 곳에서는 해낸 일입니다. 이런 일을 위해 Go로 만든 서버 Centrifugo는 CPU 40개로 연결 백만 개와 초당 전달 500,000건을 감당했고 연결마다
# 30 kB가 들었다고 합니다(블로그, 2020-02-10). 여러분이 측정한 스택으로는 무엇이 필요할까요?
#
# 백만 명이 스무 명짜리 대화방에서 채팅 소켓을 열어 놓고, 저마다 일 분에 한마디를 하고 2페이지를 봅니다. 여러분의 것과 같은 호스트
# 400대와 Redis 하나를 씁니다. 사람이 늘어날 때 **무엇이 먼저 무너질까요?** 호스트의 CPU(`host_cpu`)일까요, Redis의 코어
# 하나(`redis_core`)일까요, 호스트의 메모리(`memory`)일까요?

# %%
my_break = {"breaks first": None}
lab.predict("a million sockets", my_break, choices=["host_cpu", "redis_core", "memory"])

# %% [markdown] lang="en"
# Multiply by hand first: what happens in a second, times what each costs, makes cores.

# %% [markdown] lang="ko"
# 먼저 손으로 곱해 봅시다. 일 초 동안 일어나는 일의 수에 하나하나의 비용을 곱하면 코어 수가 됩니다.

# %%
million = Fleet(users=1_000_000, chat_share=1.0, page_views_per_min=2, messages_per_min=1, room_size=20, hosts=400)
often = {"page": million.requests_per_s, "message": million.messages_per_s, "delivery": million.deliveries_per_s}
with suppress(LabError):
    of = fleet.measured(judged)
    each = {work: of.cpu_s(work, every) for work in (*often, "socket")}
    paper = pd.DataFrame({"work": list(each), "in a second": [*map(round, often.values()), round(million.sockets)]})
    display(notebook.table(paper.assign(cores=paper["in a second"] * list(each.values()))))
    notebook.say(f"`memory`: **{million.sockets * of.socket_bytes() / 2**30:,.0f} GiB**")

# %% [markdown] lang="en"
# Then let the lab do it, with what a hand leaves out: a message is handed to every host that has somebody of its room, and on a bad
# day all come back at once. In a terminal this is `fab fleet`.

# %% [markdown] lang="ko"
# 이제 손으로 한 계산에서 빠진 것까지 넣어 랩에 맡깁니다. 메시지는 그 대화방 사람이 있는 모든 호스트로 건네지고, 운이 나쁜 날에는 모두가
# 한꺼번에 돌아옵니다. 터미널에서는 `fab fleet`입니다.

# %%
with suppress(LabError):
    told = fleet.reckon(judged, million)
    print(fleet.text(told))
    lab.score("a million sockets", {"breaks first": told["breaks_first"]["limit"]})

# %% [markdown] lang="en"
# Do what it says is to be done before. Here is the same crowd with 64 Redis servers, among which the rooms are shared out. What
# breaks first now? And how do the two bad moments go?

# %% [markdown] lang="ko"
# 미리 하라는 것을 해 봅시다. 사람은 그대로이고, Redis 서버 64대가 대화방을 나누어 맡습니다. 이제 무엇이 먼저 무너지나요? 운이 나쁜
# 두 순간은 어떻게 지나가나요?

# %%
with suppress(LabError):
    told = fleet.reckon(judged, million.replace(redis_servers=64))
    print(fleet.text(told))
    display(fleet.picture(told))

# %% [markdown] lang="en"
# ## What we have seen
#
# - "So many users" is no load. Pages, messages, deliveries and sockets a second are one, and a room of twenty makes twenty of one.
# - What a host can do at most and what it can *bear* are two figures. The second needs a promise, and it is the one to multiply.
# - Each figure comes with an interval, and with a list of what it does not know. A plan without either is a guess in a suit.
# - A bad day is not an ordinary day with more people. It is everybody at once, and what has to be free beforehand.
# - Did the model that was fitted to nothing do well on your machine? Then you understand this load better than a curve does.
# - Next: `11_tune_it_yourself` gives you an aim and a few minutes.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# ## 정리
#
# - "사용자 몇 명"은 부하가 아닙니다. 초당 페이지, 메시지, 전달, 그리고 소켓이 부하이고, 스무 명의 대화방은 하나를 스물로 만듭니다.
# - 호스트가 최대로 할 수 있는 양과 *감당할* 수 있는 양은 다른 숫자입니다. 뒤의 것에는 약속이 필요하고, 곱셈에 쓸 것은 바로 그 숫자입니다.
# - 숫자마다 신뢰 구간이 있고, 모르는 것의 목록이 있습니다. 둘 다 없는 계획은 양복을 차려입은 짐작일 뿐입니다.
# - 운이 나쁜 날은 사람이 조금 더 많은 보통 날이 아닙니다. 모두가 한꺼번에 오는 날이고, 미리 비워 둔 자리가 있어야 하는 날입니다.
# - 아무것에도 맞추지 않은 모델이 여러분의 머신에서 잘 맞았나요? 그렇다면 여러분은 이 부하를 곡선 하나보다 더 잘 이해하고 있는 것입니다.
# - 다음 수업 `11_tune_it_yourself`에서는 목표 하나와 몇 분의 시간을 받습니다.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# 1. Somebody wants 95 of 100 within 100 ms instead of 250. Predict which roles grow, then move the slider `p95_ms`. Why may there be no
#    figure at all?
# 2. Leave everything as it is, but let each room hold 200 people. Predict the hosts of `chat` and of `pages` before you move
#    `room_size`. Which line of the table of costs tells it?
# 3. The network foretold how many pages a second 2 processes make of `/io/?ms=50`. Hold it against your machine: `lab.reset()`,
#    `lab.set(uwsgi_processes=2)`, `lab.http(path="/io/?ms=50", users=50, requests=400)`, and `lab.end()`. Then ask of your own
#    head: what would you have foretold, without any model?
# 4. Your servers will not be like this lab. `fab calibrate --host user@server` tells how much work a core of theirs does, and `fab size`
#    takes it as `--host-speed`. Which costs does that make smaller, and which does it leave as they are?
#
# <details><summary>Answer 1</summary>
#
# A sharper promise breaks at a lower load, so less of each host may be in use, and every role that works with it takes more hosts. Where
# the promise was not kept even at the lowest load that was tried, there is no knee, and so there is no figure: the lab says so instead of
# guessing.
# </details>
#
# <details><summary>Answer 2</summary>
#
# Each message is now delivered ten times as often. The pages do not notice. Of the chat that part grows which a delivery costs; what a
# message costs when it is sent, and what an open socket costs, stay. Rooms of 200 also lie beyond the largest rooms that were
# measured, and the last lines say so.
# </details>
#
# <details><summary>Answer 3</summary>
#
# A worker that waits 50 ms for each page makes at most 20 a second, so 2 of them make at most 40. The network says a little less, since a page
# also computes. Where nearly all of the time is waiting, a model has little to do; it earns its keep where waiting and computing get
# in each other's way.
# </details>
#
# <details><summary>Answer 4</summary>
#
# It makes all that is CPU time smaller. Memory stays, open files and ports stay, and so does the time that a page waits for somebody else: a
# quick core does not wait more quickly. And it is a figure of one kind of work, Python's, measured for ten seconds.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# 1. 누군가 250 ms 대신 100건 가운데 95건이 100 ms 안에 응답받기를 원합니다. 어느 역할이 늘어날지 예측한 다음 `p95_ms` 슬라이더를 움직이세요. 숫자가
#    아예 나오지 않을 수도 있는 까닭은 무엇인가요?
# 2. 나머지는 그대로 두고 대화방마다 200명이 있게 하세요. `room_size`를 움직이기 전에 `chat`과 `pages`의 호스트 수를 예측해 보세요.
#    비용 표의 어느 줄이 그것을 알려 주나요?
# 3. 대기열 네트워크는 프로세스 2개가 `/io/?ms=50`을 초당 몇 페이지 처리할지 예언했습니다. 여러분의 머신과 맞춰 보세요. `lab.reset()`,
#    `lab.set(uwsgi_processes=2)`, `lab.http(path="/io/?ms=50", users=50, requests=400)`, `lab.end()`를 차례로 실행하면 됩니다. 그런 다음
#    스스로에게 물어보세요. 모델 없이 머릿속으로 예언했다면 얼마라고 했을까요?
# 4. 여러분의 서버는 이 랩과 다를 것입니다. `fab calibrate --host user@server`는 그 서버의 코어가 일을 얼마나 하는지 알려 주고, `fab size`는
#    그 값을 `--host-speed`로 받습니다. 그러면 어떤 비용이 줄고, 어떤 비용은 그대로인가요?
#
# <details><summary>답 1</summary>
#
# 더 엄격한 약속은 더 낮은 부하에서 깨집니다. 그래서 호스트마다 쓸 수 있는 몫이 줄고, 그 몫으로 일하는 역할은 모두 호스트가 더 필요해집니다.
# 시도해 본 가장 낮은 부하에서도 약속이 지켜지지 않았다면 무릎점이 없고, 따라서 숫자도 없습니다. 랩은 짐작하는 대신 그렇다고
# 말합니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 이제 메시지 하나가 열 배 많이 전달됩니다. 페이지는 아무 영향도 받지 않습니다. 채팅에서는 전달에 드는 비용만 늘어납니다. 메시지를 보낼 때 드는
# 비용과 열린 소켓에 드는 비용은 그대로입니다. 그리고 200명짜리 대화방은 측정해 본 가장 큰 대화방보다도 크고, 마지막 줄들이 그렇다고
# 말합니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 페이지마다 50 ms를 기다리는 워커는 초당 많아야 20페이지를 처리하므로, 2개면 많아야 40페이지입니다. 페이지는 계산도 하므로 대기열 네트워크는 그보다 조금
# 적게 말합니다. 거의 모든 시간이 기다림이라면 모델이 할 일은 별로 없습니다. 모델이 제 몫을 하는 것은 기다림과 계산이 서로를
# 방해하는 곳에서입니다.
# </details>
#
# <details><summary>답 4</summary>
#
# CPU 시간인 것은 모두 줄어듭니다. 메모리는 그대로이고, 열린 파일과 포트도 그대로이고, 페이지가 다른 누군가를 기다리는 시간도 그대로입니다. 코어가
# 빠르다고 기다림이 빨라지지는 않습니다. 그리고 이것은 Python이라는 한 가지 일로 십 초 동안 잰 숫자입니다.
# </details>
