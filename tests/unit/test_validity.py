"""Every reason to doubt a run is found, with its number; a sound run has none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import with_table

from stacklab.runs.calibration import Calibration
from stacklab.runs.disturbance import load_window, uneven
from stacklab.runs.flow import little_users
from stacklab.runs.results import Run
from stacklab.runs.validity import check, disconnects
from stacklab.settings import StackSettings
from stacklab.workload import ChatLoad, HttpLoad

LOAD = HttpLoad(requests=2000, users=20, ramp_s=1.0, warmup_s=0.5)
CHAT = ChatLoad(clients=30, rooms=3, messages_per_s=0.5, duration_s=10, ramp_s=3)


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    return synthetic.http_run(tmp_path_factory.mktemp("http"), "run", workload=LOAD)


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    return synthetic.chat_run(tmp_path_factory.mktemp("chat"), "run", workload=CHAT)


def the_reason(run: Run) -> str:
    """The only reason there is to doubt `run`."""
    validity = check(run)
    assert validity.measurement == "disturbed" and validity.service == "ok"
    assert len(validity.reasons) == 1, validity.reasons
    assert validity.reasons[0].endswith(".")
    return validity.reasons[0]


def the_failure(run: Run) -> str:
    """The only thing in which the service failed in `run`, which is measured well."""
    validity = check(run)
    assert validity.measurement == "sound" and validity.service == "degraded"
    assert len(validity.failures) == 1, validity.failures
    return validity.failures[0]


def edited(**columns):
    """A change of a table: the given columns take the given values (or what a function makes of the table)."""
    return lambda table: table.assign(**columns)


def test_sound_runs_are_valid(http, chat):
    assert check(http).reasons == ()
    assert check(chat).reasons == ()
    assert check(http).valid


def test_a_saved_run_and_the_same_run_before_saving_are_judged_alike(tmp_path):
    saved = synthetic.http_run(tmp_path, "run", fail=3)
    assert saved.validity == check(saved)
    assert (saved.validity.measurement, saved.validity.service) == ("sound", "degraded")


def test_what_was_noticed_while_measuring_is_a_reason(http):
    assert check(http, ["The link was too slow."]).reasons == ("The link was too slow.",)


def test_errors_are_counted_by_kind(http, tmp_path):
    def fail(table):
        table.loc[table.index[-30:-10], "error"] = "HTTP 502"
        table.loc[table.index[-10:], "error"] = "ConnectionResetError: Connection reset by peer"
        return table

    failure = the_failure(with_table(http, tmp_path, "requests", fail))
    assert failure == (
        "30 of 2,000 counted requests failed: HTTP 502 (20), ConnectionResetError: Connection reset by peer (10)."
    )


def test_failures_while_warming_up_do_not_count(http, tmp_path):
    def fail(table):
        table.loc[table["warmup"], "error"] = "HTTP 502"
        return table

    assert check(with_table(http, tmp_path, "requests", fail)).valid


def test_requests_that_are_missing_are_counted(http, tmp_path):
    reason = the_reason(with_table(http, tmp_path, "requests", lambda table: table.iloc[:-7]))
    assert reason == "1,993 counted requests are on disk, 2,000 were asked for."


def test_rows_that_nginx_did_not_log_are_counted(http, tmp_path):
    reason = the_reason(with_table(http, tmp_path, "server", lambda table: table.iloc[5:]))
    assert "5 rows are missing" in reason


def more_rows(count: int, **columns):
    """A change of nginx's table: so many rows more, like its first ones but for these columns."""
    return lambda table: pd.concat([table, table.iloc[:count].assign(**columns)], ignore_index=True)


def test_requests_that_somebody_else_made_disturb_a_run(http, tmp_path):
    rows = len(http.table("server"))
    reason = the_reason(with_table(http, tmp_path, "server", more_rows(3)))
    words = "of them are not this load's: somebody else used the site (1 address"
    assert reason == f"nginx logged {rows + 3:,} requests, and 3 {words} in all)."
    (elsewhere := tmp_path / "elsewhere").mkdir()
    reason = the_reason(with_table(http, elsewhere, "server", more_rows(2, client=["10.9.9.1", "10.9.9.2"])))
    assert reason == f"nginx logged {rows + 2:,} requests, and 2 {words.replace('1 address', '3 addresses')} in all)."


