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
# # Failover: when an instance dies
#
# Three instances share the sockets. One of them is killed, without a warning: `kill -9`, as the kernel does when
# memory runs out. Its clients see their connection break and connect again, with a little patience between attempts.

# %% [markdown] lang="ko"
# # 장애 조치(failover): 인스턴스가 죽을 때
#
# 인스턴스 셋이 소켓을 나누어 맡고 있습니다. 그중 하나를 예고 없이 죽입니다. 메모리가 바닥났을 때 커널이 하듯이 `kill -9`로 죽입니다.
# 그 인스턴스의 클라이언트들은 연결이 끊어지는 것을 보고, 시도할 때마다 조금씩 기다려 가며 다시 연결합니다.

# %%
import pandas as pd

from stacklab import lesson, notebook, study
from stacklab.bench import failover, scaling
from stacklab.study import plots

lab = lesson.begin("08_when_things_break", "en", chats=True)

# %% tags=["parameters"]
# True: a fifth of the clients, 15 or 20 seconds, one repeat. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# **How long are the clients of the dead instance away? How many messages are lost, and for whom?
# What do the clients of the other two feel?**
#
# A message can be lost in two ways. The receiver was *away* when it was sent; or the receiver was *there* all the time,
# and it was lost all the same, on the way through the instance that died. We count them apart.
#
# ## Your prediction

# %% [markdown] lang="ko"
# ## 질문
#
# **죽은 인스턴스의 클라이언트는 얼마나 오래 끊겨 있을까요? 메시지는 몇 개나, 누구에게서 사라질까요?
# 나머지 두 인스턴스의 클라이언트는 무엇을 느낄까요?**
#
# 메시지가 사라지는 길은 두 가지입니다. 보낼 때 받는 쪽이 *없었거나*, 받는 쪽은 내내 *있었는데도* 죽은 인스턴스를 지나가던
# 길에 사라진 것입니다. 우리는 둘을 따로 셉니다.
#
# ## 예측

# %%
my_prediction = {"seconds away": None, "lost, receiver away": None, "lost, receiver there": None}
lab.predict("a death", my_prediction)

# %% [markdown] lang="en"
# ## One death by hand
#
# Before the measurement, look at it once. We kill an instance and ask systemd what became of it.

# %% [markdown] lang="ko"
# ## 손으로 한번 죽여 보기
#
# 측정하기 전에 한번 눈으로 봅시다. 인스턴스 하나를 죽이고, 어떻게 되었는지 systemd에 물어봅니다.

# %%
look = "systemctl show daphne@2 --property=MainPID,NRestarts,ActiveState"
lab.shell(look)

# %%
lab.shell("systemctl kill --signal=KILL daphne@2")
lab.shell(f"sleep 5; {look}; journalctl -u daphne@2 -n 6 --no-pager -o cat")

# %% [markdown] lang="en"
# Compare the pid and the number of restarts. Who started it again?
#
# ## Measure
#
# Now under load. With `chat_resume` the rooms' history is kept in Redis, and a client that comes back asks for what it missed.

# %% [markdown] lang="ko"
# pid와 재시작 횟수를 비교해 보세요. 누가 다시 시작했나요?
#
# ## 측정
#
# 이제 부하를 걸고 해 봅니다. `chat_resume`을 켜면 방의 대화 기록이 Redis에 남고, 돌아온 클라이언트는 놓친 메시지를 요청합니다.

# %%
runs = lab.experiment(failover(quick=QUICK))
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## The course of one death
#
# The areas are clients connected to each instance. The bars, if there are any, are deliveries lost in each second (scale on
# the right). The dashed line is the kill. Find the hole, and find where its clients went.

# %% [markdown] lang="ko"
# ## 인스턴스 하나가 죽는 과정
#
# 면적은 각 인스턴스에 연결된 클라이언트 수입니다. 막대가 있다면 그것은 초마다 사라진 전달의 수입니다(눈금은 오른쪽).
# 파선은 인스턴스를 죽인 순간입니다. 움푹 파인 곳을 찾고, 그 클라이언트들이 어디로 갔는지 찾아보세요.

# %%
first = next(run for run in runs if run.point == "hash")
plots.failover_timeline(study.connections([first]), study.messages([first]), events=study.events([first]));

# %% [markdown] lang="en"
# The same, with `chat_resume`, if the chat has it (the lab's own does):

# %% [markdown] lang="ko"
# 이번에는 같은 일을 `chat_resume`을 켜고 한 것입니다. 채팅에 그 기능이 있을 때만 나옵니다(랩의 채팅에는 있습니다).

