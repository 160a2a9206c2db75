"""What is better than stock, each a setting of the stack, off by default: none of `chat` or `config` knows of it.

    lean_dispatch      no thread for each message                           (Channels)
    tidy_channels      what a layer keeps for a socket goes with the socket (Channels, channels_redis)
    one_subscription   pubsub: one subscription a room, none for a socket   (channels_redis)
    layer_reconnects   the layer outlives a restart of Redis                (channels_redis)
    daphne_drain       an instance that stops says so, with 1012            (Daphne)
    bounded_sockets    a client that does not read, or floods, costs little (Daphne, autobahn)
    chat_resume        who was away reads what was said meanwhile           (the chat's own)

As soon as one of them is on, Daphne serves `improvements.asgi` with `improvements.settings`, and the last but one two are
started by `improvements.server` in place of Daphne's own command. What each is worth says `fab experiment improvements`;
what to propose to whom stands in docs/upstream/.
"""
