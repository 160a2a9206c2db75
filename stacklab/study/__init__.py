"""The wing in which runs are read: tables, summaries, comparisons, verdicts, pictures. It needs no lab."""

from stacklab import hands_out

__getattr__ = hands_out(__name__, {
    **dict.fromkeys((
        "connections", "crossings", "events", "factors", "gauges", "in_order", "messages", "point_order", "requests",
        "resources", "server", "sockets",
    ), "analysis"),
    **dict.fromkeys(("METRIC_NAMES", "PERCENTILES", "summarize"), "summary"),
    **dict.fromkeys(("Judgement", "compare", "judge", "judge_all"), "verdicts"),
    **dict.fromkeys(("LOOKS", "MetricVerdict", "look"), "paired"),
    "CLAIMS": "claims",
    "stack_diagram": "diagram",
    "write_report": "report",
})  # fmt: skip