def test_another_path_or_another_address_is_somebody_elses_though_the_count_is_right(http, tmp_path):
    def instead(**columns):
        return lambda table: pd.concat([table.iloc[4:], table.iloc[:4].assign(**columns)], ignore_index=True)

    (paths := tmp_path / "paths").mkdir()
    assert "4 of them are not this load's" in the_reason(with_table(http, paths, "server", instead(path="/chat/")))
    run = with_table(http, tmp_path, "server", instead(client="10.9.9.9"))
    assert check(run).valid, "where the desk's addresses are not known"
    known = replace(run, environment=run.environment | {"client_addresses": ["10.77.0.1"]})
    assert "4 of them are not this load's: somebody else used the site (1 address)." in the_reason(known)


def test_a_request_that_was_sent_again_may_be_logged_twice(http, tmp_path):
    run = with_table(http, tmp_path, "server", more_rows(2))
    (tmp_path / "requests.parquet").unlink()
    again = http.table("requests")
    again.loc[again.index[:2], "retried"] = True
    again.to_parquet(tmp_path / "requests.parquet")
    assert check(run).valid


def test_sockets_and_pages_that_somebody_else_asked_for_disturb_a_chat(chat, tmp_path):
    handshakes = [f"/ws/chat/load-{n % 3}/" for n in range(len(chat.table("connections")))]
    for number, (paths, foreign) in enumerate([
        (handshakes, 0), ([*handshakes, "/ws/chat/load-0/"], 1), ([*handshakes[:-2], "/chat/", "/ws/chat/mine/"], 2),
    ]):  # fmt: skip
        (folder := tmp_path / str(number)).mkdir()
        run = with_table(chat, folder, "messages", lambda table: table)
        rows = {"path": paths, "client": "10.77.0.1", "end_s": 0.0, "duration_s": 1.0, "upstream_s": 1.0, "upstream_addr": ""}
        pd.DataFrame(rows | {"status": 101, "bytes": 0}).to_parquet(folder / "server.parquet")
        assert check(run).valid if not foreign else f"{foreign} of them are not this load's" in the_reason(run)


def test_requests_that_nginx_never_saw_are_no_missing_rows(http, tmp_path):
    def refuse(table):
        table.loc[table.index[-1], ["status", "error"]] = [0, "ConnectionRefusedError"]
        return table

    run = with_table(http, tmp_path, "requests", refuse)
    (tmp_path / "server.parquet").unlink()
    http.table("server").iloc[:-1].to_parquet(tmp_path / "server.parquet")
    assert "failed" in the_failure(run)


@pytest.mark.parametrize("name", ["requests", "server", "resources", "gauges", "generator"])
def test_a_missing_table_is_a_reason(http, tmp_path, name):
    assert f"The table {name} is missing." in check(with_table(http, tmp_path, name, lambda _: None)).reasons


@pytest.mark.parametrize("name", ["server", "gauges", "generator"])
def test_a_damaged_table_is_a_reason_and_no_traceback(http, tmp_path, name):
    run = with_table(http, tmp_path, name, lambda _: None)
    (tmp_path / f"{name}.parquet").write_bytes(b"PAR1")
    assert "cannot be read" in the_reason(run)


def test_a_computer_of_which_nothing_was_read_is_not_taken_for_a_quiet_one(http, tmp_path):
    assert "was not measured" in the_reason(with_table(http, tmp_path, "gauges", lambda table: table.iloc[:0]))


def test_settings_that_are_not_as_asked_are_named(http):
    reason = the_reason(replace(http, observed=http.observed | {"uwsgi_processes": 4}))
    assert reason == "uwsgi_processes was 4 on the web host, 5 was asked for."


def test_ports_and_units_that_are_not_as_asked_are_named(http):
    units = http.observed["units"] | {"daphne@3": "failed"}
    run = replace(http, observed=http.observed | {"daphne_ports": [8443, 8444], "units": units})
    assert check(run).reasons == (
        "The instances listened on 8443, 8444, not on 8443, 8444, 8445.",
        "The unit daphne@3 was failed, not active.",
    )


def test_a_host_that_says_less_of_itself_is_not_doubted_for_that(http):
    assert check(replace(http, observed={})).valid


