"""The plane in pure Python over libsrtp: the specification of the contract, and what runs without the extension."""
