"""Sockets: what reads, writes and accepts them, below everything that knows what the bytes mean."""
