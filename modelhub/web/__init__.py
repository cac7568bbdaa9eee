"""The doors to the hub: pages, REST, Socket.IO rooms, server-sent events."""
