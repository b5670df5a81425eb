from .access import Access as Access
from .download import File as File
from .download import fetch as fetch
from .memory_map import mapped as mapped
