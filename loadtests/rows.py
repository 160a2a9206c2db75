"""Every request of any locustfile as a row, exact: Locust's own statistics round its times.

Beside a locustfile of one's own, `locust -f mine.py,rows.py`, as `fab load` does; or `import rows` in it. STACKLAB_ROWS names
the CSV file (requests.csv), whose columns are those of `locust.contrib.csv_request_logger`: timestamp is the start's, in
seconds. A request without an answer has the status 0.
"""

import csv
import os
import time

import gevent
from locust import events

COLUMNS = ("timestamp", "request_type", "name", "response_time_ms", "response_length", "status_code", "exception")


@events.init.add_listener
def write_rows(environment, **_) -> None:
    """Write a row for each request from now on, once, whoever else imported this too."""
    if hasattr(environment, "rows"):
        return
    gevent.get_hub().loop.update_now()  # else the run time is shorter by what it took to import all this
    environment.rows = file = open(os.environ.get("STACKLAB_ROWS", "requests.csv"), "w", newline="", encoding="utf-8")
    write = csv.writer(file, lineterminator="\n").writerow
    write(COLUMNS)

    def row(request_type, name, response_time, response_length, start_time=None, response=None, exception=None, **_) -> None:
        start_s = time.time() - response_time / 1000 if start_time is None else start_time
        status = getattr(response, "status_code", None) or 0
        error = (str(exception) or type(exception).__name__) if exception else ""
        write((repr(start_s), request_type, name, repr(response_time), response_length, status, error))

    environment.events.request.add_listener(row)
    environment.events.quit.add_listener(lambda **_: file.close())
