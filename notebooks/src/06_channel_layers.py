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
# # Channel layers: the layer that loses half, and why
#
# Three Daphne instances stand behind nginx, and the members of a room are spread over them. Something has to carry a message
# from the instance that took it to the others: the [channel layer](../../docs/glossary.md). Which one it is, is a setting of
# the site.
#
# The engineer whose account this lab rebuilds names none; then the usual one stands, `core`, on Redis. Whoever has no
# Redis at hand takes the layer in memory. One tries it, and it works. **Does it?**

# %% [markdown] lang="ko"
# # 채널 레이어: 절반을 잃는 레이어와 그 이유
#
# nginx 뒤에 Daphne 인스턴스 셋이 있고, 한 방의 사람들은 여러 인스턴스에 흩어져 있습니다. 무언가가
# 메시지를 받은 인스턴스에서 다른 인스턴스들로 메시지를 날라야 합니다. 그것이 [채널 레이어](../../docs/glossary.md)입니다. 무엇을 쓸지는
# 사이트의 설정입니다.
#
# 이 랩이 재현하는 글을 쓴 엔지니어는 어느 것인지 밝히지 않았습니다. 그렇다면 흔히 쓰는 것, Redis 위의 `core`입니다. Redis가 없는 사람은
# 메모리 레이어를 씁니다. 써 보면 잘 됩니다. **정말 잘 될까요?**

# %%
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.bench import channel_layers
from stacklab.study import crowdplots, plots

lab = lesson.begin("06_channel_layers", "en", chats=True)

# %% tags=["parameters"]
# True: a fifth of the clients, ten seconds, one repeat. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# The layer in memory, and three instances that nginx fills in turn (round robin). 60 clients chat in 6 rooms of 10. Each message
# should reach all 10 members of its room, the sender too; each of these is a [delivery](../../docs/glossary.md).
# **What share of the deliveries arrives?**
#
# ## Your prediction
#
# As a share: 1 is all, 0.5 is half.

# %% [markdown] lang="ko"
# ## 질문
#
# 메모리 레이어를 쓰고, nginx는 인스턴스 셋을 돌아가며 채웁니다(라운드 로빈). 클라이언트 60개가 10명씩 6개 방에서 대화합니다. 메시지는
# 보낸 사람까지 포함해 방의 10명 모두에게 가야 하고, 그 하나하나가 [전달(delivery)](../../docs/glossary.md)입니다.
# **전달 가운데 도착하는 비율은 얼마일까요?**
#
# ## 예측
#
# 비율로 적으세요. 1은 전부, 0.5는 절반입니다.

# %%
my_share = {"share delivered": None}
lab.predict("in memory", my_share)

# %% [markdown] lang="en"
# ## The change
#
# One line in the file that each instance reads when it starts:

# %% [markdown] lang="ko"
# ## 변경
#
# 인스턴스가 시작할 때 읽는 파일의 한 줄입니다.

# %%
lab.set(channel_layer="memory")

# %% [markdown] lang="en"
# ## Measure
#
# Every message is numbered, and every receiver is asked.

# %% [markdown] lang="ko"
# ## 측정
#
# 모든 메시지에 번호를 매기고, 받아야 할 모두에게 물어봅니다.

# %%
alone = lab.chat(point="in memory", clients=60, rooms=6, messages_per_s=0.5, duration_s=10, ramp_s=2)

# %%
delivered = study.summarize([alone])["delivered_share"].iloc[0]
lab.score("in memory", {"share delivered": delivered})

# %% [markdown] lang="en"
# ## Who heard what?
#
# Read once more what the lab said of the run. A socket that closes leaves a trace; a lost message is simply not there. So let us
# look at who sat where: how many members of each room were on each instance.

# %% [markdown] lang="ko"
# ## 누가 무엇을 들었을까
#
# 랩이 이 측정을 두고 한 말을 다시 읽어 보세요. 소켓은 닫히면 흔적이 남지만, 잃어버린 메시지는 그저 없을 뿐입니다. 그러니 누가 어디에
# 앉아 있었는지 봅시다. 방마다 몇 명이 어느 인스턴스에 있었을까요?

