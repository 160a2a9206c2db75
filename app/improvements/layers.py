"""channels_redis' pubsub layer with the improvements that are switched on; the library names its inner class itself."""

import asyncio

from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer
from channels_redis.utils import _wrap_close
from django.conf import settings

from improvements.layer_reconnects import ReconnectingPubSub
from improvements.one_subscription import OneSubscription

SWITCHED = {OneSubscription: settings.ONE_SUBSCRIPTION, ReconnectingPubSub: settings.LAYER_RECONNECTS}
LoopLayer = type("LoopLayer", (*(part for part, on in SWITCHED.items() if on), RedisPubSubLoopLayer), {})


class PubSubLayer(RedisPubSubChannelLayer):
    """The library's own, on `LoopLayer`."""

    def _get_layer(self) -> RedisPubSubLoopLayer:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            self._layers[loop] = LoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        return self._layers[loop]
