"""The bill of materials: each package once, by the name under which scanners know it."""

import re

import pytest

from stacklab.errors import LabError
from stacklab.stack import bill_of_materials
from stacklab.stack.sbom import LOOK

ANSWER = """os\tdebian\t13
deb\tlibstdc++6\t1:14.2.0-19~b+1\tamd64
deb\tadduser\t3.152\tall
pypi\tzope.interface\t8.7
pypi\tTwisted\t26.10.0
pypi\tTwisted\t26.10.0
"""


class Web:
    name = "web"

    def __init__(self, provisioned="yes"):
        self.provisioned = provisioned

    def run(self, command):
        return ANSWER if command == LOOK else self.provisioned


def test_each_package_is_named_once_as_scanners_know_it():
    bill = bill_of_materials(Web())
    assert [one["purl"] for one in bill["components"]] == [
        "pkg:deb/debian/adduser@3.152?arch=all&distro=debian-13",
        "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2.0-19~b%2B1?arch=amd64&distro=debian-13",
        "pkg:pypi/twisted@26.10.0",
        "pkg:pypi/zope-interface@8.7",
    ]
    assert {one["bom-ref"] == one["purl"] for one in bill["components"]} == {True}
    assert (bill["components"][1]["name"], bill["components"][1]["version"]) == ("libstdc++6", "1:14.2.0-19~b+1")
    assert bill["metadata"]["component"] == {"type": "operating-system", "name": "debian", "version": "13"}


def test_two_bills_are_two_documents_with_a_time_each():
    one, two = bill_of_materials(Web()), bill_of_materials(Web())
    assert one["serialNumber"] != two["serialNumber"]
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", one["serialNumber"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["metadata"]["timestamp"])


def test_where_nothing_is_set_up_there_is_no_bill_of_half_of_it():
    with pytest.raises(LabError, match="the stack is not set up"):
        bill_of_materials(Web(provisioned=""))
