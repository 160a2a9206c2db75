"""uWSGI's master runs this before the site, at its start and each reload: put what the ini's `env` says where Python looks.

Python, in which this uWSGI runs, has read its environment before the ini is read, and after a reload knows the one before. What
the site is going to find is told in a note beside the socket.
"""

import json
import os
from pathlib import Path

import uwsgi  # exists only inside uWSGI

name, _, value = uwsgi.opt["env"].decode().partition("=")
os.environ[name] = value
Path(uwsgi.opt["socket"].decode()).with_name("told").write_text(json.dumps({"database": value}))
