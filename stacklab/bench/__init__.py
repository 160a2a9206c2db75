"""The wing in which is measured: load, samples, runs, experiments."""

from stacklab import hands_out

__getattr__ = hands_out(__name__, {
    **dict.fromkeys(("estimate", "measure", "run_experiment"), "experiment"), "set_aside": "resume",
    **dict.fromkeys(("Experiment", "Point"), "plan"),
    **dict.fromkeys((
        "balancing", "channel_layers", "crowds", "eight_cases", "experiment_named", "failover", "instances", "one_vs_three",
        "outages", "scaling", "uwsgi_workers", "clients_held", "freeze", "connections_limit",
    ), "experiments"),
    "Event": "events", "compare": "comparison", "calibrate": "calibration",
})  # fmt: skip
