"""What reports need to know of a day, folded once from its sealed entries into a bounded document.

`fold.py` makes the document of one day, `merged.py` puts the days of a period together, `store.py` keeps them.
"""
