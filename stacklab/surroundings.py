"""The environment of what the lab runs for itself. A person's own settings are for other things, and stop here.

Locust, git, Vagrant, mmdebstrap, systemd's commands and the like each read variables and files in the home folder: a
`~/.locust.conf` with a run time of its own ends a measurement early, a GIT_DIR has a run say whose commit it is not. So
whatever is started gets `own()`: nothing but what stands in LET_THROUGH, with English words and UTF-8, since what
programs say is read and passed on. What belongs to the person is let through on purpose:

- where programs are, who the person is, where temporary files go, the time zone of what is shown
- the way out: proxies, the certificates that are trusted behind one that looks into TLS, where pip gets packages
- what is meant for the lab: STACKLAB_…

pip is run by provision/own_pip.py, on the web host and the desk machine too; Matplotlib by `plain_pictures`; paramiko, for
the lab's own machines, by `labs.host`. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

LET_THROUGH = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TEMP", "TMP", "TZ", "SYSTEMROOT", "COMSPEC", "PATHEXT",
    "SUDO_UID", "SUDO_GID", "SUDO_USER", "XDG_RUNTIME_DIR",
    "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES",
)  # fmt: skip
OURS = "STACKLAB_"

VAGRANTS = (
    "VAGRANT_HOME", "VAGRANT_DEFAULT_PROVIDER", "VAGRANT_LOG", "VAGRANT_NO_COLOR", "DOCKER_HOST", "DOCKER_CONTEXT",
    "DOCKER_CONFIG", "LIBVIRT_DEFAULT_URI", "VBOX_INSTALL_PATH", "VBOX_MSI_INSTALL_PATH", "VBOX_USER_HOME", "APPDATA",
    "LOCALAPPDATA", "USERPROFILE", "PROGRAMFILES", "PROGRAMDATA", "HOMEDRIVE", "HOMEPATH",
)  # fmt: skip
"""Let through to Vagrant: where its boxes are and which provider is wanted. Not which project it is about (VAGRANT_CWD,
VAGRANT_DOTFILE_PATH, VAGRANT_VAGRANTFILE): that is this folder, always."""


def own(also: tuple[str, ...] = (), environment: Mapping[str, str] | None = None, **more: str) -> dict[str, str]:
    """The variables for a program that the lab runs for itself: LET_THROUGH and `also` of `environment` (by default this
    process's), English and UTF-8, and `more`."""
    environment = os.environ if environment is None else environment
    kept = {name: value for name, value in environment.items() if name in LET_THROUGH + also or name.startswith(OURS)}
    return kept | {"LC_ALL": "C.UTF-8"} | more


def plain_pictures() -> None:
    """Have Matplotlib, not yet imported, draw into files, whatever MPLBACKEND says. Its style: see `drawing.our_style`."""
    os.environ["MPLBACKEND"] = "agg"


def git(*words: str, folder: Path) -> list[str]:
    """The command of a question to git about `folder`, which somebody else may own; of nobody's configuration."""
    return ["git", "-c", f"safe.directory={folder}", "-c", "core.fsmonitor=false", "-C", str(folder), *words]


GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}
"""Variables for git: no configuration but the checkout's own, and nothing written into it."""
