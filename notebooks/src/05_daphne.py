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
# # Chat and Daphne: one against three
#
# A page is asked for, answered, and forgotten. A chat keeps a connection open for every person in it, a *WebSocket*,
# and Daphne is the server that holds them. Daphne is **one process on one core**. So an engineer who published how a Django site was made to carry heavy traffic advised:
# run three of them behind nginx, and they will need **less CPU and less memory** than one.
#
# Is that so?

# %% [markdown] lang="ko"
# # 채팅과 Daphne: 하나 대 셋
#
# 페이지는 요청을 받고 응답하면 잊힙니다. 채팅은 들어와 있는 사람마다 연결을 하나씩 열어 둡니다. 이 연결이 *WebSocket*이고,
# 그것을 붙들고 있는 서버가 Daphne입니다. Daphne는 **코어 하나에서 도는 프로세스 하나**입니다. 그래서 Django 사이트의 확장 경험을 글로 공개한 한 엔지니어는 이렇게
# 조언했습니다. nginx 뒤에 Daphne 셋을 두면 하나일 때보다 **CPU도 메모리도 덜** 쓴다는 것입니다.
#
# 정말 그럴까요?

# %%
import matplotlib.pyplot as plt
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.bench import one_vs_three
from stacklab.study import plots

lab = lesson.begin("05_daphne", "en", chats=True)

# %% tags=["parameters"]
# True: a fifth of the clients, ten seconds, one repeat. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Have a chat first
#
# Open the address below in two windows and choose the same room. Your browser does not know this lab's certificate
# authority; `fab ca` writes its certificate and says how to trust it. Each window tells which instance serves it.
# Are they the same? Close one window, open it again: and now?

# %% [markdown] lang="ko"
# ## 먼저 채팅을 해 보세요
#
# 아래 주소를 창 두 개에서 열고 같은 방을 고르세요. 브라우저는 이 랩의 인증 기관(CA)을 모릅니다. `fab ca`를 실행하면
# 인증 기관의 인증서를 파일로 저장하고, 그것을 신뢰하게 하는 방법을 알려 줍니다. 창마다 어느 인스턴스가 맡고 있는지 나옵니다.
# 둘은 같은 인스턴스인가요? 창 하나를 닫았다가 다시 열어 보세요. 이번에는 어떤가요?

# %%
lab.say_where_to_chat()
lab.diagram();

# %% [markdown] lang="en"
# ## What is measured
#
# Thirty clients in three rooms chat for ten seconds. Every message is numbered. Each member of the room,
# the sender too, should receive it exactly once, and for each of them one row is written.

# %% [markdown] lang="ko"
# ## 무엇을 측정하나요?
#
# 클라이언트 서른 명이 방 세 개에서 십 초 동안 채팅을 합니다. 메시지에는 모두 번호가 붙어 있습니다. 방에 있는 사람은 보낸 사람까지
# 누구나 메시지를 정확히 한 번씩 받아야 하고, 받을 사람마다 행이 하나씩 기록됩니다.

# %%
first = lab.chat(clients=30, rooms=3, messages_per_s=0.5, duration_s=10, ramp_s=2)

# %%
rows = study.messages([first])
notebook.table(rows[["room", "sender", "receiver", "latency_s", "copies", "via", "instance"]].head(6))

# %% [markdown] lang="en"
# `via` is the instance that took the message from its sender, `instance` the one that handed it to the receiver.
# Where they differ, the message went from one process to another, by way of Redis.
#
# The engineer's own check was another one: do all three access logs grow? So let us look.

# %% [markdown] lang="ko"
# `via`는 보낸 쪽에서 메시지를 받은 인스턴스이고, `instance`는 그것을 받는 쪽에 넘겨준 인스턴스입니다.
# 둘이 다르면 메시지가 Redis를 거쳐 한 프로세스에서 다른 프로세스로 건너간 것입니다.
#
# 그 엔지니어는 다른 방법으로 확인했습니다. 접근 로그 세 개가 모두 늘어나는지를 본 것입니다. 우리도 봅시다.

