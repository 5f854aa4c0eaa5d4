"""Every event in and out, as files, and programs that take them."""
