"""Who a client is: identities, SCRAM in both directions, md5 towards old servers; no I/O."""
