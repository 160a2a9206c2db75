"""The wing of what is tested: the stack's services, their files, and the one path of a change.

Lazy, since the web host imports it with Jinja2 alone.
"""

from stacklab import hands_out

__getattr__ = hands_out(__name__, {
    **dict.fromkeys((
        "Applied", "apply", "ca_certificate", "current", "is_provisioned", "fitting", "observe", "provision",
        "site_of", "state", "status", "versions",
    ), "change"),
    **dict.fromkeys(("brought", "take_away"), "leaving"),
    "bill_of_materials": "sbom",
    "exposure": "sandboxes",
    "use_site": "sites",
    **dict.fromkeys(("SERVICES", "unit_of"), "services"),
})  # fmt: skip
