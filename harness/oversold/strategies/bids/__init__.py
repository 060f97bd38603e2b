"""The built-in bid strategies, one file each; the registry names them."""
