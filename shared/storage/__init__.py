"""The storage port (documents.py), the containers it holds (containers.py) and its adapters."""