# %%
seats = study.connections([alone]).dropna(subset=["connect_s"]).drop_duplicates("client")
sitting = seats.groupby(["room", "instance"]).size()
notebook.table(sitting.unstack(fill_value=0).reset_index())

# %% [markdown] lang="en"
# And now the deliveries by receiver: was it the sender itself, and did it sit on the instance that took the message?

# %% [markdown] lang="ko"
# 이번에는 전달을 받는 쪽에 따라 나눕니다. 보낸 사람 자신입니까? 메시지를 받아들인 인스턴스에 앉아 있었습니까?

# %%
rows = study.messages([alone])
rows = rows[~rows["warmup"].astype(bool)]
at = rows["receiver"].map(seats.set_index("client")["instance"])
told = rows.assign(itself=rows["receiver"] == rows["sender"], same_instance=at == rows["via"])
told["arrived"] = rows["copies"] > 0
heard = told.groupby(["itself", "same_instance"])["arrived"].agg(deliveries="size", arrived_share="mean")
notebook.table(heard.reset_index())

# %% [markdown] lang="en"
# **Think:** which of these lines does somebody see who tries the chat alone, in one window? And somebody who runs a single
# instance, as on a laptop?
#
# ## Worked out
#
# The layer in memory is a dictionary within one process. What is put into it, no other process ever sees. So:
#
# - 1 of the 10 is the sender, who always hears itself.
# - The 9 others sit anywhere. There are 20 sockets on each instance; one place of the sender's own is taken, so
#   19 of the 59 other clients sit with the sender.
#
# > (1 + 9 × 19/59) / 10 = 0.39
#
# With very many clients it would be (1 + 9/3) / 10 = 0.4. That is by chance; from the seats above one can count it exactly:
# each pair of members who share an instance, over all pairs.

# %% [markdown] lang="ko"
# **생각해 봅시다:** 창 하나로 혼자 채팅을 시험하는 사람은 이 가운데 어느 줄을 볼까요? 노트북에서처럼 인스턴스를 하나만 띄운 사람은?
#
# ## 계산해 보면
#
# 메모리 레이어는 한 프로세스 안의 사전(dictionary)입니다. 거기에 넣은 것을 다른 프로세스는 결코 보지 못합니다. 그러므로
#
# - 10명 가운데 1명은 보낸 사람이고, 자기 말은 언제나 듣습니다.
# - 다른 9명은 어디에든 앉아 있습니다. 인스턴스마다 소켓이 20개이고 그중 한 자리는 보낸 사람의 것이므로, 다른 클라이언트 59개 가운데
#   19개가 보낸 사람과 함께 앉아 있습니다.
#
# > (1 + 9 × 19/59) / 10 = 0.39
#
# 클라이언트가 아주 많으면 (1 + 9/3) / 10 = 0.4가 됩니다. 이것은 확률로 구한 값이고, 위의 자리표로는 정확히 셀 수 있습니다. 같은
# 인스턴스에 앉은 쌍을 모든 쌍으로 나누면 됩니다.

# %%
pairs = seats.groupby("room").size().pow(2).sum()
by_seats = sitting.pow(2).sum() / pairs
worked_out = {"by chance": (1 + 9 * 19 / 59) / 10, "by the seats": by_seats, "measured": delivered}
notebook.table(pd.DataFrame([worked_out]))