# %%
lab.shell("for log in /var/log/daphne/daphne[123].log; do echo $log; tail -n 2 $log; done")

# %% [markdown] lang="en"
# It shows that the *sockets* were spread. Does it show that the *work* became less? That needs a measurement.
#
# ## Question
#
# The same clients, the same rooms, the same messages. Once with one Daphne, once with three that nginx fills in turn
# (*round robin*), once with three where everybody in a room meets the same instance (*hash*).
# **How much CPU and memory do three need, compared with one? And who delivers faster?**
#
# ## Your prediction
#
# As multiples of what one instance needs: 0.5 is half, 2 is twice.

# %% [markdown] lang="ko"
# 이 로그는 *소켓*이 나뉘었음을 보여 줍니다. *일*이 줄었다는 것도 보여 주나요? 그것을 알려면 측정이 필요합니다.
#
# ## 질문
#
# 클라이언트도, 방도, 메시지도 같습니다. 한 번은 Daphne 하나로, 한 번은 nginx가 차례대로 채우는 셋으로(*round robin*),
# 한 번은 같은 방 참가자가 모두 같은 인스턴스를 만나는 셋으로(*hash*) 측정합니다.
# **셋은 하나에 비해 CPU와 메모리를 얼마나 쓸까요? 그리고 어느 쪽이 더 빨리 전달할까요?**
#
# ## 예측
#
# 인스턴스 하나가 쓰는 양의 몇 배인지를 적으세요. 0.5는 절반, 2는 두 배입니다.

# %%
my_prediction = {"CPU, round robin": None, "CPU, hash": None, "memory, round robin": None, "memory, hash": None}
lab.predict("three against one", my_prediction)

# %% [markdown] lang="en"
# ## Measure

# %% [markdown] lang="ko"
# ## 측정

# %%
runs = lab.experiment(one_vs_three(quick=QUICK))
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## First: did the messages arrive?
#
# With web pages we counted errors. With chat there is no error to count: a message that is lost is simply not there.
# That is why they were numbered.

# %% [markdown] lang="ko"
# ## 먼저: 메시지가 도착했나요?
#
# 웹 페이지에서는 오류를 셌습니다. 채팅에는 셀 수 있는 오류가 없습니다. 사라진 메시지는 그저 오지 않을 뿐입니다.
# 번호를 붙인 이유이 여기에 있습니다.

# %%
plots.delivered_by_point(summary);

# %%
notebook.table(summary[["point", "deliveries", "lost", "duplicated", "out_of_order", "disconnects", "valid"]])

# %% [markdown] lang="en"
# ## How long did they take?
#
# From the moment a sender sends to the moment a receiver has it. The scale is logarithmic: equal steps are equal factors.

# %% [markdown] lang="ko"
# ## 얼마나 걸렸나요?
#
# 보내는 쪽이 보낸 순간부터 받는 쪽이 받은 순간까지입니다. 로그 눈금이므로, 같은 간격은 같은 배율을 뜻합니다.

# %%
plots.messages_latency_by_point(summary);

# %% [markdown] lang="en"
# ## What did it cost?

# %% [markdown] lang="ko"
# ## 비용은 얼마나 들었나요?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(14, 4), layout="constrained")
plots.daphne_cost_by_point(summary, left)
plots.daphne_cost_by_point(summary, right, metric="pss_peak_bytes_daphne");

# %% [markdown] lang="en"
# As multiples of what one instance needed, to set beside your prediction:

# %% [markdown] lang="ko"
# 인스턴스 하나가 쓴 양의 몇 배인지로 나타냈습니다. 여러분의 예측과 견주어 보세요.

