"""Why a load met nobody: a clock that is years off, a certificate that has run out, a firewall."""

import ssl
import time
from datetime import timedelta

import pytest
from certificates import make_ca
from load_site import Site

from stacklab.bench.load import _check_answers, _check_connections, run_load
from stacklab.bench.unreached import telling_why
from stacklab.errors import HostError, LabNotRunning, LoadError
from stacklab.labs import image
from stacklab.workload import ChatLoad, HttpLoad

DAY_S = 86_400
LOADS = [HttpLoad(requests=20, users=2, ramp_s=0, warmup_s=0), ChatLoad(clients=2, rooms=1, ramp_s=0, duration_s=1)]


class Web:
    """A web host whose clock is `ahead_s` of this one; it may say no."""

    address, url = "192.0.2.7", "https://192.0.2.7"

    def __init__(self, ahead_s=0.0, error=None):
        self.ahead_s, self.error = ahead_s, error

    def run(self, command):
        if self.error:
            raise self.error
        assert command == "date +%s"
        return f"{time.time() + self.ahead_s:.0f}\n"


@pytest.mark.fault("a clock years off", "either side")
@pytest.mark.parametrize("load", LOADS, ids=["http", "chat"])
@pytest.mark.parametrize("ahead_days", [5 * 365, -5 * 365])
def test_a_clock_five_years_off_is_named_with_both_dates_and_what_to_do(load, ahead_days, tmp_path):
    authority, *files = make_ca(tmp_path, now_is_ahead=timedelta(days=ahead_days))
    with Site(*files) as site, pytest.raises(LoadError, match="CERTIFICATE_VERIFY_FAILED") as caught, \
            telling_why(Web(ahead_days * DAY_S)):  # fmt: skip
        run_load(load, site.url, tmp_path, authority, timeout_s=60)
    here, there = (time.strftime("%Y-%m-%d", time.gmtime(time.time() + ahead)) for ahead in (0, ahead_days * DAY_S))
    said = str(caught.value)
    assert f"The clock here shows {here}" in said and f"the lab's {there}" in said
    assert "1825 days apart" in said and "set-ntp true" in said


def test_a_certificate_that_ran_out_by_both_clocks_is_made_anew():
    with pytest.raises(LoadError, match="so the certificate has indeed run out: 'fab provision' makes it anew"), \
            telling_why(Web()):  # fmt: skip
        _check_answers({f"{ssl.SSLCertVerificationError.__name__}: certificate has expired": 3}, 3, "")


def test_a_certificate_of_a_clock_that_was_ahead_is_made_anew_with_its_ca():
    with pytest.raises(LoadError, match="made when the lab's clock was ahead.*/etc/stacklab/tls.*'fab provision'"), \
            telling_why(Web()):  # fmt: skip
        _check_answers({f"{ssl.SSLCertVerificationError.__name__}: certificate is not yet valid": 3}, 3, "")


@pytest.mark.parametrize("check", [lambda: _check_answers({"TimeoutError: timed out": 3}, 3, ""),
                                   lambda: _check_connections({"": 0, "TimeoutError: timed out": 3})])  # fmt: skip
def test_a_firewall_that_drops_everything_is_named(check):
    with pytest.raises(LoadError, match=r"SSH reaches 192\.0\.2\.7, and nothing .* from https.*a firewall drops it.*nft"), \
            telling_why(Web()):  # fmt: skip
        check()


@pytest.mark.parametrize("error", [LabNotRunning("gone"), HostError("no")])
def test_a_host_that_cannot_be_asked_leaves_the_error_as_it_is(error):
    told = LoadError("not one request was answered: certificate has expired", log="its log")
    with pytest.raises(LoadError) as caught, telling_why(Web(error=error)):
        raise told
    assert caught.value is told


def test_other_errors_of_a_load_stay_as_they_are():
    told = LoadError("Locust ended with exit code 2", log="TimeoutError: of something else")
    with pytest.raises(LoadError) as caught, telling_why(Web()):
        raise told
    assert caught.value is told


@pytest.mark.parametrize("words", ["certificate verify failed: certificate is not yet valid (_ssl.c:1006)",
                                   "SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired"])  # fmt: skip
def test_an_image_that_cannot_be_built_for_its_clock_says_so(words):
    assert "clock" in image.worn_out(words) and "'date'" in image.worn_out(words)
