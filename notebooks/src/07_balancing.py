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
# # Balancing: who sits with whom
#
# nginx decides which Daphne a new WebSocket meets. It knows several ways:
#
# | method | nginx gives a new socket to … |
# |---|---|
# | `round_robin` | the next instance in turn |
# | `least_conn` | the one that holds the fewest sockets |
# | `ip_hash` | the one that the client's network (the first three numbers of its address) always gets |
# | `hash` | the one that this *room* always gets |
# | `random_two` | the less busy of two that it draws |

# %% [markdown] lang="ko"
# # 부하 분산: 누가 누구와 함께 있는가
#
# 새 WebSocket이 어느 Daphne를 만날지는 nginx가 정합니다. nginx가 아는 방법은 여러 가지입니다.
#
# | 방법 | nginx가 새 소켓을 맡기는 인스턴스 |
# |---|---|
# | `round_robin` | 차례가 된 인스턴스 |
# | `least_conn` | 소켓을 가장 적게 맡고 있는 인스턴스 |
# | `ip_hash` | 클라이언트의 네트워크(주소의 앞쪽 숫자 세 개)가 언제나 배정받는 인스턴스 |
# | `hash` | 그 *방*이 언제나 배정받는 인스턴스 |
# | `random_two` | 무작위로 뽑은 둘 가운데 덜 바쁜 인스턴스 |

# %%
import matplotlib.pyplot as plt

from stacklab import lesson, notebook, study
from stacklab.bench import balancing
from stacklab.study import plots

lab = lesson.begin("07_balancing", "en", chats=True)

# %% tags=["parameters"]
# True: a fifth of the clients, ten seconds, one repeat. False, or STACKLAB_FULL=1 in the environment: full size.
QUICK = notebook.quick_mode()

# %% [markdown] lang="en"
# ## Question
#
# **Which method spreads the sockets most evenly? And is that the one that delivers fastest and cheapest?**
#
# One more case is in the plan: `ip_hash`, when all clients come from one network, as a class behind one router does.
#
# ## Your prediction

# %% [markdown] lang="ko"
# ## 질문
#
# **어느 방법이 소켓을 가장 고르게 나눌까요? 그리고 가장 빠르고 가장 싸게 전달하는 것도 그 방법일까요?**
#
# 계획에는 한 가지 경우가 더 있습니다. 공유기 하나 뒤에 있는 학급처럼 모든 클라이언트가 한 네트워크에서 올 때의 `ip_hash`입니다.
#
# ## 예측

# %%
my_prediction = {"most even": None, "fastest": None, "least CPU": None}  # names from the table above
lab.predict("balancing", my_prediction, choices=["round_robin", "least_conn", "ip_hash", "hash", "random_two"])

# %% [markdown] lang="en"
# ## The change
#
# A method is one line of nginx's configuration. Here is the change to `hash` and what nginx does with it:

# %% [markdown] lang="ko"
# ## 변경
#
# 분산 방법은 nginx 설정 파일의 한 줄입니다. 여기서는 `hash`로 바꾸고, nginx가 그것을 어떻게 받아들이는지 봅니다.

# %%
lab.set(balance="hash")

# %% [markdown] lang="en"
# Did any Daphne restart? Who took the change up? Sockets that are open now stay where they are: only *new* ones meet
# the new method.
#
# ## Measure
#
# The clients come from many networks (each a `/24`, as far as this lab has them), so that `ip_hash` has something to tell apart.

# %% [markdown] lang="ko"
# 다시 시작된 Daphne가 있나요? 변경을 받아들인 것은 누구인가요? 지금 열려 있는 소켓은 그 자리에 머뭅니다. *새* 소켓만
# 새 방법을 만납니다.
#
# ## 측정
#
# 클라이언트는 여러 네트워크에서 옵니다(이 랩이 가진 주소가 허락하는 만큼, 각각 하나의 `/24`입니다). 그래야 `ip_hash`가 구별할 것이 생깁니다.

# %%
runs = lab.experiment(balancing(quick=QUICK))
summary = study.in_order(study.summarize(runs))

# %% [markdown] lang="en"
# ## Who met whom?
#
# The share of the sockets that each instance was given. This is what the instances' access logs would show.

# %% [markdown] lang="ko"
# ## 누가 누구를 만났나요?
#
# 인스턴스마다 맡게 된 소켓의 비율입니다. 인스턴스들의 접근 로그를 보아도 이렇게 나올 것입니다.

