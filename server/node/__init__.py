"""One relay as signaling sees it: lessons, connections, publications and subscriptions on top of a media plane."""
