"""The wing of what is kept: runs on disk, and whether each is sound. It imports no other wing."""

from stacklab import hands_out

__getattr__ = hands_out(__name__, {
    "Run": "results", "check": "validity", "export_csv": "export", "load_runs": "results", "read": "foreign",
})  # fmt: skip