def test_littles_law_finds_users_that_were_not_there(http):
    reason = the_reason(replace(http, workload=LOAD.replace(users=40)))
    assert "Little's law" in reason
    assert "makes 18.6 users, 40 were asked for (-54%)" in reason


def test_time_that_requests_did_not_spend_in_nginx_is_found(http, tmp_path):
    """As the client sees it, the law holds: it is its own queue in which they waited."""
    run = with_table(http, tmp_path, "server", lambda table: table.assign(duration_s=table["duration_s"] * 0.5))
    assert "Little's law does not hold: nginx's throughput" in the_reason(run)


def test_a_few_milliseconds_outside_nginx_are_the_way_and_no_matter(tmp_path):
    """A light page and few users: most of a user's time is the client's, and nothing waits."""
    assert synthetic.http_run(tmp_path, "one", workload=LOAD.replace(users=1, requests=900), per_s=900).validity.valid


def test_a_load_that_was_over_at_once_says_nothing(http, tmp_path):
    def short(table):
        counted = table.index[~table["warmup"]]
        table.loc[counted, "start_s"] = table["start_s"][counted[0]] + np.arange(len(counted)) * 1e-5
        return table

    reasons = check(with_table(http, tmp_path, "requests", short)).reasons
    assert any("counted for 0.0" in reason and "0.5 s are the least" in reason for reason in reasons)


def test_a_chat_of_a_moment_says_nothing(chat):
    assert not any("the least" in reason for reason in check(chat).reasons)
    at = load_window(chat)[0]
    moment = replace(chat, path=chat.path, whole=None)
    moment._known["load window"] = (at, at + 0.1)
    assert any("counted for 0.10 s only" in reason for reason in check(moment).reasons)


def test_a_client_and_a_server_that_count_another_rate_are_found(http, tmp_path):
    def stretched(table):
        first = table["end_s"].min()
        return table.assign(end_s=first + (table["end_s"] - first) * 1.3)

    reasons = check(with_table(http, tmp_path, "server", stretched)).reasons
    assert any("requests a second, nginx" in reason and "one of the two is wrong" in reason for reason in reasons)


def drifting(tmp_path, change: float) -> Run:
    """A run whose throughput ends `change` times as high as it began, all of it as the client and nginx alike saw it."""
    run = synthetic.http_run(tmp_path, f"drift-{change:g}", workload=LOAD.replace(requests=6000))
    first, ahead = run.table("requests")["start_s"].min(), np.log(change) / 6.5

    def slower(times):
        return first + (1 - np.exp(-ahead * (times - first))) / ahead if ahead else times

    def stretched(requests):
        ends = slower(requests["start_s"] + requests["duration_s"])
        starts = slower(requests["start_s"])
        return requests.assign(start_s=starts, duration_s=ends - starts)

    (folder := tmp_path / f"{change:g}").mkdir()
    changed = with_table(run, folder, "requests", stretched)
    (folder / "server.parquet").unlink()
    synthetic.server_view(changed.table("requests")).to_parquet(folder / "server.parquet")
    return changed


@pytest.mark.parametrize("change", [0.6, 1.6])
def test_a_run_that_drifts_is_found(tmp_path, change):
    assert any("Throughput drifted by" in reason for reason in check(drifting(tmp_path, change)).reasons)


def test_a_run_that_drifts_no_more_than_is_usual_here_is_not(tmp_path):
    assert not any("drifted" in reason for reason in check(drifting(tmp_path, 1.1)).reasons)
    run = drifting(tmp_path, 0.6)
    restless = calibrated(noise={"throughput_per_s": 0.3})
    assert not any("drifted" in reason for reason in check(run, calibration=restless).reasons)
    happened = ({"what": "kill daphne@1", "began_s": 0.0, "ended_s": 0.0},)
    assert not any("drifted" in reason for reason in check(replace(run, events=happened)).reasons)


def calibrated(**known) -> Calibration:
    return Calibration(**{
        "machine": {}, "made_s": 0.0, "quick": False, "blocks": 20, "disturbed": 0, "slice_s": 3.0, "noise": {},
        "false_share": {}, "false_share_claims": 0.04, "smallest": {}, "ceiling_per_s": None, "sampler_cores": 0.02, **known,
    })  # fmt: skip