# %% [markdown] lang="en"
# ## What a layer does with a message
#
# A consumer says `group_send` to its room, and that is all it knows. What follows depends on the layer:
#
# | | `core` | `pubsub` | `memory` |
# |---|---|---|---|
# | who is in the room | a sorted set in Redis, a line for each socket | an instance knows its own sockets, Redis knows which instances listen | an instance knows its own sockets |
# | a message | is written into a queue of each instance that holds a member | is published once | is put into the queues of the own sockets |
# | who fetches it | each instance, one message after the other | Redis pushes it to each instance that listens | nobody else |
# | trips to Redis, of a room on 3 instances | about 16 | 1 | none |
# | what may wait | `channel_capacity` messages for each instance, and for each socket in it | whatever there is memory for | `channel_capacity` messages for each socket |
#
# (The 16 are those of channels_redis 4.3.0: 4 to send, and 4 on each of the 3 instances to fetch it.)
#
# Whichever way it came, in the end each member gets a copy of its own. A message makes as many deliveries as the room has
# members: that is [fan-out](../../docs/glossary.md). If everybody in a room of 10 says one thing, that makes 100 deliveries.
# In a room of 100 it makes 10,000.
#
# And no layer tells the sender what became of a message. Channels promises delivery **at most once**, and keeps nothing.

# %% [markdown] lang="ko"
# ## 레이어는 메시지로 무엇을 할까
#
# 컨슈머는 자기 방에 `group_send`를 할 뿐이고, 그 뒤의 일은 모릅니다. 뒤의 일은 레이어에 달려 있습니다.
#
# | | `core` | `pubsub` | `memory` |
# |---|---|---|---|
# | 방에 누가 있는가 | Redis의 정렬 집합(sorted set), 소켓마다 한 줄 | 인스턴스는 자기 소켓을 알고, Redis는 어느 인스턴스가 듣는지 안다 | 인스턴스가 자기 소켓만 안다 |
# | 메시지 하나는 | 구성원이 있는 인스턴스마다 그 대기열에 쓰인다 | 한 번 발행된다 | 자기 소켓들의 대기열에 들어간다 |
# | 누가 가져가는가 | 인스턴스마다 하나씩 차례로 꺼내 간다 | 듣고 있는 인스턴스마다 Redis가 밀어 준다 | 다른 누구도 가져가지 않는다 |
# | 방이 인스턴스 3개에 걸쳐 있을 때 Redis 왕복 | 16번쯤 | 1번 | 없음 |
# | 기다릴 수 있는 양 | 인스턴스마다, 또 그 안의 소켓마다 `channel_capacity`개 | 메모리가 있는 만큼 | 소켓마다 `channel_capacity`개 |
#
# (16번은 channels_redis 4.3.0의 경우입니다. 보내는 데 4번, 인스턴스 3개가 저마다 가져가는 데 4번씩입니다.)
#
# 어떤 길로 왔든, 마지막에는 구성원마다 자기 사본을 받습니다. 메시지 하나는 방의 인원수만큼 전달을 만듭니다. 이것이
# [팬아웃(fan-out)](../../docs/glossary.md)입니다. 10명인 방에서 모두가 한마디씩 하면 전달은 100번입니다. 100명인 방에서는
# 10,000번입니다.
#
# 그리고 어느 레이어도 메시지가 어떻게 되었는지 보낸 쪽에 알려 주지 않습니다. Channels가 약속하는 것은 **최대 한 번(at most once)** 전달이고,
# 아무것도 보관하지 않습니다.

# %% [markdown] lang="en"
# ## Three layers under the same load
#
# Now all three, with the same clients in rooms of ten. And each of them a second time, while clients leave and others come, as
# they do in every chat.
#
# **Predict** what `core` needs, as a multiple of what `pubsub` needs: the CPU of the instances for each delivery, and the median
# time from sender to receiver. 1 is as much, 2 is twice as much.

# %% [markdown] lang="ko"
# ## 같은 부하, 세 가지 레이어
#
# 이제 같은 클라이언트를 열 명씩 방에 넣고 세 레이어를 모두 재 봅니다. 그리고 어느 채팅에서나 그렇듯이 사람들이 나가고 들어오는 동안
# 한 번씩 더 잽니다.
#
# `core`가 `pubsub`의 몇 배를 쓸지 **예측하세요**. 전달 하나에 드는 인스턴스의 CPU, 그리고 보낸 사람에서 받는 사람까지 걸리는 시간의
# 중앙값입니다. 1은 같다는 뜻, 2는 두 배라는 뜻입니다.

# %%
my_core = {"CPU, core": None, "latency, core": None}
lab.predict("core against pubsub", my_core)