# %%
plots.access_log_share(study.connections(runs));

# %% [markdown] lang="en"
# *Even* would be a third each. How near does each method come? Which instances met nobody?

# %% [markdown] lang="ko"
# *고르게* 나누었다면 삼분의 일씩입니다. 각 방법은 거기에 얼마나 가까운가요? 아무도 만나지 못한 인스턴스는 어느 것인가요?

# %%
notebook.table(summary[["point", "clients_connected", "busiest_share", "instances_silent", "disconnects", "valid"]])

# %% [markdown] lang="en"
# ## Did the messages arrive, and how fast?

# %% [markdown] lang="ko"
# ## 메시지가 도착했나요? 얼마나 빨랐나요?

# %%
plots.delivered_by_point(summary);

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
# ## Why?
#
# On how many instances are the members of one room, and what share of the deliveries had to cross from one instance to another?

# %% [markdown] lang="ko"
# ## 왜 그럴까요?
#
# 한 방 참가자들은 인스턴스 몇 개에 나뉘어 있고, 전달 가운데 얼마가 한 인스턴스에서 다른 인스턴스로 건너가야 했나요?

# %%
notebook.table(study.crossings(runs))

# %% [markdown] lang="en"
# Set this table beside the CPU. And your predictions beside what came out, this time:

# %% [markdown] lang="ko"
# 이 표를 CPU와 나란히 놓고 보세요. 그리고 여러분의 예측과 이번에 나온 결과도 나란히 놓아 봅시다.

# %%
columns = {"most even": "busiest_share", "fastest": "latency_p50_s", "least CPU": "cpu_s_daphne_per_1000_deliveries"}
means = summary.groupby("point")[list(columns.values())].mean().drop(index="ip_hash, one /24", errors="ignore")
lab.score("balancing", {what: means[column].idxmin() for what, column in columns.items()})

# %% [markdown] lang="en"
# *Even* is a virtue among strangers. In a chat, people are not strangers: they come in rooms.
#
# ## The verdict
#
# Two claims about the spread: it is even (C11), and no instance stays without sockets (C12). If you have measured
# the full experiment (`fab experiment balancing`), we use its runs.

# %% [markdown] lang="ko"
# *고르게* 나누는 것은 모르는 사람들 사이에서나 미덕입니다. 채팅하는 사람들은 남남이 아닙니다. 방 단위로 옵니다.
#
# ## 판정
#
# 소켓이 나뉘는 모양에 대한 주장 두 가지가 있습니다. 고르게 나뉜다는 것(C11)과, 소켓을 하나도 받지 못하는 인스턴스는 없다는 것(C12)입니다.
# 전체 크기의 실험(`fab experiment balancing`)을 측정해 두었다면 그 측정을 씁니다.

# %%
judged = notebook.full_size(runs)
lab.say("judged_of", experiment=judged[0].experiment, runs=len(judged), blocks=len({run.repeat for run in judged}))

# %%
lab.conclude("C11", judged)
lab.conclude("C12", judged)

# %% [markdown] lang="en"
# And each method's CPU against round robin. An interval that meets the line detects nothing; no bar means too few sound repeats.

# %% [markdown] lang="ko"
# 각 방법의 CPU를 round robin과도 비교합니다. 신뢰 구간이 선에 걸리면 차이를 찾아내지 못한 것이고, 막대가 없으면 온전한 반복이 너무 적은 것입니다.

# %%
effects = study.compare(judged, "cpu_s_daphne_per_1000_deliveries", base="round_robin")
plots.comparison(effects);

# %% [markdown] lang="en"
# ## What we have seen
#
# - A balancing method answers two questions at once: how *even* is the spread, and who sits *together*. They can
#   pull in different directions.
# - What the method should look at depends on the work: for pages any instance is as good as another, for rooms it is not.
# - A method that looks at addresses is only as good as the addresses are. Look at the row *ip_hash, one /24*.
#
# Now put the settings back as you found them.

