"""A home and an environment full of a person's own settings: one file for each program that reads one, and the variables."""

from pathlib import Path

FILES = {
    ".locust.conf": "run-time = 1s\nusers = 1\nmaster = true\nheadless = false\n",
    ".config/matplotlib/matplotlibrc": "text.usetex: True\naxes.facecolor: red\nfigure.figsize: 1, 1\nfont.size: 40\n",
    ".gitconfig": "[core]\n\tfsmonitor = false\n\tworktree = /nowhere\n[alias]\n\tdescribe = !echo trap\n",
    ".config/git/config": "[core]\n\tworktree = /nowhere\n",
    ".pip/pip.conf": "[install]\nuser = true\n",
    ".config/pip/pip.conf": "[install]\nuser = true\nconstraint = /nowhere/constraints.txt\ntarget = /nowhere\n",
    ".fabric.yaml": "user: trap\ntasks: {collection_name: trap}\n",
    ".fabric.py": "raise SystemExit(9)\n",
    ".invoke.yaml": "run:\n  echo: true\n",
    ".ssh/config": "Host *\n  ProxyJump trap.invalid\n  User trap\n  Port 1\n",
    ".ssh/known_hosts": "@revoked other.invalid garbage\n\udcff\n",
    ".jupyter/jupyter_server_config.py": "c.ServerApp.root_dir = '/nowhere'\nc.ServerApp.preferred_dir = '/nowhere'\n",
    ".jupyter/jupyter_server_config.json": '{"ServerApp": {"root_dir": "/nowhere", "base_url": "/trap/"}}',
    ".jupyter/jupyter_lab_config.py": "c.ServerApp.root_dir = '/nowhere'\nc.LabApp.default_url = '/trap'\n",
    ".ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.matplotlib = 'qt'\n",
    ".ipython/profile_default/ipython_kernel_config.py": "c.IPKernelApp.matplotlib = 'qt'\n",
    ".vagrant.d/Vagrantfile": "raise 'trap'\n",
    ".docker/config.json": '{"currentContext": "trap"}',
    ".bash_profile": "exit 9\n",
    "pythonpath/locust.py": "raise SystemExit('trap')\n",
}
VARIABLES = {
    "LOCUST_RUN_TIME": "1s", "LOCUST_MASTER": "true", "MPLBACKEND": "qtagg", "GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere",
    "GIT_CEILING_DIRECTORIES": "/", "PIP_USER": "1", "PIP_TARGET": "/nowhere", "PIP_PREFIX": "/nowhere",
    "PIP_CONSTRAINT": "/nowhere", "VAGRANT_CWD": "/nowhere", "VAGRANT_DOTFILE_PATH": "/nowhere",
    "VAGRANT_VAGRANTFILE": "Trapfile",
    "INVOKE_RUN_ECHO": "1", "LC_ALL": "xx_XX.UTF-8", "LANG": "de_DE.UTF-8", "SYSTEMD_COLORS": "1", "SYSTEMD_PAGER": "false",
    "DJANGO_SETTINGS_MODULE": "trap.settings", "UWSGI_PROCESSES": "1", "PYTHONSTARTUP": "/nowhere",
    "GREP_OPTIONS": "--trap", "CDPATH": "/nowhere", "BASH_ENV": "/nowhere", "ENV": "/nowhere", "TAR_OPTIONS": "--trap",
    "RSYNC_RSH": "trap", "OPENSSL_CONF": "/nowhere", "SSH_ASKPASS": "trap",
}  # fmt: skip


def set_traps(home: Path, monkeypatch) -> None:
    """HOME is a folder with a file for each program that reads one, and the environment is full of variables."""
    for name, text in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setenv("HOME", str(home))
    # What comes first on Python's path is found first, by us too; what we start is not to see it at all.
    monkeypatch.setenv("PYTHONPATH", str(home / "pythonpath"), prepend=":")
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