# %%
for second in (run for run in runs if run.point == "hash, chat_resume"):
    plots.failover_timeline(study.connections([second]), study.messages([second]), events=study.events([second]))

# %% [markdown] lang="en"
# ## In numbers
#
# *Away* counts from the end of a socket to the moment its client is connected again.

# %% [markdown] lang="ko"
# ## 숫자로 보기
#
# *끊겨 있던* 시간(away)은 소켓이 끝난 때부터 그 클라이언트가 다시 연결될 때까지입니다.

# %%
columns = ["point", "disconnects", "away_p50_s", "away_max_s", "deliveries", "lost", "lost_while_away", "valid"]
notebook.table(summary[columns])

# %% [markdown] lang="en"
# Your prediction beside the case `hash`, without `chat_resume`, in the mean of its repeats:

# %% [markdown] lang="ko"
# 여러분의 예측을 `chat_resume` 없는 `hash` 경우와 견주어 봅시다. 반복 측정의 평균입니다.

# %%
stock = summary[summary["point"] == "hash"]
asked = {"seconds away": "away_max_s", "lost, receiver away": "lost_while_away", "lost, receiver there": "lost"}
lab.score("a death", {what: stock[column].mean() for what, column in asked.items()})

# %% [markdown] lang="en"
# ## What do the others feel?
#
# The clients who never sat on the killed instance, before the kill and in the five seconds after it:

# %% [markdown] lang="ko"
# ## 다른 클라이언트는 무엇을 느끼나요?
#
# 죽은 인스턴스에 한 번도 있지 않았던 클라이언트들입니다. 죽이기 전과 죽인 뒤 오 초 동안을 비교합니다.

# %%
killed_s = study.events([first])["t_s"].iloc[0]
rows = study.messages([first])
hit = rows.loc[rows["instance"] == "daphne@2", "receiver"]
others = rows[~rows["receiver"].isin(hit)]
when = pd.cut(others["t_s"], [0, killed_s, killed_s + 5], labels=["before", "five seconds after"]).rename("when")
latency = others.groupby(when, observed=True)["latency_s"].agg(latency_p50_s="median", latency_max_s="max")
notebook.table(latency.reset_index())

# %% [markdown] lang="en"
# ## Going on purpose
#
# An instance that is *told* to stop need not behave better than one that is killed: Daphne drops its sockets in either case,
# and their clients cannot tell the one from the other. With `daphne_drain_s` it takes no new sockets, gives the open ones some
# seconds, tells their clients to come again (close code 1012), and goes. Here one instance becomes three under load, and then
# one again. **Predict:** in which case is more lost?

# %% [markdown] lang="ko"
# ## 일부러 멈출 때
#
# 멈추라는 *지시를 받은* 인스턴스라고 해서 강제로 죽은 인스턴스보다 꼭 나은 것은 아닙니다. Daphne는 어느 쪽이든 소켓을 그냥 끊어 버리고,
# 클라이언트는 둘을 구별하지 못합니다. `daphne_drain_s`를 쓰면 인스턴스가 새 소켓은 받지 않고, 열린 소켓에는 몇 초를 더 주고,
# 클라이언트에게 다시 오라고 알린 다음(종료 코드 1012) 물러납니다. 여기서는 부하가 걸린 채로 인스턴스 하나가 셋이 되었다가
# 다시 하나가 됩니다. **예측해 보세요.** 어느 경우에 더 많이 사라질까요?

# %%
scaled = lab.experiment(scaling(quick=QUICK))

# %%
first = next(run for run in scaled if run.point == "as it is")
plots.failover_timeline(study.connections([first]), study.messages([first]), events=study.events([first]));

# %%
summary = study.in_order(study.summarize(scaled))
notebook.table(summary[columns])

