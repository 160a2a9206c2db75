"""One page again and again by Locust's FastHttpUser, on connections that are kept: a closed loop, or at a pace.

    locust -f fasthttp.py --headless --host https://web.example --users 20 --spawn-rate 20 --run-time 10s --path /healthz

With --per-s the users pace themselves so that together they ask so often: Locust has no schedule. While all of them wait for
answers they fall behind it. TLS is verified against SSL_CERT_FILE. 'fab load' gives host and CA itself.
"""

from locust import FastHttpUser, events, task


@events.init_command_line_parser.add_listener
def tell(parser) -> None:
    """What can be told, besides Locust's own."""
    parser.add_argument("--path", default="/", help="the page")
    parser.add_argument("--per-s", type=float, default=0.0, help="requests a second of all users together; 0: a closed loop")


class Visitor(FastHttpUser):
    """Asks again after each answer, or when its turn has come."""

    insecure = False
    network_timeout = 75.0
    connection_timeout = 15.0

    def wait_time(self) -> float:
        """Seconds until its next request."""
        told = self.environment.parsed_options
        if not told.per_s:
            return 0.0
        from locust import constant_throughput

        return constant_throughput(told.per_s / told.num_users)(self)

    @task
    def page(self) -> None:
        """One request."""
        self.client.get(self.environment.parsed_options.path)