# %%
runs = lab.experiment(channel_layers(quick=QUICK))
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# First: did the messages arrive? And of those whose rooms were changing all the time?

# %% [markdown] lang="ko"
# 먼저, 메시지는 도착했습니까? 방의 구성원이 계속 바뀌는 동안에는 어땠습니까?

# %%
plots.delivered_by_point(summary);

# %%
notebook.table(summary[["point", "deliveries", "lost", "lost_while_away", "left", "disconnects", "valid"]])

# %% [markdown] lang="en"
# How long did they take? The scale is logarithmic: equal steps are equal factors.

# %% [markdown] lang="ko"
# 얼마나 걸렸습니까? 눈금은 로그입니다. 간격이 같으면 배수가 같습니다.

# %%
plots.messages_latency_by_point(summary);

# %% [markdown] lang="en"
# And what did it cost? The CPU is divided by what *arrived*. **Look** at the layer in memory: it never asks Redis. Is it the
# cheapest?

# %% [markdown] lang="ko"
# 비용은 얼마였습니까? CPU를 *도착한* 전달의 수로 나눈 값입니다. 메모리 레이어를 **눈여겨보세요**. Redis에 한 번도 묻지 않습니다. 그래서
# 가장 쌉니까?

# %%
plots.daphne_cost_by_point(summary);

# %%
notebook.table(summary[["point", "cpu_s_daphne_per_1000_deliveries", "cpu_s_redis_per_1000_deliveries"]])

# %%
chosen = [run for run in runs if run.point in ("pubsub", "core", "memory")]
ratios = {}
for what, metric in (("CPU, core", "cpu_s_daphne_per_1000_deliveries"), ("latency, core", "latency_p50_s")):
    core = study.compare(chosen, metric, base="pubsub").set_index("point").loc["core"]
    ratios[what] = (core["estimate"], core["low"], core["high"])
lab.score("core against pubsub", ratios)

# %% [markdown] lang="en"
# ## What had to cross?
#
# Over how many instances was a room spread, and which share of the deliveries that arrived went from one instance to another?

# %% [markdown] lang="ko"
# ## 무엇이 건너가야 했을까
#
# 방 하나는 인스턴스 몇 개에 흩어져 있었고, 도착한 전달 가운데 한 인스턴스에서 다른 인스턴스로 건너간 비율은 얼마였습니까?

# %%
notebook.table(study.crossings(runs))

# %% [markdown] lang="en"
# Two lines of this table differ from the others. What would have to cross there, and where is it?
#
# If you have measured the full experiment (`fab experiment channel-layers`), its runs tell more: they have repeats, and so
# intervals, and five times as many clients as the quick ones. The CPU of the instances against `pubsub`; no bar means too few
# sound repeats.

# %% [markdown] lang="ko"
# 이 표의 두 줄은 다른 줄과 다릅니다. 거기서도 건너가야 했을 것은 무엇이고, 그것은 어디에 있습니까?
#
# 전체 실험(`fab experiment channel-layers`)을 측정해 두었다면 그 결과가 더 많은 것을 말해 줍니다. 반복이 있으니 신뢰 구간이 있고,
# 클라이언트도 짧은 실험의 다섯 배입니다. `pubsub`에 견준 인스턴스의 CPU입니다. 막대가 없으면 온전한 반복이 모자란 것입니다.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))
plots.comparison(study.compare(judged, "cpu_s_daphne_per_1000_deliveries", base="pubsub"));

# %% [markdown] lang="en"
# ## When a queue is full
#
# With `core` at most `channel_capacity` messages wait in Redis for an instance, 100 unless somebody sets it: for all its sockets
# and rooms together. That sounds like much. A chat of 1,000 people who each say something every 5 s makes 200 messages a second.
# Where rooms of ten are spread over all instances, each instance must fetch nearly all of them: 100 places are half a second.
#
# What does not fit is dropped. To see it with few clients, we make the queue small and the moment busy: 100 clients in one room,
# and 50 of them say something at once, a *burst* of 50 messages, which makes 5,000 deliveries. **What share of these arrives,
# with a capacity of 100 and with one of 5?**