# %%
smallest = min(run.workload.clients for run in runs)
chosen = [run for run in runs if run.workload.clients == smallest]
effects = [study.compare(chosen, metric) for metric in ("cpu_s_daphne_per_1000_deliveries", "pss_peak_bytes_daphne")]
ratios = pd.concat(effects, keys=["CPU", "memory"], names=["of"]).reset_index("of")
found = {
    f"{row.of}, {'hash' if 'hash' in row.point else 'round robin'}": (row.estimate, row.low, row.high)
    for row in ratios.itertuples()
}
lab.score("three against one", found)

# %% [markdown] lang="en"
# ## Why?
#
# A message to a room must reach every instance that holds a member of the room. Count, for each case, on how many
# instances a room's members are, and what share of the deliveries went from one instance to another:

# %% [markdown] lang="ko"
# ## 왜 그럴까요?
#
# 방에 보낸 메시지는 그 방 참가자를 맡은 인스턴스 모두에 닿아야 합니다. 경우마다 한 방 참가자들이 인스턴스 몇 개에 나뉘어 있는지,
# 전달 가운데 얼마가 한 인스턴스에서 다른 인스턴스로 건너갔는지 세어 봅시다.

# %%
notebook.table(study.crossings(runs))

# %% [markdown] lang="en"
# A message goes to Redis in any case; each instance that holds a member of its room fetches it from there. What that comes
# to, the ratios above say. And three processes each carry Python, Django and Twisted in memory before the first client has come.
#
# ## The verdict
#
# If you have measured the full experiment (`fab experiment one-vs-three`), we use its runs. Otherwise those from above.

# %% [markdown] lang="ko"
# 메시지는 어느 경우에나 Redis로 갑니다. 그리고 그 방 참가자를 맡은 인스턴스마다 거기서 메시지를 가져옵니다. 그 비용이 얼마나 되는지는
# 위의 배율이 말해 줍니다. 또 프로세스 세 개는 첫 클라이언트가 오기도 전에 저마다 Python, Django, Twisted를 메모리에 올려 둡니다.
#
# ## 판정
#
# 전체 크기의 실험(`fab experiment one-vs-three`)을 측정해 두었다면 그 측정을 씁니다. 그렇지 않으면 위에서 한 측정을 씁니다.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))

# %%
lab.conclude("C9", judged)

