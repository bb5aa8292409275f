"""Studies to a prepared set: splits, target texts, stored images, tables and the data card."""
