LABEL = {"radgraph": "OBS", "radgraph-xl": "OBS-XL"}