# %% [markdown] lang="en"
# ## What we have seen
#
# - A socket is not a request. It stays where it was put, and what it costs depends on who else sits there.
# - "The messages show up in all three logs" proves that sockets are spread. It proves nothing about cost.
# - Delivery must be *counted*: number the messages, and ask every receiver.
# - What three instances cost and bring depends on **who shares an instance with whom**. Compare *round robin* with *hash*
#   above. That is what `07_balancing` is about.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# ## 정리
#
# - 소켓은 요청이 아닙니다. 소켓은 처음 놓인 자리에 머물고, 그 비용은 그 자리에 또 누가 있는지에 따라 달라집니다.
# - "메시지가 세 로그에 모두 나타난다"는 것은 소켓이 나뉘었음을 증명합니다. 비용에 대해서는 아무것도 증명하지 못합니다.
# - 전달은 *세어야* 합니다. 메시지에 번호를 붙이고, 받는 쪽 모두에게 물어보세요.
# - 인스턴스 셋에 비용이 얼마나 들고 얻는 것이 무엇인지는 **누가 누구와 같은 인스턴스에 있는지**에 달려 있습니다. 위에서 *round robin*과
#   *hash*를 비교해 보세요. 그것이 `07_balancing`의 주제입니다.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# 1. The classic mistake: `lab.set(channel_layer="memory")`, with three instances. Predict what share of the
#    deliveries arrives, then run `lab.chat(clients=60, rooms=6, duration_s=10)`.
# 2. Is it better with `balance="hash"` as well? Why would you still not do it?
# 3. `fab experiment instances` measures 1, 2, 3, 4, 6 and 8 instances (`--quick`: 1, 2, 4). On your machine, where does
#    one more instance stop helping? How many cores does the web host have?
# 4. When *are* several instances the right way (claim C8)? Look at the CPU of a single Daphne while you raise the clients.
#
# <details><summary>Answer 1</summary>
#
# The in-memory layer lives inside one process. A message reaches only those members of the room who sit on the sender's
# own instance: the sender itself, always, and with three instances filled in turn about one in three of the others. In a room of
# ten that is some four deliveries in ten; for somebody who tests alone it is all, which is why the mistake is so easily overlooked.
# </details>
#
# <details><summary>Answer 2</summary>
#
# With hash all members of a room meet one instance, so all messages arrive, for now. Stop one instance, or add one, and rooms
# move while some sockets stay. Then they are split, and nothing tells you.
# </details>
#
# <details><summary>Answer 3</summary>
#
# Instances beyond the number of cores take turns on them. They add memory, and a little work for switching. What your machine
# does, the plot of the experiment's report says.
# </details>
#
# <details><summary>Answer 4</summary>
#
# When one Daphne fills its core and there is another core for a second one. Before that, a second instance brings safety (one may
# fail, see `08_when_things_break`); whether it brings speed too is claim C8, which `fab experiment one-process` measures.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# 1. 흔히 하는 실수입니다. 인스턴스가 셋일 때 `lab.set(channel_layer="memory")`를 실행합니다. 전달 가운데 얼마나 도착할지
#    예측한 다음 `lab.chat(clients=60, rooms=6, duration_s=10)`을 실행하세요.
# 2. 여기에 `balance="hash"`까지 함께 쓰면 나아지나요? 그래도 이렇게 하지 않을 이유은 무엇인가요?
# 3. `fab experiment instances`는 인스턴스가 1, 2, 3, 4, 6, 8개일 때를 측정합니다(`--quick`이면 1, 2, 4개). 여러분의 컴퓨터에서는
#    어디부터 인스턴스를 하나 더 늘려도 도움이 되지 않나요? 웹 호스트의 코어는 몇 개인가요?
# 4. 그렇다면 여러 인스턴스가 *알맞은* 때는 언제인가요(주장 C8)? 클라이언트를 늘려 가면서 Daphne 하나의 CPU를 보세요.
#
# <details><summary>답 1</summary>
#
# 인메모리 레이어는 한 프로세스 안에만 존재합니다. 그래서 메시지는 보낸 사람과 같은 인스턴스에 있는 방 참가자에게만 닿습니다. 보낸 사람
# 자신은 언제나 받고, 인스턴스 셋을 차례대로 채웠다면 나머지 사람은 셋 중 하나꼴로 받습니다. 열 명이 있는 방이라면 전달 열 번 가운데
# 네 번쯤입니다. 혼자 시험해 보는 사람에게는 모두 도착합니다. 이 실수를 그토록 쉽게 지나치는 이유입니다.
# </details>
#
# <details><summary>답 2</summary>
#
# hash를 쓰면 한 방 참가자가 모두 한 인스턴스를 만나므로, 당장은 메시지가 모두 도착합니다. 인스턴스 하나를 멈추거나 하나를 더하면
# 방은 옮겨 가는데 일부 소켓은 그 자리에 남습니다. 그러면 방이 둘로 갈라지고, 아무도 그것을 알려 주지 않습니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 코어 수보다 많은 인스턴스는 코어를 번갈아 씁니다. 메모리가 더 들고, 전환하느라 일도 조금 늘어납니다. 여러분의 컴퓨터에서 어떤지는
# 실험 보고서의 그림에 나와 있습니다.
# </details>
#
# <details><summary>답 4</summary>
#
# Daphne 하나가 코어 하나를 꽉 채우고, 두 번째 Daphne가 쓸 코어가 하나 더 있을 때입니다. 그 전에는 두 번째 인스턴스가 안전을
# 더해 줍니다(하나가 죽어도 됩니다. `08_when_things_break`를 보세요). 속도까지 더해 주는지는 주장 C8이며, `fab experiment one-process`가 측정합니다.
# </details>
