"""Redis: the channel layer between the instances, and the chat's history. Nothing of it is a setting."""

from stacklab.stack.services.service import Service

REDIS = Service(name="redis", label="Redis", unit="redis-server", colour="#D55E00", roles=("server",))
