"""Pages, REST, Socket.IO and server-sent events over the registry."""
