"""A small classifier of view positions by pictures: what it learns from, its training, its command."""
