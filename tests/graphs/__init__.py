import graphs  # noqa: F401  # first: it silences the one warning of importing torch_geometric
