"""Small files made to cost a reader much: see ``attacks.py``."""
