"""Raw data to a prepared set."""
