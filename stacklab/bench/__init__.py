"""The wing in which is measured: load, samples, runs, experiments."""

from stacklab import hands_out

__getattr__ = hands_out(__name__, {
    "Experiment": "experiment", "Point": "experiment", "measure": "experiment", "run_experiment": "experiment",
})  # fmt: skip
