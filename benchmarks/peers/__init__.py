"""Other people's proxies: how each is configured to do what Gatehouse does, how it is found and started."""
