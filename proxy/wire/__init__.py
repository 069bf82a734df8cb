"""The PostgreSQL frontend/backend protocol, version 3 (manual, chapter 54): bytes in, values out, no sockets."""
