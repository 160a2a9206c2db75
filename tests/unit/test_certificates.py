"""The certificates of the lab and of these tests pass the strictest verifier, whichever OpenSSL is here."""

import hashlib
import re
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from certificates import make_ca
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

ROOT = Path(__file__).resolve().parents[2]
NAMES = "DNS:localhost,IP:127.0.0.1"


def web_sh(folder: Path, commands: str) -> list[str]:
    """What web.sh's own functions, with `folder` for /etc/stacklab, say that they changed."""
    (folder / "tls").mkdir(exist_ok=True)
    script = f"""set -euo pipefail
    etc={folder}; say() {{ echo "$*"; }}; fail() {{ say "$*" >&2; exit 1; }}
    must_restart() {{ :; }}; into_place() {{ mv "$1" "$2"; }}
    . {ROOT}/provision/certificates.sh
    {commands}"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def require_strict(ca: Path, certificate: Path, key: Path) -> None:
    """Fails unless `openssl verify` and Python, both strict, take the certificate for localhost, and it carries everything."""
    subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", ca, certificate], check=True, capture_output=True)
    trust = ssl.create_default_context(cafile=ca)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    here, there = socket.socketpair()
    with here, there:
        thread = threading.Thread(target=lambda: server.wrap_socket(there, server_side=True).close())
        thread.start()
        trust.wrap_socket(here, server_hostname="localhost").close()
        thread.join()
    for path, needed in ((ca, "Basic Constraints: critical|Key Usage: critical|Subject Key Identifier"),
                         (certificate, "Basic Constraints: critical|Key Usage: critical|Subject Key Id|Authority Key Id")):
        shown = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-text"], check=True, capture_output=True, text=True)
        assert [name for name in needed.split("|") if f"X509v3 {name}" not in shown.stdout] == []


@pytest.fixture(autouse=True)
def openssl():
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl here")


def test_the_certificates_of_these_tests_are_strict(tmp_path):
    require_strict(*make_ca(tmp_path))


MAKE = f"authority localhost 10.1.2.3 lab.example 198.51.100.7; server web {NAMES}"


def test_a_web_hosts_certificates_are_strict_and_made_once(tmp_path):
    assert len(web_sh(tmp_path, MAKE)) == 2
    tls = tmp_path / "tls"
    require_strict(tls / "ca.crt", tls / "web.pem", tls / "web.pem")
    assert (tls / "web.pem").stat().st_mode & 0o777 == (tls / "ca.pem").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (tls / "ca.crt").read_text()
    assert web_sh(tmp_path, MAKE) == []
    assert web_sh(tmp_path, f"server web {NAMES},DNS:web.stacklab") == ["certificate of web.stacklab"]
    assert not list(tls.glob(".*")), "nothing half-made is left"


def test_a_certificate_lives_less_than_a_year_and_a_day_and_is_renewed_with_its_key_when_a_month_is_left(tmp_path):
    web_sh(tmp_path, MAKE)
    web = tmp_path / "tls/web.pem"
    assert lives(web, days=364) and not lives(web, days=366)
    web_sh(tmp_path, f"""rm "$etc/tls/web.pem"; eval "$(declare -f server | sed 's/ 365 / 29 /')"; server web {NAMES}""")
    before = web.read_text()
    assert not lives(web, days=30)
    assert web_sh(tmp_path, MAKE) == ["certificate of web.stacklab"]
    assert lives(web, days=364)
    key, key_before = (text.split("-----END")[0] for text in (web.read_text(), before))
    assert "BEGIN PRIVATE KEY" in key and key != key_before


def test_a_clock_that_was_set_back_has_no_certificate_made_anew(tmp_path):
    web_sh(tmp_path, MAKE)
    ca, web = (tmp_path / f"tls/{name}.pem" for name in ("ca", "web"))
    key = serialization.load_pem_private_key(ca.read_bytes(), None)
    for file in (ca, web):  # made tomorrow, by the clock of now
        made = x509.load_pem_x509_certificate(file.read_bytes())
        later = x509.CertificateBuilder(
            made.issuer, made.subject, made.public_key(), made.serial_number, made.not_valid_before_utc + timedelta(days=1),
            made.not_valid_after_utc + timedelta(days=1), list(made.extensions),
        )  # fmt: skip
        pem = later.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        file.write_text(re.sub("-----BEGIN CERT.*", pem, file.read_text(), flags=re.DOTALL))
    (tmp_path / "tls/ca.crt").write_text(re.sub(".*(?=-----BEGIN CERT)", "", ca.read_text(), flags=re.DOTALL))
    verify = subprocess.run(["openssl", "verify", "-CAfile", ca, web], capture_output=True, text=True)
    assert "not yet valid" in verify.stderr
    assert web_sh(tmp_path, MAKE) == []


def lives(certificate: Path, days: int) -> bool:
    check = ["openssl", "x509", "-in", certificate, "-noout", "-checkend", str(days * 86_400)]
    return subprocess.run(check, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("names", "trusted"),
    [
        ("DNS:localhost,IP:192.168.56.10", True),
        ("DNS:lab.example,IP:198.51.100.7", True),
        ("DNS:www.python.org", False),
        ("IP:198.51.100.8", False),
        ("IP:2001:db8::1", False),
    ],
)
def test_the_ca_can_vouch_for_the_labs_names_and_private_addresses_alone(tmp_path, names, trusted):
    # `server` itself looks before it leaves a certificate alone, so the second call says whether it is good.
    web_sh(tmp_path, MAKE)
    web_sh(tmp_path, f"server other {names}")
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "tls/ca.crt", tmp_path / "tls/other.pem"]
    said = subprocess.run(verify, capture_output=True, text=True)
    assert (said.returncode == 0) == trusted
    assert trusted or "permitted subtree violation" in said.stderr


def test_an_ipv6_address_by_which_the_host_is_asked_for_is_the_cas_to_vouch_for_and_no_other_is(tmp_path):
    make = "chown() { :; }; certificates localhost 2001:db8::1 127.0.0.1"  # whose user is not here
    web_sh(tmp_path, make)
    assert web_sh(tmp_path, make) == []
    tls = tmp_path / "tls"
    ask = ["openssl", "x509", "-in", tls / "web.pem", "-noout", "-ext", "subjectAltName"]
    said = subprocess.run(ask, capture_output=True, text=True)
    assert "IP Address:2001:DB8:0:0:0:0:0:1" in said.stdout
    for address, trusted in (("2001:db8::1", True), ("2001:db8::2", False)):
        web_sh(tmp_path, f"server other IP:{address}")
        verify = ["openssl", "verify", "-x509_strict", "-CAfile", tls / "ca.crt", tls / "other.pem"]
        assert (subprocess.run(verify, capture_output=True).returncode == 0) == trusted


def test_the_ca_can_make_no_other_ca(tmp_path):
    web_sh(tmp_path, MAKE)
    web_sh(tmp_path, """issue sub "A CA below" 30 basicConstraints=critical,CA:TRUE -CA "$etc/tls/ca.pem" -CAkey "$etc/tls/ca.pem"
        issue leaf localhost 30 subjectAltName=DNS:localhost -CA "$etc/tls/sub.pem" -CAkey "$etc/tls/sub.pem" """)
    tls = tmp_path / "tls"
    said = subprocess.run(["openssl", "verify", "-CAfile", tls / "ca.crt", "-untrusted", tls / "sub.pem", tls / "leaf.pem"],
                          capture_output=True, text=True)
    assert said.returncode != 0 and "path length constraint exceeded" in said.stderr


def test_a_host_whose_ca_may_sign_anything_gets_a_new_one_and_says_what_to_stop_trusting(tmp_path):
    # As web.sh made it before: key and certificate apart, no constraint.
    web_sh(tmp_path, """cd "$etc/tls"; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=StackLab CA" -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt 2>/dev/null""")
    tls = tmp_path / "tls"
    old = ssl.PEM_cert_to_DER_cert((tls / "ca.crt").read_text())
    said = web_sh(tmp_path, MAKE)
    fingerprint = hashlib.sha256(old).hexdigest().upper()
    assert fingerprint in said[0].replace(":", "") and "'fab ca' says how" in said[0]
    require_strict(tls / "ca.crt", tls / "web.pem", tls / "web.pem")
    assert web_sh(tmp_path, MAKE) == []