# %% [markdown] lang="ko"
# ## 대기열이 가득 차면
#
# `core`에서는 Redis에서 한 인스턴스를 기다리는 메시지가 많아야 `channel_capacity`개이고, 따로 설정하지 않으면 100개입니다. 그 인스턴스의 모든 소켓과
# 모든 방을 합쳐서입니다. 많아 보입니다. 그런데 1,000명이 5초마다 한마디씩 하면 메시지는 초당 200개입니다. 열 명씩인 방이 모든 인스턴스에
# 흩어져 있으면 인스턴스마다 거의 모든 메시지를 가져가야 합니다. 100자리는 반 초 분량입니다.
#
# 자리가 없는 메시지는 버려집니다. 적은 클라이언트로 그것을 보려고 대기열을 줄이고 한순간을 바쁘게 만듭니다. 한 방에 클라이언트 100개가 있고
# 그중 50개가 동시에 한마디씩 합니다. 메시지 50개의 *버스트*이고, 전달로는 5,000번입니다. **용량이 100일 때와 5일 때, 그 가운데 도착하는
# 비율은 얼마일까요?**

# %%
my_burst = {"capacity 100": None, "capacity 5": None}  # shares: 1 is all
lab.predict("a burst", my_burst)

# %%
lab.set(channel_layer="core")

# %%
burst = {"clients": 100, "rooms": 1, "messages_per_s": 0.02, "burst_at_s": 2, "burst_messages": 50}
wide = lab.chat(point="capacity 100", duration_s=6, ramp_s=2, **burst)

# %%
lab.set(channel_capacity=5)
narrow = lab.chat(point="capacity 5", duration_s=6, ramp_s=2, **burst)

# %%
bursts = study.summarize([wide, narrow])
lab.score("a burst", dict(zip(bursts["point"], bursts["burst_delivered_share"])))

# %% [markdown] lang="en"
# From left to right the time since the burst began; upwards the share of its deliveries that had arrived by then.

# %% [markdown] lang="ko"
# 왼쪽에서 오른쪽으로는 버스트가 시작된 뒤의 시간이고, 위로는 그때까지 도착한 전달의 비율입니다.

# %%
crowdplots.burst_spread(study.messages([wide, narrow]));

# %% [markdown] lang="en"
# If 50 messages came in one moment and nobody fetched any meanwhile, 5 of them would stay: a share of 5/50 = 0.1. Yours differs
# from it by what the instances had time to fetch, or by what was dropped a second time, in front of single sockets. What is
# dropped in front of an instance is lost for all members that sit on it.
#
# Who was told? Here are the last lines that the instances wrote into their journal. Does one of them speak of a lost message?

# %% [markdown] lang="ko"
# 메시지 50개가 한순간에 오고 그동안 아무도 꺼내 가지 않는다면 5개가 남습니다. 비율로는 5/50 = 0.1입니다. 여러분의 값은 그사이 인스턴스가
# 꺼내 간 만큼, 또는 소켓 하나하나의 앞에서 한 번 더 버려진 만큼 다릅니다. 한 인스턴스의 대기열에서 버려진 메시지는 그 인스턴스의 모든
# 사람에게서 한꺼번에 사라집니다.
#
# 누가 알려 주었습니까? 인스턴스들이 저널에 마지막으로 쓴 줄입니다. 잃어버린 메시지를 말하는 줄이 있습니까?

# %%
lab.shell("journalctl -u 'daphne@*' -n 6 --no-pager -o cat")

# %% [markdown] lang="en"
# And the fan-out of what you measured by hand: messages, deliveries that were due, copies of each message.

# %% [markdown] lang="ko"
# 손으로 잰 측정들의 팬아웃입니다. 메시지 수, 이루어져야 했던 전달 수, 메시지 하나의 사본 수입니다.