def test_a_generator_beyond_half_its_ceiling_is_found(http):
    [reason] = check(http, calibration=calibrated(ceiling_per_s=1500.0)).reasons
    assert "more than half of the 1,500 that it can make at most" in reason
    assert check(http, calibration=calibrated(ceiling_per_s=4000.0)).valid
    assert check(http, calibration=calibrated(ceiling_per_s=None)).valid


def test_what_is_usual_on_this_machine_is_no_reason(tmp_path):
    run = synthetic.http_run(tmp_path, "run", steal=0.3)
    assert not check(run).valid
    assert check(run, calibration=calibrated(usual={"steal_share": 0.15})).valid
    assert not check(run, calibration=calibrated(usual={"steal_share": 0.05})).valid
    uneven_block = [QUIET, QUIET | {"steal_share": 0.2}]
    assert uneven(uneven_block) and not uneven(uneven_block, calibrated={"steal_share": 0.1})


def test_littles_law_holds_with_waits(tmp_path):
    load = HttpLoad(requests=1500, users=30, ramp_s=1.0, warmup_s=0.5, wait_s=0.05)
    run = synthetic.http_run(tmp_path, "run", workload=load, per_s=300)
    assert check(run).valid
    assert "Little's law" not in "".join(check(run).reasons)
    requests = run.table("requests")
    loop = (requests["start_s"].to_numpy(), requests["duration_s"].to_numpy(), *load_window(run))
    assert little_users(*loop, wait_s=0.0) < little_users(*loop, wait_s=0.05)


def test_on_a_schedule_late_starts_are_found_and_littles_law_is_not_asked(http, tmp_path):
    scheduled = LOAD.replace(requests_per_s=800)
    on_time = with_table(http, tmp_path, "requests", edited(scheduled_s=lambda table: table["start_s"] - 0.001))
    assert check(replace(on_time, workload=scheduled)).valid
    (tmp_path / "late").mkdir()
    late = with_table(http, tmp_path / "late", "requests", edited(scheduled_s=lambda table: table["start_s"] - 0.3))
    assert "0.30 s or more behind its schedule" in the_reason(replace(late, workload=scheduled))


def test_a_generator_short_of_cpu_is_found(tmp_path):
    assert "used 97% of a core" in the_reason(synthetic.http_run(tmp_path, "run", generator_cpu=0.97))


def test_a_generator_that_was_not_watched_is_found(http, tmp_path):
    assert "was not measured" in the_reason(with_table(http, tmp_path, "generator", lambda table: table.iloc[:0]))


def test_a_generator_that_lags_behind_itself_is_found(http, tmp_path):
    def late(table):
        table.loc[table["name"] == "generator_lag_s", "value"] = 0.04
        return table

    assert "itself was 0.040 s late or more" in the_reason(with_table(http, tmp_path, "generator", late))


def test_steal_is_found(tmp_path):
    assert the_reason(synthetic.http_run(tmp_path, "run", steal=0.131)).startswith("Steal: 13.1% of the CPU time")
    assert check(synthetic.http_run(tmp_path, "less", steal=0.07)).valid, "verdicts hold so much equal"


def test_a_costly_sampler_and_other_work_on_the_computer_are_found(http, tmp_path):
    def busy(table):
        table.loc[table["name"].isin(["sampler_cpu_s", "host_cpu_s"]), "value"] *= 4
        return table

    reasons = check(with_table(http, tmp_path, "gauges", busy)).reasons
    assert "The sampler itself took 8.0% of a core." in reasons
    assert any("Other work on the web host's computer took 4." in reason for reason in reasons)


def test_services_of_which_there_is_no_sample_are_found(http, tmp_path):
    assert "no sample of any service" in the_reason(with_table(http, tmp_path, "resources", lambda table: table.iloc[:0]))


def test_gaps_in_the_samples_are_found(http, tmp_path):
    start, _ = load_window(http)
    missing = pd.Interval(start + synthetic.OFFSET_S + 0.3, start + synthetic.OFFSET_S + 2.0)
    run = with_table(http, tmp_path, "resources", lambda table: table[[t not in missing for t in table["time_s"]]])
    assert "The samples have a gap of" in the_reason(run)


def test_samples_that_end_before_the_load_are_a_gap(tmp_path):
    run = synthetic.http_run(tmp_path, "long", workload=LOAD.replace(requests=5000))
    start, _ = load_window(run)
    (tmp_path / "cut").mkdir()
    cut = with_table(run, tmp_path / "cut", "resources", lambda t: t[t["time_s"] < start + synthetic.OFFSET_S + 1])
    assert "The samples have a gap of" in the_reason(cut)


