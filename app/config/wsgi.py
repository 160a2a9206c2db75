"""What uWSGI serves: the HTTP pages."""

import os
import socket

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = get_wsgi_application()


def renew_backlog() -> None:
    """Give uWSGI's inherited sockets the backlog of the ini file that was just read.

    A reload by HUP keeps the listening socket and, with it, the old backlog, whatever `listen` now says.
    Calling listen() again changes the backlog in place; connections that wait are kept. It runs in the
    master, which loads this module on the first start and on each reload. `ss -xl` shows the backlog.
    """
    try:
        import uwsgi  # exists only inside uWSGI
    except ImportError:
        return
    backlog = int(uwsgi.opt.get("listen", b"100"))
    for descriptor in uwsgi.sockets:
        with socket.socket(fileno=os.dup(descriptor)) as listening:
            listening.listen(backlog)


renew_backlog()
