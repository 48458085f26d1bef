"""The relay and the process around it: media (packets), negotiation (SDP), quality (layers), node, bus, app."""
