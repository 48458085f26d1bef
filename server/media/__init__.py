"""The only code that touches packets: one contract (plane.py), two twins (reference/ in Python, native/ in Rust)."""
