"""The certificates of the lab and of these tests pass the strictest verifier, whichever OpenSSL is here."""

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from certificates import make_ca

ROOT = Path(__file__).resolve().parents[2]
NAMES = "DNS:localhost,IP:127.0.0.1"
# How web.sh made them before: on OpenSSL 3.0 without any key identifier.
BEFORE = """
cd "$etc/tls"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=StackLab CA of $(hostname)" \
    -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=web.stacklab -keyout web.key -out web.csr
openssl x509 -req -in web.csr -CA ca.crt -CAkey ca.key -days 825 -out web.crt
"""


def web_sh(folder: Path, commands: str) -> list[str]:
    """What web.sh's own functions, with `folder` for /etc/stacklab, say that they changed."""
    (folder / "tls").mkdir(exist_ok=True)
    text = (ROOT / "provision/web.sh").read_text()
    functions = text[text.index("certificate() {") : text.index("# Every address and name")]
    script = f"set -euo pipefail; etc={folder}; say() {{ echo $*; }}; must_restart() {{ :; }}\n{functions}\n{commands}"
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


def test_a_web_hosts_certificates_are_strict_and_made_once(tmp_path):
    make = f"authority; server web {NAMES}"
    assert len(web_sh(tmp_path, make)) == 2
    require_strict(*(tmp_path / "tls" / name for name in ("ca.crt", "web.crt", "web.key")))
    assert web_sh(tmp_path, make) == []
    assert web_sh(tmp_path, f"server web {NAMES},DNS:another") == ["certificate of web.stacklab"]


def test_a_host_with_older_certificates_gets_new_ones_and_who_trusted_its_ca_still_does(tmp_path):
    tls = tmp_path / "tls"
    web_sh(tmp_path, BEFORE)
    trusted = shutil.copy(tls / "ca.crt", tmp_path / "trusted.crt")
    key = (tls / "ca.key").read_bytes()
    assert len(web_sh(tmp_path, f"authority; server web {NAMES}")) == 2
    require_strict(tls / "ca.crt", tls / "web.crt", tls / "web.key")
    subprocess.run(["openssl", "verify", "-CAfile", trusted, tls / "web.crt"], check=True, capture_output=True)
    assert (tls / "ca.key").read_bytes() == key