def test_a_service_that_is_gone_for_a_while_is_no_gap(http, tmp_path):
    change = edited(service=lambda table: table["service"])
    run = with_table(http, tmp_path, "resources", lambda t: change(t)[(t["service"] != "daphne@2") | (t.index % 40 < 8)])
    assert check(run).valid


def test_clocks_that_are_known_too_badly_are_found(http):
    assert "known to within 0.400 s only" in the_reason(replace(http, clock_error_s=0.4))
    assert "was not measured" in the_reason(replace(http, clock_offset_s=None, clock_error_s=None))


def test_lost_and_doubled_messages_are_counted_apart(chat, tmp_path):
    def lose(table):
        table.loc[table.index[:5], ["copies", "receiver_connected"]] = [0, True]
        table.loc[table.index[5:8], ["copies", "receiver_connected"]] = [0, False]
        table.loc[table.index[8:10], "copies"] = 2
        return table

    validity = check(with_table(chat, tmp_path, "messages", lose))
    assert validity.measurement == "sound"
    reasons = validity.failures
    assert len(reasons) == 3
    assert reasons[0].startswith("5 of ") and "to connected receivers were lost" in reasons[0]
    assert reasons[1].startswith("3 of 3 ") and "to receivers that were away" in reasons[1]
    assert reasons[2].startswith("2 of ") and "more than once" in reasons[2]


def test_sockets_that_are_refused_or_closed_early_are_found(chat, tmp_path):
    def break_some(table):
        table.loc[0, ["close_code", "end_s"]] = [1006, table["connect_start_s"][0] + 5]
        table.loc[1, "connect_s"] = np.nan
        table.loc[1, "error"] = "HTTP 403"
        return table

    reasons = check(with_table(chat, tmp_path, "connections", break_some)).failures
    assert "29 clients connected, 30 were asked for." in reasons
    assert "1 attempts to connect failed: HTTP 403 (1)." in reasons
    assert "1 open sockets were closed early: 1006 (1)." in reasons


def test_what_an_event_costs_is_the_result_and_no_reason_to_doubt(tmp_path):
    run = synthetic.chat_run(tmp_path, "killed", workload=CHAT, kill_s=4)
    assert len(disconnects(run.table("connections"))) == 10
    assert run.validity.valid and not run.validity.failures
    assert check(replace(run, events=())).failures


def test_clients_of_fewer_networks_than_asked_for_are_named_where_it_matters(chat, tmp_path):
    by_address = replace(
        chat, settings=chat.settings.replace(balance="ip_hash"), observed={**chat.observed, "balance": "ip_hash"}
    )
    assert "came from 1 /24 networks, 16 were asked for" in the_reason(by_address)
    assert check(replace(by_address, workload=CHAT.replace(networks=1))).valid
    no_addresses_of_its_own = with_table(by_address, tmp_path, "connections", edited(source_address=None))
    assert "came from 1 /24 networks, 16 were asked for" in the_reason(no_addresses_of_its_own)


def test_who_was_made_to_lose_its_socket_is_no_generator_that_lagged(tmp_path):
    run = synthetic.chat_run(tmp_path, "killed", workload=CHAT, kill_s=4)
    asked_for_more = replace(run, workload=CHAT.replace(messages_per_s=1.0))
    assert check(asked_for_more).valid
    assert any("the generator lagged" in reason for reason in check(replace(asked_for_more, events=())).reasons)


def test_a_generator_that_sent_too_little_is_found(chat):
    reason = the_reason(replace(chat, workload=CHAT.replace(messages_per_s=1.0)))
    assert "about 300 were asked for: the generator lagged" in reason


def test_a_run_that_counted_nothing_is_doubted_without_a_traceback(http, tmp_path):
    run = with_table(http, tmp_path, "requests", edited(warmup=True))
    assert any("0 counted requests are on disk" in reason for reason in check(run).reasons)


def test_the_load_window_is_that_of_the_counted_requests(http):
    requests = http.table("requests")
    counted = requests[~requests["warmup"]]
    assert load_window(http) == (counted["start_s"].min(), (counted["start_s"] + counted["duration_s"]).max())