# %%
rows = study.messages([alone, wide, narrow])
copies = rows[~rows["warmup"].astype(bool)].groupby(["point", "sender", "n"]).size()
fan_out = copies.groupby("point").agg(["size", "sum", "mean"])
names = {"size": "messages", "sum": "deliveries", "mean": "copies of each"}
notebook.table(fan_out.rename(columns=names).reset_index())

# %% [markdown] lang="en"
# ## What we have seen
#
# - The layer in memory ends where its process ends. Who tests alone hears oneself, and believes that it works.
# - A message makes as many deliveries as its room has members. The layer decides only how it gets to the instances.
# - `core` keeps a queue for each instance in Redis, of a limited length; `pubsub` publishes once and keeps no queue there. Which
#   of them cost less and delivered sooner on your machine, your plots say.
# - A full queue is silent. Delivery is *at most once*, so whoever wants to know must **count deliveries**, and what must not be
#   lost has to be kept (`chat_resume`, see `08_when_things_break`).
# - The less has to cross between instances, the less it matters which layer carries it. That is the subject of `07_balancing`.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# ## 정리
#
# - 메모리 레이어는 프로세스가 끝나는 곳에서 끝납니다. 혼자 시험하는 사람은 자기 말을 듣고 잘 된다고 믿습니다.
# - 메시지 하나는 방의 인원수만큼 전달을 만듭니다. 레이어가 정하는 것은 메시지가 인스턴스까지 가는 방법뿐입니다.
# - `core`는 Redis에 인스턴스마다 길이가 제한된 대기열을 두고, `pubsub`은 한 번 발행할 뿐 거기에 대기열을 두지 않습니다. 여러분의
#   컴퓨터에서 어느 쪽이 더 싸고 더 빨리 전달했는지는 여러분의 그림이 말해 줍니다.
# - 가득 찬 대기열은 말이 없습니다. 전달은 *최대 한 번*이므로, 알고 싶다면 **전달을 세어야** 하고, 잃으면 안 되는 것은 따로 보관해야
#   합니다(`chat_resume`, `08_when_things_break` 참고).
# - 인스턴스 사이를 건너갈 것이 적을수록 어느 레이어가 나르는지는 덜 중요합니다. 그것이 `07_balancing`의 주제입니다.
#
# 이제 설정을 처음 상태로 되돌립니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# Begin with `lab.reset()`, and end with `lab.end()`.
#
# 1. With `lab.set(channel_layer="memory")`, work out and then measure which share arrives in rooms of 2
#    (`lab.chat(clients=60, rooms=30, duration_s=10)`) and in a single room of 60 (`rooms=1`).
# 2. With `daphne_instances=1` nothing has to leave the process. Measure the layer in memory so. Which other processes of a
#    Django site might want to send something to a room, and would reach nobody?
# 3. Count what Redis is asked. `lab.shell("redis-cli config resetstat")`, then `lab.chat(clients=60, rooms=6, duration_s=10)`,
#    then `lab.shell("redis-cli info commandstats | cut -d, -f1")`; once with `pubsub` and once with `core`. Which counts go with
#    the messages?
# 4. Ask for `lab.set(channel_layer="pubsub", channel_capacity=5)`. What does the message tell you? Then put the burst on
#    `pubsub`: `lab.chat(duration_s=6, ramp_s=2, **burst)`. What limits it there?
#
# <details><summary>Answer 1</summary>
#
# In rooms of 2 there is the sender and 1 other: (1 + 1 × 19/59) / 2 = 0.66. In a room of 60 each message reaches the 20 sockets
# of the sender's instance: 20/60 = 0.33. The larger the room, the nearer it comes to one part in three, and the sooner somebody
# notices.
# </details>
#
# <details><summary>Answer 2</summary>
#
# A page that announces something runs in a uWSGI worker; a management command or a task queue runs in a process of its own.
# Each of them has a layer in memory too, its own, with nobody in it. They get no error either.
# </details>
#
# <details><summary>Answer 3</summary>
#
# With `pubsub` there is one `publish` for each message, and a `subscribe` for each room and socket of an instance. With `core`
# each message takes a `zrange` (who is in the room?), and on each instance that holds a member a `bzpopmin` and a `zpopmin`, with
# more around them. What is there in both cases is the presence count, which the instances write once a second, and what
# connecting takes.
# </details>
#
# <details><summary>Answer 4</summary>
#
# `pubsub` has no capacity, so the lab refuses a setting that would do nothing. The layer drops nothing: the queues in an
# instance grow as long as there is memory. The limit is Redis's own. In this lab it cuts off an instance that has more than
# 64 MB waiting for it, and what was waiting is lost. Whether a queue is bounded or not, somebody must be quick enough to
# empty it.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# `lab.reset()`으로 시작하고 `lab.end()`로 끝내세요.
#
# 1. `lab.set(channel_layer="memory")`에서 2명씩인 방(`lab.chat(clients=60, rooms=30, duration_s=10)`)과 60명이 모인 방 하나(`rooms=1`)에
#    전달이 얼마나 도착할지 계산하고, 그다음에 측정하세요.
# 2. `daphne_instances=1`이면 프로세스 밖으로 나갈 것이 없습니다. 그렇게 두고 메모리 레이어를 측정하세요. Django 사이트의 다른 어떤 프로세스가 방에 무언가를 보내고
#    싶어 하고, 보내도 아무에게도 닿지 않을까요?
# 3. Redis가 무슨 요청을 받는지 세어 보세요. `lab.shell("redis-cli config resetstat")`, 그다음 `lab.chat(clients=60, rooms=6, duration_s=10)`,
#    그다음 `lab.shell("redis-cli info commandstats | cut -d, -f1")`을 `pubsub`과 `core`에서 한 번씩 합니다. 메시지 수를 따라가는 것은 무엇입니까?
# 4. `lab.set(channel_layer="pubsub", channel_capacity=5)`를 요청하세요. 오류 메시지는 무엇을 알려 줍니까? 그리고 `pubsub`에 같은
#    버스트를 걸어 보세요. `lab.chat(duration_s=6, ramp_s=2, **burst)`입니다. 거기서는 무엇이 한계입니까?
#
# <details><summary>답 1</summary>
#
# 2명인 방에는 보낸 사람과 다른 1명이 있습니다. (1 + 1 × 19/59) / 2 = 0.66. 60명인 방에서는 메시지마다 보낸 사람의 인스턴스에 있는 소켓
# 20개에 닿습니다. 20/60 = 0.33. 방이 클수록 셋 중 하나에 가까워지고, 누군가 더 빨리 알아챕니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 무언가를 알리는 페이지는 uWSGI 워커에서 돌고, 관리 명령이나 작업 큐는 별도의 프로세스에서 돕니다. 이들도 저마다 메모리 레이어를
# 갖지만 자기만의 것이고, 그 안에는 아무도 없습니다. 오류도 나지 않습니다.
# </details>
#
# <details><summary>답 3</summary>
#
# `pubsub`에서는 메시지마다 `publish`가 한 번이고, 인스턴스의 방과 소켓마다 `subscribe`가 한 번입니다. `core`에서는 메시지마다 `zrange`(방에 누가
# 있는가?)가 한 번, 구성원이 있는 인스턴스마다 `bzpopmin`과 `zpopmin`이 한 번씩이고, 그 둘레에 다른 명령이 더 있습니다.
# 두 경우에 다 있는 것은 인스턴스들이 매초 적는 접속자 수와, 접속하는 데 드는 명령입니다.
# </details>
#
# <details><summary>답 4</summary>
#
# `pubsub`에는 용량이라는 것이 없어서, 아무 일도 하지 않을 설정을 랩이 거절합니다. 레이어는 아무것도 버리지 않고, 인스턴스 안의 대기열은
# 메모리가 있는 한 커집니다. 한계는 Redis 자신에게 있습니다. 이 랩의 Redis는 보낼 것이 64 MB 넘게 밀린 인스턴스를 끊고, 밀려 있던 것은
# 사라집니다. 대기열에 한도가 있든 없든, 누군가는 충분히 빨리 비워야 합니다.
# </details>
