"""Side-by-side runs against other libraries and against the papers; not part of the package."""