def test_where_nobody_says_anything_load_counts_from_when_all_are_connected(tmp_path):
    run = synthetic.chat_run(tmp_path, "silent", workload=CHAT.replace(messages_per_s=0))
    connections = run.table("connections")
    assert load_window(run) == ((connections["connect_start_s"] + connections["connect_s"]).max(), run.ended_s)


@settings(max_examples=40, deadline=None)
@given(
    users=st.integers(1, 40),
    per_s=st.floats(50, 5000),
    wait_s=st.sampled_from([0.0, 0.01, 0.2]),
    seed=st.integers(0, 1000),
)
def test_littles_law_counts_the_users_of_any_closed_loop(users, per_s, wait_s, seed):
    load = HttpLoad(requests=users * 40, users=users, ramp_s=0.5, warmup_s=0.5, wait_s=wait_s)
    requests = synthetic.closed_loop(load, per_s, np.random.default_rng(seed))
    counted = requests.loc[~requests["warmup"], "start_s"]
    loop = requests["start_s"].to_numpy(), requests["duration_s"].to_numpy(), counted.min(), counted.max()
    assert little_users(*loop, wait_s) == pytest.approx(users, rel=0.08)


def test_settings_that_differ_only_in_what_cannot_be_observed_are_not_doubted(tmp_path):
    run = synthetic.http_run(tmp_path, "run", StackSettings(daphne_drain_s=9, asgi_threads=7))
    assert run.validity.valid


def test_numbers_are_kept_also_where_no_limit_is_passed(http):
    numbers = check(http).numbers
    assert set(numbers) == {"clock_error_s", "generator_cores", "generator_lag_s", "steal_share", "others_cores", "sampler_cores"}
    assert numbers["generator_cores"] == pytest.approx(0.4) and numbers["sampler_cores"] == pytest.approx(0.02, rel=0.1)


QUIET = {"steal_share": 0.01, "others_cores": 0.1}


def test_a_block_in_which_one_slice_had_it_much_harder_is_left_out():
    assert uneven([QUIET, QUIET]) == []
    [reason] = uneven([QUIET, QUIET | {"steal_share": 0.2}])
    assert reason.startswith("Within the block the share of CPU time that went to other virtual machines differed by 0.19, more")
    assert "other work took differed by 0.90" in uneven([QUIET, QUIET | {"others_cores": 1.0}])[0]


def test_what_disturbs_all_of_a_block_alike_costs_it_nothing():
    busy = {"steal_share": 0.3, "others_cores": 1.2}
    assert uneven([busy, busy | {"steal_share": 0.34}]) == []


def test_a_computer_that_is_always_uneven_still_gets_verdicts():
    restless = [QUIET, QUIET | {"steal_share": 0.13}]
    assert uneven(restless) and not uneven(restless, [restless] * 5)
    assert uneven([QUIET, QUIET | {"steal_share": 0.5}], [restless] * 5)


def test_the_load_of_a_desk_on_web_hosts_own_computer_is_not_other_work(http, tmp_path):
    """Two containers of one kernel: told by its boot id, whatever the kind of lab."""

    def loaded(table):
        cpu = table["name"] == "host_cpu_s"
        table.loc[cpu, "value"] += 0.5 * (table.loc[cpu, "time_s"] - table["time_s"].min())
        return table

    busy = with_table(http, tmp_path, "gauges", loaded)

    def others(**environment):
        return check(replace(busy, environment={**http.environment, **environment})).numbers["others_cores"]

    apart, together = others(kind="vagrant", one_computer=False), others(kind="vagrant", one_computer=True)
    assert apart > together
    assert others(kind="container") == pytest.approx(together), "so it was before it was noted"
    assert others(kind="container", one_computer=False) == pytest.approx(together), "nspawn gives it a boot id of its own"


def test_one_cpu_for_both_is_said(http):
    alone = replace(http, environment={**http.environment, "one_computer": True, "desk": {"cpus": 1}})
    assert "the computer's only CPU" in the_reason(alone)
    threads = replace(alone, environment={**alone.environment, "desk": {"cpus": 2, "cores": 1}})
    assert "the computer's only CPU" in the_reason(threads), "two threads of one core"
    apart = replace(alone, environment={**alone.environment, "kind": "ssh", "one_computer": False})
    assert not any("only CPU" in reason for reason in check(apart).reasons)
