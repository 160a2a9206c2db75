"""uWSGI's master runs this on its first start and on each reload: give its sockets the backlog of the ini file just read.

A reload by HUP keeps the listening socket and, with it, the old backlog, whatever `listen` now says. Calling listen() again
changes the backlog in place; connections that wait are kept. `ss -xl` shows it.
"""

import os
import socket

import uwsgi  # exists only inside uWSGI

for descriptor in uwsgi.sockets:
    with socket.socket(fileno=os.dup(descriptor)) as listening:
        listening.listen(int(uwsgi.opt.get("listen", b"100")))
