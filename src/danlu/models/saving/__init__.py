"""Model folders and pretrained weights."""
