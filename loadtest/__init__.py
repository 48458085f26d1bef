"""Virtual classrooms and a virtual teacher: a load over the network, on our server or on any other."""
