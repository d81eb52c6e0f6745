"""Pretrained encoders behind one interface: embed, ordered blocks, pooled features."""
