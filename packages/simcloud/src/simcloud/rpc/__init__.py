"""gRPC servers and channels of ours.

``server.serve`` and ``server.running_server`` (servers), ``main.run`` (a service's ``__main__``),
``channel.connect`` (clients), ``status`` (our errors on the wire), ``deadline``, ``auth``.
"""
