"""gRPC servers and channels of ours.

``server.serve`` and ``server.running_server`` (servers), ``main.run`` (a service's ``__main__``),
``channel.connect`` (clients), ``status`` (our errors on the wire), ``deadline``, ``auth``.
"""

import os

# gRPC's handlers of fork() start its threads again in the child, although all that we start under
# uvloop is exec'ed at once; on a busy machine such a thread was seen to run before the exec and to
# end the child (SIGSEGV, 3 of 400). gRPC reads this when it is first imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