# %% [markdown] lang="ko"
# ## 정리
#
# - 분산 방법은 두 가지 질문에 한꺼번에 답합니다. 얼마나 *고르게* 나뉘는가, 그리고 누가 *함께* 있는가입니다.
#   두 답은 서로 다른 방향으로 당길 수 있습니다.
# - 무엇을 보고 나누어야 할지는 하는 일에 달려 있습니다. 페이지라면 어느 인스턴스든 마찬가지이지만, 방이라면 그렇지 않습니다.
# - 주소를 보는 방법이 얼마나 좋은지는 주소가 얼마나 다양한지에 달려 있습니다. *ip_hash, one /24* 행을 보세요.
#
# 이제 설정을 처음 상태로 되돌려 놓습니다.

# %%
lab.end()

# %% [markdown] lang="en"
# ## Exercises
#
# 1. Set `nginx_worker_processes=2` and `balance_zone=False`, balance with `least_conn`, and run
#    `lab.chat(clients=60, rooms=6, duration_s=10)`. Then with `balance_zone=True`. What does each nginx worker know of the other?
# 2. With `hash`, take fewer rooms than there are instances: `lab.chat(clients=60, rooms=2)`. Look at `access_log_share`. What is the price of keeping a room together?
# 3. `fab experiment channel-layers` compares ways to carry messages between the instances. Which balancing method
#    makes this choice matter least?
# 4. A real site stands behind another proxy, and every connection comes from *its* address. What does that do to `ip_hash`?
#
# <details><summary>Answer 1</summary>
#
# Without a zone each nginx worker counts only the sockets that it passed on itself. "Fewest" is then "fewest that I know of". With a
# zone they share the counts.
# </details>
#
# <details><summary>Answer 2</summary>
#
# Two rooms can be on two instances at most, so one has nothing to do. Rooms of very different size make it worse.
# Affinity is bought with unevenness.
# </details>
#
# <details><summary>Answer 3</summary>
#
# The one in which the fewest messages cross. What stays on one instance hardly needs a channel layer, though it still passes through it.
# </details>
#
# <details><summary>Answer 4</summary>
#
# All clients look like one network, as in the case *one /24*. nginx must then be told whose word on the client's
# address to believe (`set_real_ip_from`).
# </details>

# %% [markdown] lang="ko"
# ## 연습 문제
#
# 1. `nginx_worker_processes=2`와 `balance_zone=False`를 설정하고, `least_conn`으로 분산하면서
#    `lab.chat(clients=60, rooms=6, duration_s=10)`을 실행하세요. 그다음 `balance_zone=True`로 다시 해 보세요. 각 nginx 워커는 다른 워커에 대해 무엇을 아나요?
# 2. `hash`를 쓰면서 방의 수를 인스턴스의 수보다 적게 해 보세요. `lab.chat(clients=60, rooms=2)`입니다. `access_log_share`를 보세요. 한 방을 한곳에 모아 두는 대가는 무엇인가요?
# 3. `fab experiment channel-layers`는 인스턴스 사이에서 메시지를 나르는 방법들을 비교합니다. 어느 분산 방법을 쓸 때
#    이 선택이 가장 덜 중요한가요?
# 4. 어떤 실제 사이트가 다른 프록시 뒤에 있어서, 모든 연결이 *그 프록시의* 주소에서 옵니다. 그러면 `ip_hash`는 어떻게 되나요?
#
# <details><summary>답 1</summary>
#
# zone이 없으면 각 nginx 워커는 자기가 넘긴 소켓만 셉니다. 이때 "가장 적은"은 "내가 아는 한 가장 적은"입니다.
# zone이 있으면 워커들이 그 수를 공유합니다.
# </details>
#
# <details><summary>답 2</summary>
#
# 방이 두 개면 많아야 인스턴스 두 개에 나뉠 수 있으므로, 하나는 할 일이 없습니다. 방의 크기가 아주 다르면 더 심해집니다.
# 함께 두는 것(affinity)의 대가는 고르지 않은 분배입니다.
# </details>
#
# <details><summary>답 3</summary>
#
# 건너가는 메시지가 가장 적은 방법입니다. 한 인스턴스 안에 머무는 메시지에는 채널 레이어가 거의 필요 없습니다. 그래도 채널 레이어를 지나가기는 합니다.
# </details>
#
# <details><summary>답 4</summary>
#
# *one /24* 경우처럼 모든 클라이언트가 한 네트워크에 있는 것으로 보입니다. 그럴 때는 클라이언트의 주소에 대해 누구의 말을
# 믿어야 하는지 nginx에 알려 주어야 합니다(`set_real_ip_from`).
# </details>
