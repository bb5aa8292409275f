"""Decoding many studies at once: prefill, KV cache, sampling, speculative decoding."""
