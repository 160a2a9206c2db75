"""TLS as a scanner sees it: what nginx agrees to is Mozilla's intermediate profile and nothing more.

`sslyze --mozilla_config intermediate ADDRESS` says the same at length, and objects to nothing but the private CA.
"""

import socket
import ssl
import subprocess

import pytest

PROFILE = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}


def agreed(address: str, version: ssl.TLSVersion, ciphers: str = "ALL:COMPLEMENTOFALL") -> str | None:
    """The cipher that a client of this TLS version and these ciphers gets; None if it is turned away."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection((address, 443), timeout=10) as plain, context.wrap_socket(plain) as tls:
            return tls.cipher()[0]
    except (ssl.SSLError, ConnectionError):
        return None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_versions_and_ciphers_are_the_profiles_and_no_others(host):
    everything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    everything.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    names = [cipher["name"] for cipher in everything.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    assert len(names) > 20 and set(names) >= PROFILE
    assert {name for name in names if agreed(host.address, ssl.TLSVersion.TLSv1_2, name)} == PROFILE
    assert agreed(host.address, ssl.TLSVersion.TLSv1_3)
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        assert agreed(host.address, old) is None, old


@pytest.mark.parametrize(("curve", "taken"), [("X25519", True), ("prime256v1", True), ("secp384r1", True), ("secp521r1", False)])
def test_curves_are_the_profiles(host, curve, taken):
    command = ["openssl", "s_client", "-connect", f"{host.address}:443", "-curves", curve]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert (done.returncode == 0) == taken, done.stderr.decode()


@pytest.mark.fault("the certificate ends", "web")
def test_the_timers_command_renews_what_ends_soon_and_the_site_serves_on(at_defaults, site):
    host = at_defaults
    fingerprint = "openssl x509 -noout -fingerprint -in /etc/stacklab/tls/web.pem"
    before = host.run(fingerprint, sudo=True)
    assert host.run("systemctl is-active stacklab-certificates.timer") == "active\n"
    host.run("systemctl start stacklab-certificates.service", sudo=True)
    assert host.run(fingerprint, sudo=True) == before, "nothing is renewed early"
    # As if eleven months had passed: a certificate for 29 days in its place.
    host.run(
        "bash -c 'set -e; etc=/etc/stacklab; say() { :; }; must_restart() { :; }; fail() { exit 1; }; "
        "into_place() { mv $1 $2; }; "
        ". /opt/stacklab/provision/certificates.sh; "
        "issue web web.stacklab 29 \"$(cat $etc/tls/web.ext)\" -CA $etc/tls/ca.pem -CAkey $etc/tls/ca.pem'",
        sudo=True,
    )
    short = host.run(fingerprint, sudo=True)
    host.run("systemctl start stacklab-certificates.service", sudo=True)
    assert host.run(fingerprint, sudo=True) not in (before, short)
    served = ssl.get_server_certificate((host.address, 443))
    assert host.run("sed -n '/BEGIN CERT/,$p' /etc/stacklab/tls/web.pem", sudo=True) == served, "nginx has taken it up"
    assert site("/healthz") == (200, b"ok\n")