# %% [markdown] lang="en"
# ## What we have seen
#
# - Somebody must start a dead instance again (systemd), somebody must stop sending clients to it (nginx), and the clients
#   must come back by themselves. Which of the three did your clients wait for?
# - Channels delivers a message **at most once**. What was sent while you were away is gone, unless somebody keeps it.
#   `chat_resume` keeps it; compare `lost` and `lost_while_away` in the tables.
# - "Lost" is not one number. *Receiver there* (`lost`) and *receiver away* (`lost_while_away`) have different causes and
#   different cures.
# - Is stopping on purpose better than dying? Compare `away_max_s` and the losses of the cases, and think of what a client is told.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# ## 정리
#
# - 누군가는 죽은 인스턴스를 다시 시작해야 하고(systemd), 누군가는 그리로 클라이언트를 보내지 말아야 하고(nginx), 클라이언트는
#   스스로 돌아와야 합니다. 여러분의 클라이언트는 셋 가운데 무엇을 기다렸나요?
# - Channels는 메시지를 **많아야 한 번**(at most once) 전달합니다. 끊겨 있는 동안 보낸 메시지는 누군가 보관해 두지 않으면 사라집니다.
#   `chat_resume`은 그것을 보관합니다. 표에서 `lost`와 `lost_while_away`를 비교해 보세요.
# - "사라짐"은 숫자 하나가 아닙니다. *받는 쪽이 있었던 것*(`lost`)과 *받는 쪽이 없었던 것*(`lost_while_away`)은 원인도 다르고
#   처방도 다릅니다.
# - 일부러 멈추는 것이 죽는 것보다 나은가요? 경우마다 `away_max_s`와 사라진 수를 비교하고, 클라이언트가 어떤 말을 듣는지 생각해 보세요.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# 1. `fab experiment failover` at full size also kills an instance under `round_robin`. Where do the clients go then,
#    and who loses messages: one room, or every room?
# 2. nginx passes over an instance for `balance_fail_timeout_s` after `balance_max_fails` failures. Does it matter whether
#    that is 1 or 30 seconds? An experiment sets its own settings, so `lab.set` does not help. Where would you change them?
# 3. What does `chat_resume` cost? Compare `cpu_s_redis` and `latency_p95_s` of the two cases, with several repeats.
# 4. Look into the journal of the instance that you killed by hand (`fab logs daphne@2`). What does systemd say of its death?
#
# <details><summary>Answer 1</summary>
#
# With round robin every room has members on every instance, so each room loses a third of its members for a moment. With hash
# some rooms lose all of theirs and the others nobody.
# </details>
#
# <details><summary>Answer 2</summary>
#
# An experiment is a list of points, and a point is settings, a load and events; `stacklab/bench/experiments.py` shows how
# `failover` is made. In a cell of your own, import `Event`, `Experiment` and `Point` (from `stacklab.bench`), make an
# `Experiment` with a name of its own and your two points, and give it to `lab.experiment`.
# </details>
#
# <details><summary>Answer 3</summary>
#
# Each message is also written to a stream in Redis. Whether that can be told from luck, only repeats can say:
# `failover(quick=True, repeats=3)`.
# </details>
#
# <details><summary>Answer 4</summary>
#
# That the main process was killed by signal 9, that the unit failed, and that a restart was scheduled.
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# 1. `fab experiment failover`를 전체 크기로 실행하면 `round_robin`에서도 인스턴스를 죽입니다. 이때 클라이언트는 어디로 가고,
#    메시지를 잃는 것은 누구인가요? 한 방인가요, 모든 방인가요?
# 2. nginx는 `balance_max_fails`번 실패한 인스턴스를 `balance_fail_timeout_s`초 동안 건너뜁니다. 그 값이 1초인지
#    30초인지가 중요한가요? 실험은 자기 설정을 따로 가지고 있으므로 `lab.set`으로는 안 됩니다. 어디에서 바꾸면 될까요?
# 3. `chat_resume`의 비용은 얼마인가요? 여러 번 반복해서 두 경우의 `cpu_s_redis`와 `latency_p95_s`를 비교하세요.
# 4. 손으로 죽인 인스턴스의 저널을 들여다보세요(`fab logs daphne@2`). systemd는 그 죽음을 무엇이라고 말하나요?
#
# <details><summary>답 1</summary>
#
# round robin에서는 어느 방이나 모든 인스턴스에 사람이 있습니다. 그래서 방마다 사람의 삼분의 일을 잠시 잃습니다. hash에서는
# 어떤 방은 모두를 잃고, 다른 방은 아무도 잃지 않습니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 실험은 측정점(point)들의 목록이고, 측정점 하나는 설정과 부하와 이벤트입니다. `failover`가 어떻게 만들어지는지는 `stacklab/bench/experiments.py`에
# 나와 있습니다. 셀을 하나 만들어 `stacklab.bench`에서 `Event`, `Experiment`, `Point`를 가져오고, 고유한 이름과 여러분의 측정점 두 개로
# `Experiment`를 만들어 `lab.experiment`에 넘기세요.
# </details>
#
# <details><summary>답 3</summary>
#
# 메시지마다 Redis의 스트림에도 기록합니다. 그 비용이 우연과 구별되는지는 반복만이 말해 줄 수 있습니다.
# `failover(quick=True, repeats=3)`입니다.
# </details>
#
# <details><summary>답 4</summary>
#
# 주 프로세스가 시그널 9로 죽었고, 유닛이 실패했으며, 재시작이 예약되었다고 말합니다.
# </details>
